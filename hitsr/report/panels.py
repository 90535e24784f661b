"""What all figures share: a panel, and how text stands in it.

Panels are drawn 330 to 380 units wide and stacked by the page, so type keeps its size on a phone.
"""

from dataclasses import dataclass

from matplotlib.figure import Figure

_POINTS_PER_INCH = 72  # one unit of an SVG is one point, and one CSS pixel in the page

# Palette names of text in a family's hue.
TEXT_COLOUR = {"sir": "sir-t", "sng": "sng-t", "srf": "srf", "ctl": "ink2"}
LETTER = 6.6  # width of a letter of a label, on average


@dataclass(frozen=True)
class Panel:
    name: str
    svg: str
    description: str


def blank(width: float, height: float) -> Figure:
    """A figure of that size in units of its SVG."""
    return Figure(figsize=(width / _POINTS_PER_INCH, height / _POINTS_PER_INCH))
