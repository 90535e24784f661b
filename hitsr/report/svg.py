"""Matplotlib's SVG made fit for a page: the same bytes each time, text as text, themed colours."""

import io
import re
from typing import Any

import matplotlib as mpl
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

# What makes the bytes the same each time, and leaves text as text.
_SETTINGS: dict[Any, Any] = {"svg.fonttype": "none", "svg.hashsalt": "hitsr"}
# Matplotlib lays out with the fonts it ships; files and page then name their own.
SANS, SERIF = "DejaVu Sans", "DejaVu Serif"
_FONTS = {
    SANS: "'Source Sans 3', 'Segoe UI', system-ui, sans-serif",
    SERIF: "'Source Serif 4', Charter, Georgia, serif",
}
_VARIABLES = {SANS: "var(--sans)", SERIF: "var(--serif)"}
# Without these four, matplotlib writes no metadata at all: neither date nor version.
_NO_METADATA = {"Date": None, "Creator": None, "Format": None, "Type": None}


def to_svg(figure: Figure, name: str) -> str:
    """A standalone SVG whose ids begin with `name`, so that many can stand in one page."""
    buffer = io.StringIO()
    with mpl.rc_context(_SETTINGS):
        figure.savefig(buffer, format="svg", metadata=_NO_METADATA, transparent=True)
    text = re.sub(r"<!--.*?-->\n?", "", buffer.getvalue(), flags=re.DOTALL)
    return _prefixed(text, name)


def standalone(svg: str) -> str:
    """With the font stacks of the page, for a file that is opened on its own."""
    return _with_fonts(svg, _FONTS)


def inline(svg: str, description: str) -> str:
    """An <svg> element for the page: fluid, described, in the colours and fonts of its theme."""
    element = svg[svg.index("<svg") :]
    box = re.search(r'viewBox="[^"]*"', element)
    assert box is not None
    title = description.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
    opening = f'<svg {box.group()} role="img" aria-label="{title}">'
    themed = re.sub(r"<svg[^>]*>", lambda _: opening, element, count=1)
    for variable, value in PALETTE.items():
        themed = themed.replace(value, f"var(--{variable})")
    return _with_fonts(themed, _VARIABLES).replace("xlink:href", "href").strip()


def _prefixed(svg: str, name: str) -> str:
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    return svg.replace("url(#", f"url(#{name}-").replace('href="#', f'href="#{name}-')


def _with_fonts(svg: str, fonts: dict[str, str]) -> str:
    """Replace each list of fonts by that of its first member."""

    def replacement(match: re.Match[str]) -> str:
        return match.group(1) + fonts[match.group(2)]

    return re.sub(r"((?:font: |font-family: )[^';\"]*)'(DejaVu \w+)'[^;\"]*", replacement, svg)
