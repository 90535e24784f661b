"""What figures share: a head, light rules, and lines of networks that are named at their ends.

Labels stand beside the plot rather than in a key, moved apart and led to from their lines.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Literal, NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from hitsr.report.names import family_key, role_of, short_label
from hitsr.report.svg import PALETTE, SANS, TEXT_COLOUR, blank, style
from hitsr.report.typeset import fixed

WIDTH = 330  # of a panel with a plot, in units of its SVG
WIDE = 380  # of a panel of rows
DOTTED = (0, (1, 2))
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


def rows_panel(title: str, unit: str, height: float, width: float = WIDE) -> tuple[Figure, Axes]:
    """An empty panel of rows: axes in units of the SVG, origin at the top left, y downwards."""
    figure = blank(width, height)
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(height, 0))
    axes.set_axis_off()
    axes.text(0, 14, title, **style("ink", 13.5, 700))
    axes.text(width, 14, unit, ha="right", **style("ink3", 12))
    return figure, axes


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
    axes.xaxis.set_major_formatter(
        FuncFormatter(lambda value, _: fixed(value, 0 if float(value).is_integer() else 2))
    )
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: fixed(value, 1)))
    return figure, axes


def log_ticks(axes: Axes, which: Literal["x", "y"], values: Sequence[float]) -> None:
    """Make an axis logarithmic about `values`, with round ticks: sets its scale and limits."""
    low, high = min(values), max(values)
    ratio = high / low
    air = ratio**0.08 if ratio > 1 else 1.5
    axes.set(**{f"{which}scale": "log", f"{which}lim": (low / air, high * air)})
    digits = (1,) if ratio > 300 else (1, 3) if ratio > 30 else (1, 2, 5)
    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_major_locator(LogLocator(subs=digits if ratio > 3 else range(1, 10)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: plain(value)))
    axis.set_minor_formatter(NullFormatter())
    axes.tick_params(which="minor", length=0)


def plain(value: float) -> str:
    """A round number without needless decimals: "0.5", "20", "5 000"."""
    return fixed(value) if value >= 1 else f"{value:g}"


def draw_line(axes: Axes, network: str, x: Sequence[float], y: Sequence[float], note: str) -> End:
    """Draw a network's line, solid for a conversion, else dashed.

    Returns its end, with `note` under the network's name. Limits of the axes are set before.
    """
    key, converted = family_key(network), role_of(network) == "conversion"
    dashes: Any = "solid" if converted else (0, (5, 3))
    axes.plot(x, y, color=PALETTE[key], linestyle=dashes, linewidth=2.2 if converted else 1.7)
    across, height = fractions(axes, x[-1], y[-1])
    text = f"{short_label(network)}\n{note}"
    return End(height, across, text, 700 if converted else 400, TEXT_COLOUR[key])


def name_ends(axes: Axes, ends: Sequence[End], gap: float) -> None:
    """Write labels beside the plot, moved apart, each led to from the end of its line."""
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


def fill_colour(network: str) -> str:
    """A family's hue; its tint for the baseline."""
    key = family_key(network)
    return PALETTE[f"{key}0" if role_of(network) == "baseline" else key]


def marker(network: str) -> dict[str, Any]:
    """How a network's points look: a family's shape and hue, filled for its conversion."""
    key = family_key(network)
    return {
        "linestyle": "none",
        "marker": MARKERS[key],
        "markerfacecolor": fill_colour(network),
        "markeredgecolor": PALETTE[key],
        "markeredgewidth": 1.5,
    }


def quote_marker(size: float, edge: float) -> dict[str, Any]:
    """How a quoted number looks: an open diamond."""
    return {
        "linestyle": "none",
        "marker": "D",
        "markersize": size,
        "markerfacecolor": PALETTE["paper"],
        "markeredgecolor": PALETTE["quote"],
        "markeredgewidth": edge,
    }
