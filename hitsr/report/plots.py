"""What figures with two axes share: a plot of fixed width, light rules, lines named at their ends.

Labels stand beside the plot rather than in a key, moved apart and led to from their lines.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from hitsr.report.names import family_key, role_of
from hitsr.report.svg import PALETTE, SANS, blank, style
from hitsr.report.typeset import fixed

WIDTH = 330  # of a panel, in units of its SVG
MARKERS = {"sir": "o", "sng": "s", "srf": "^", "ctl": "v"}  # of each family


@dataclass(frozen=True)
class Frame:
    """Where the plot lies in its panel, in units of the SVG."""

    left: float = 42
    bottom: float = 41
    width: float = 208
    height: float = 168
    above: float = 43  # room for the two lines of the title

    @property
    def panel_height(self) -> float:
        return self.bottom + self.height + self.above

    @property
    def label_gap(self) -> float:
        """Between two labels of two lines, as a fraction of the plot."""
        return 31 / self.height


class End(NamedTuple):
    """Where a line ends, as fractions of the plot, and what its label says."""

    y: float
    x: float
    text: str
    weight: int
    colour: str


def plot(title: str, quantity: str, against: str, frame: Frame) -> tuple[Figure, Axes]:
    """Axes with light horizontal rules, and room for labels at their right."""
    height = frame.panel_height
    figure = blank(WIDTH, height)
    axes = figure.add_axes(
        (frame.left / WIDTH, frame.bottom / height, frame.width / WIDTH, frame.height / height)
    )
    figure.text(0, 1 - 14 / height, title, **style("ink", 13.5, 700))
    figure.text(0, 1 - 31 / height, quantity, **style("ink3", 12))
    right = (frame.left + frame.width) / WIDTH
    figure.text(right, 4 / height, against, ha="right", **style("ink3", 12))
    axes.set_facecolor("none")
    axes.spines[["top", "left", "right"]].set_visible(False)
    axes.spines["bottom"].set_color(PALETTE["rule2"])
    axes.grid(axis="y", color=PALETTE["rule"], linewidth=1)
    axes.set_axisbelow(True)
    axes.tick_params(
        labelsize=12.5, labelcolor=PALETTE["ink2"], color=PALETTE["rule2"], labelfontfamily=SANS
    )
    axes.tick_params(axis="y", length=0, which="both")
    axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: fixed(value)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: fixed(value, 1)))
    return figure, axes


def log_ticks(axes: Axes, which: str, values: Sequence[float]) -> None:
    """A log axis about `values`, with round ticks: the scale and the limits are set."""
    low, high = min(values), max(values)
    axis = axes.xaxis if which == "x" else axes.yaxis
    (axes.set_xscale if which == "x" else axes.set_yscale)("log")
    air = (high / low) ** 0.08 if high > low else 1.5
    (axes.set_xlim if which == "x" else axes.set_ylim)(low / air, high * air)
    decades = high / low
    parts = (1,) if decades > 300 else (1, 3) if decades > 30 else (1, 2, 5)
    axis.set_major_locator(LogLocator(subs=parts if decades > 3 else range(1, 10)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: plain(value)))
    axis.set_minor_formatter(NullFormatter())
    axes.tick_params(which="minor", length=0)


def plain(value: float) -> str:
    """A round number without needless decimals: "0.5", "20", "5 000"."""
    return fixed(value) if value >= 1 else f"{value:g}"


def name_ends(axes: Axes, ends: Sequence[End], gap: float) -> None:
    """Labels beside the plot, moved apart, each led to from the end of its line."""
    ordered = sorted(ends)
    heights = apart([max(end.y, gap / 2) for end in ordered], gap, top=1)
    for end, height in zip(ordered, heights):
        axes.plot(
            [end.x, 1.01, 1.045], [end.y, end.y, height], transform=axes.transAxes, clip_on=False,
            color=PALETTE["rule2"], linewidth=1, zorder=1.5,
        )  # fmt: skip
        axes.text(
            1.06, height, end.text, transform=axes.transAxes, va="center", linespacing=1.0,
            **style(end.colour, weight=end.weight),
        )  # fmt: skip


def apart(heights: Sequence[float], gap: float, top: float) -> list[float]:
    """Rising heights, moved to be `gap` apart and not above `top`: one sweep up, one down."""
    raised = list(accumulate(heights, lambda below, height: max(height, below + gap)))
    fitted = accumulate(reversed(raised), lambda above, h: min(h, above - gap), initial=top + gap)
    return list(fitted)[:0:-1]


def fractions(axes: Axes, x: float, y: float) -> tuple[float, float]:
    """A point of the data as fractions of the plot, once its limits are set."""
    across, height = (axes.transScale + axes.transLimits).transform((x, y))
    return float(across), float(height)


def marker(network: str) -> dict[str, Any]:
    """How a network's points look: a family's shape and hue, filled for its conversion."""
    key = family_key(network)
    converted = role_of(network) == "conversion" or key == "ctl"
    return {
        "marker": MARKERS[key],
        "markerfacecolor": PALETTE[key if converted else f"{key}0"],
        "markeredgecolor": PALETTE[key],
        "markeredgewidth": 1.5,
    }
