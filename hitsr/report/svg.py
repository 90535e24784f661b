"""Panels: drawn once by matplotlib, as SVG fit for a page and as PDF; the same bytes each time.

Panels are drawn 330 to 380 units wide and stacked by the page, so type keeps its size on a phone.
"""

import io
import re
from dataclasses import dataclass
from typing import Any, Literal

import matplotlib as mpl
from markupsafe import Markup
from matplotlib.figure import Figure
from matplotlib.text import Text

from hitsr.report.pdf_fonts import use_light_fonts

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
    "no": "#b3261e",
}

# Palette names of text in a family's hue.
TEXT_COLOUR = {"sir": "sir-t", "sng": "sng-t", "srf": "srf", "ctl": "ink2"}
LETTER = 6.6  # width of a letter of a label, on average

# Matplotlib lays out with the fonts it ships; files and page then name their own.
SANS, SERIF = "DejaVu Sans", "DejaVu Serif"
_FONTS = {
    SANS: "'Source Sans 3', 'Segoe UI', system-ui, sans-serif",
    SERIF: "'Source Serif 4', Charter, Georgia, serif",
}
_VARIABLES = {SANS: "var(--sans)", SERIF: "var(--serif)"}
_POINTS_PER_INCH = 72  # one unit of an SVG is one point, and one CSS pixel in the page
# These make the bytes the same each time, and leave text as text.
_SETTINGS: dict[Any, Any] = {"svg.fonttype": "none", "svg.hashsalt": "hitsr", "pdf.fonttype": 42}
# Matplotlib writes dates and versions unless each is named here.
_NO_METADATA = {
    "svg": {"Date": None, "Creator": None, "Format": None, "Type": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}


@dataclass(frozen=True)
class Panel:
    name: str  # of its files
    svg: str
    description: str
    figure: Figure


def blank(width: float, height: float) -> Figure:
    """A figure of that size in units of its SVG."""
    return Figure(figsize=(width / _POINTS_PER_INCH, height / _POINTS_PER_INCH))


def style(colour: str, size: float = 12.5, weight: int = 400) -> dict[str, Any]:
    """Text properties for matplotlib; `colour` is a name of the palette."""
    return {"color": PALETTE[colour], "size": size, "weight": weight, "fontfamily": SANS}


def quote_style(colour: str, size: float = 12.5) -> dict[str, Any]:
    """Text properties of what is quoted: serif italic."""
    return style(colour, size) | {"fontstyle": "italic", "fontfamily": SERIF}


def to_panel(figure: Figure, name: str, description: str) -> Panel:
    """Ids in its SVG begin with `name`, so that many panels can stand in one page.

    `name` is a file name; in ids, `_` replaces what links and CSS would read otherwise.
    """
    begin = re.sub(r"[^A-Za-z0-9_-]", "_", name)
    svg = re.sub(r"<!--.*?-->\n?", "", _saved(figure, "svg").decode(), flags=re.DOTALL)
    svg = re.sub(r'\bid="', f'id="{begin}-', svg)
    svg = svg.replace("url(#", f"url(#{begin}-").replace('href="#', f'href="#{begin}-')
    return Panel(name, svg, description, figure)


def standalone(panel: Panel) -> str:
    """SVG that names the page's fonts, for a file that is opened on its own."""
    return _with_fonts(panel.svg, _FONTS)


def to_pdf(panel: Panel) -> bytes:
    """PDF with matplotlib's own fonts embedded, for papers."""
    use_light_fonts(panel.figure)
    return _saved(panel.figure, "pdf")


def inline(panel: Panel) -> Markup:
    """An <svg> element for the page: fluid, described, in the colours and fonts of its theme."""
    opening, _, drawn = panel.svg[panel.svg.index("<svg") :].partition(">")
    box = re.search(r'viewBox="([^"]*)"', opening)
    assert box is not None
    for variable, value in PALETTE.items():
        drawn = drawn.replace(value, f"var(--{variable})")
    drawn = _with_fonts(drawn, _VARIABLES).replace("xlink:href", "href").strip()
    described = Markup('<svg viewBox="{}" role="img" aria-label="{}">')
    return described.format(box.group(1), panel.description) + Markup(drawn)


def _saved(figure: Figure, kind: Literal["svg", "pdf"]) -> bytes:
    buffer = io.BytesIO()
    for text in figure.findobj(Text):
        text.set_parse_math(False)  # a set may have dollars in its name
    with mpl.rc_context(_SETTINGS):
        figure.savefig(buffer, format=kind, metadata=_NO_METADATA[kind], transparent=True)
    return buffer.getvalue()


def _with_fonts(svg: str, fonts: dict[str, str]) -> str:
    """Replace each list of fonts by that of its first member."""
    pattern = r"((?:font: |font-family: )[^';\"]*)'(DejaVu \w+)'[^;\"]*"
    return re.sub(pattern, lambda match: match.group(1) + fonts[match.group(2)], svg)
