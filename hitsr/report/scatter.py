"""PSNR over a cost: what was measured in a family's hue and shape, what is quoted as open diamonds.

Names stand beside their points. Those measured always do; of the quoted ones as many as there is
room for, the best first.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from hitsr.report.names import FAMILIES, family_key, role_of, short_label
from hitsr.report.plots import Frame, fractions, log_ticks, marker, plot
from hitsr.report.svg import LETTER, PALETTE, SERIF, TEXT_COLOUR, Panel, style, to_panel
from hitsr.report.typeset import fixed

_FRAME = Frame(left=44, width=276, height=258)
_LINE = 13.0  # height of a label, in units of the SVG
_FAR = 4  # lines that the name of a measured point may lie away from it
_CLEAR = 7.0  # between a point and its label


class Measured(NamedTuple):
    """A network scored here: PSNR with half its interval over seeds, None from one seed."""

    network: str
    cost: float
    psnr_db: float
    half: float | None


class Quoted(NamedTuple):
    """A method's printed numbers."""

    method: str
    cost: float
    psnr_db: float


class Axis(NamedTuple):
    """A cost: its title, and its unit with what goes with it."""

    name: str  # of the panel
    title: str
    unit: str


class Label(NamedTuple):
    """A name in the plot: where it starts or ends, in units of the SVG from the lower left."""

    x: float
    y: float
    side: str  # of its point: "left" or "right"
    width: float

    def touches(self, other: "Label") -> bool:
        apart = self.left >= other.left + other.width or other.left >= self.left + self.width
        return not apart and abs(self.y - other.y) < _LINE

    @property
    def left(self) -> float:
        return self.x if self.side == "left" else self.x - self.width


def scatter(axis: Axis, measured: Sequence[Measured], quoted: Sequence[Quoted]) -> Panel:
    """At least one point of either kind."""
    figure, axes = plot(axis.title, "PSNR, dB", f"{axis.unit}, log scale", _FRAME)
    log_ticks(axes, "x", [p.cost for p in measured] + [p.cost for p in quoted])
    _set_height(axes, measured, quoted)
    axes.plot(
        [point.cost for point in quoted], [point.psnr_db for point in quoted],
        linestyle="none", marker="D", markersize=5.5, markerfacecolor=PALETTE["paper"],
        markeredgecolor=PALETTE["quote"], markeredgewidth=1.2,
    )  # fmt: skip
    _join(axes, measured)
    for point in measured:
        if point.half is not None:
            ends = [point.psnr_db - point.half, point.psnr_db + point.half]
            axes.plot([point.cost] * 2, ends, color=PALETTE["ink2"], linewidth=1)
        axes.plot(
            point.cost, point.psnr_db, linestyle="none", markersize=9, **marker(point.network)
        )
    _name(axes, measured, quoted)
    described = [
        *(f"{short_label(p.network)} {fixed(p.psnr_db, 2)} at {p.cost:.4g}" for p in measured),
        *(f"{p.method} {fixed(p.psnr_db, 2)} at {p.cost:.4g}, quoted" for p in quoted),
    ]
    return to_panel(
        figure, axis.name, f"PSNR over {axis.title} in {axis.unit}: {', '.join(described)}"
    )


def place(
    x: float, y: float, width: float, taken: Sequence[Label], limit: float, lines: int = 1
) -> Label | None:
    """A label of a point that touches none of those `taken`; None if there is no room.

    Right of the point first, then left, then up to so many lines above or below.
    """
    rises = [0.0, *(sign * 0.8 * _LINE * line for line in range(1, lines + 1) for sign in (1, -1))]
    candidates = (
        Label(x + side * _CLEAR, y + rise, "left" if side > 0 else "right", width)
        for rise in rises
        for side in (1, -1)
    )
    return next(
        (
            label
            for label in candidates
            if label.left >= 0
            and label.left + width <= limit
            and not any(label.touches(other) for other in taken)
        ),
        None,
    )


def _set_height(axes: Axes, measured: Sequence[Measured], quoted: Sequence[Quoted]) -> None:
    values = [point.psnr_db for point in quoted]
    for point in measured:
        values += [point.psnr_db - (point.half or 0), point.psnr_db + (point.half or 0)]
    spread = max(max(values) - min(values), 0.1)
    axes.set_ylim(min(values) - 0.1 * spread, max(values) + 0.1 * spread)
    digits = 1 if spread > 1 else 2
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: fixed(value, digits)))


def _join(axes: Axes, measured: Iterable[Measured]) -> None:
    """Dotted: from each baseline to its conversion."""
    points = {point.network: point for point in measured}
    for family in FAMILIES:
        pair = [points[network] for network in family.networks if network in points]
        if len(pair) == len(family.networks):
            axes.plot(
                [point.cost for point in pair], [point.psnr_db for point in pair],
                color=PALETTE[family.key], linewidth=1.3, linestyle=(0, (1, 2)),
            )  # fmt: skip


def _name(axes: Axes, measured: Sequence[Measured], quoted: Sequence[Quoted]) -> None:
    # Each point keeps its own place free of other points' names.
    taken = [_around(axes, p.cost, p.psnr_db) for p in measured]
    taken += [_around(axes, p.cost, p.psnr_db) for p in quoted]
    for point in measured:
        converted = role_of(point.network) == "conversion"
        colour = TEXT_COLOUR[family_key(point.network)]
        text = style(colour, weight=700 if converted else 400)
        _write(axes, short_label(point.network), point, text, taken, must=True)
    aside = style("quote", 11.5) | {"fontstyle": "italic", "fontfamily": SERIF}
    named = {short_label(point.network) for point in measured}
    for other in sorted(quoted, key=lambda point: -point.psnr_db):
        if other.method in named:
            continue  # its measured point lies close by
        _write(axes, other.method, other, aside, taken, must=False)


def _write(
    axes: Axes,
    name: str,
    point: Measured | Quoted,
    text: dict[str, Any],
    taken: list[Label],
    must: bool,
) -> None:
    across, height = fractions(axes, point.cost, point.psnr_db)
    x, y = across * _FRAME.width, height * _FRAME.height
    width = LETTER * len(name)
    own = _around(axes, point.cost, point.psnr_db)
    others = [label for label in taken if label != own]
    found = place(x, y, width, others, _FRAME.width, _FAR if must else 1)
    if found is None and must:
        found = place(x, y, width, [], _FRAME.width)
    if found is None:
        return
    taken.append(found)
    if abs(found.y - y) > _LINE:
        axes.plot(
            [across, found.x / _FRAME.width], [height, found.y / _FRAME.height],
            transform=axes.transAxes, color=PALETTE["rule2"], linewidth=1, zorder=1.5,
        )  # fmt: skip
    axes.text(
        found.x / _FRAME.width, found.y / _FRAME.height, name, transform=axes.transAxes,
        ha=found.side, va="center_baseline", **text,
    )  # fmt: skip


def _around(axes: Axes, x: float, y: float) -> Label:
    """The place that a point itself takes."""
    across, height = fractions(axes, x, y)
    return Label(across * _FRAME.width - 4, height * _FRAME.height, "left", 8)
