"""Panels: drawn once by matplotlib, as SVG fit for a page and as PDF; the same bytes each time.

Panels are drawn 330 to 380 units wide and stacked by the page, so type keeps its size on a phone.
"""

import io
import re
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
from markupsafe import Markup
from matplotlib.figure import Figure

# One hex value per variable of style.css (light theme); what is drawn uses these alone.
PALETTE = {
    "paper": "#fbfaf7",
    "ink": "#1a1d22",
    "ink2": "#4a515c",
    "ink3": "#646b77",
    "rule": "#dfdcd4",
    "rule2": "#bdb9af",
    "quote": "#545c69",
    "sir": "#2467b3",
    "sir0": "#a3c8ec",
    "sir-t": "#1f5a9d",
    "sng": "#b07500",
    "sng0": "#eacb88",
    "sng-t": "#855800",
    "srf": "#86205f",
    "srf0": "#cf8fb6",
    "ctl": "#5d6673",
}

# Palette names of text in a family's hue.
TEXT_COLOUR = {"sir": "sir-t", "sng": "sng-t", "srf": "srf", "ctl": "ink2"}
LETTER = 6.6  # width of a letter of a label, on average

_POINTS_PER_INCH = 72  # one unit of an SVG is one point, and one CSS pixel in the page
# What makes the bytes the same each time, and leaves text as text.
_SETTINGS: dict[Any, Any] = {"svg.fonttype": "none", "svg.hashsalt": "hitsr", "pdf.fonttype": 42}
# Matplotlib lays out with the fonts it ships; files and page then name their own.
SANS, SERIF = "DejaVu Sans", "DejaVu Serif"
_FONTS = {
    SANS: "'Source Sans 3', 'Segoe UI', system-ui, sans-serif",
    SERIF: "'Source Serif 4', Charter, Georgia, serif",
}
_VARIABLES = {SANS: "var(--sans)", SERIF: "var(--serif)"}
# Without these four, matplotlib writes no metadata at all: neither date nor version.
_NO_METADATA = {"Date": None, "Creator": None, "Format": None, "Type": None}


_NO_PDF_METADATA = {"CreationDate": None, "Creator": None, "Producer": None}


@dataclass(frozen=True)
class Panel:
    name: str
    svg: str
    description: str
    figure: Figure


def blank(width: float, height: float) -> Figure:
    """A figure of that size in units of its SVG."""
    return Figure(figsize=(width / _POINTS_PER_INCH, height / _POINTS_PER_INCH))


def style(colour: str, size: float = 12.5, weight: int = 400) -> dict[str, Any]:
    """How matplotlib writes a text, by a name of the palette."""
    return {"color": PALETTE[colour], "size": size, "weight": weight, "fontfamily": SANS}


def to_panel(figure: Figure, name: str, description: str) -> Panel:
    """Its ids begin with `name`, so that many can stand in one page."""
    buffer = io.StringIO()
    with mpl.rc_context(_SETTINGS):
        figure.savefig(buffer, format="svg", metadata=_NO_METADATA, transparent=True)
    svg = re.sub(r"<!--.*?-->\n?", "", buffer.getvalue(), flags=re.DOTALL)
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = svg.replace("url(#", f"url(#{name}-").replace('href="#', f'href="#{name}-')
    return Panel(name, svg, description, figure)


def standalone(panel: Panel) -> str:
    """With the font stacks of the page, for a file that is opened on its own."""
    return _with_fonts(panel.svg, _FONTS)


def to_pdf(panel: Panel) -> bytes:
    """For papers: as the SVG, with matplotlib's own fonts embedded."""
    buffer = io.BytesIO()
    with mpl.rc_context(_SETTINGS):
        panel.figure.savefig(buffer, format="pdf", metadata=_NO_PDF_METADATA, transparent=True)
    return buffer.getvalue()


def inline(panel: Panel) -> Markup:
    """An <svg> element for the page: fluid, described, in the colours and fonts of its theme."""
    element = panel.svg[panel.svg.index("<svg") :]
    box = re.search(r'viewBox="[^"]*"', element)
    assert box is not None
    title = panel.description.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
    opening = f'<svg {box.group()} role="img" aria-label="{title}">'
    themed = re.sub(r"<svg[^>]*>", lambda _: opening, element, count=1)
    for variable, value in PALETTE.items():
        themed = themed.replace(value, f"var(--{variable})")
    return Markup(_with_fonts(themed, _VARIABLES).replace("xlink:href", "href").strip())


def _with_fonts(svg: str, fonts: dict[str, str]) -> str:
    """Replace each list of fonts by that of its first member."""
    pattern = r"((?:font: |font-family: )[^';\"]*)'(DejaVu \w+)'[^;\"]*"
    return re.sub(pattern, lambda match: match.group(1) + fonts[match.group(2)], svg)
