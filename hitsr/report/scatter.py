"""PSNR over a cost: what was measured in a family's hue and shape, what is quoted as open diamonds.

Names stand beside their points. Measured points are always named; quoted ones, the best first,
where there is room.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter
from matplotlib.transforms import Bbox

from hitsr.report.costs import Point
from hitsr.report.facts import QUANTITIES
from hitsr.report.names import FAMILIES, family_key, role_of, short_label
from hitsr.report.plots import (
    DOTTED,
    Frame,
    fractions,
    log_ticks,
    marker,
    plot,
    quote_marker,
)
from hitsr.report.svg import LETTER, PALETTE, TEXT_COLOUR, Panel, quote_style, style, to_panel
from hitsr.report.typeset import fixed

_FRAME = Frame(left=44, width=276, height=258)
_LINE = 13.0  # height of a label, in units of the SVG
_FAR = 4  # lines that the name of a measured point may lie away from it
_CLEAR = 7.0  # between a point and its label
_PSNR = QUANTITIES["psnr_db"]


def scatter(
    name: str, title: str, unit: str, measured: Sequence[Point], quoted: Sequence[Point]
) -> Panel:
    """PSNR over the cost that `title` and `unit` name; at least one point of either kind."""
    figure, axes = plot(title, f"{_PSNR.title}, {_PSNR.unit}", f"{unit}, log scale", _FRAME)
    log_ticks(axes, "x", [point.cost for point in (*measured, *quoted)])
    _set_height(axes, [psnr_db for point in (*measured, *quoted) for psnr_db in point.ends])
    axes.plot(
        [point.cost for point in quoted],
        [point.psnr_db for point in quoted],
        **quote_marker(size=5.5, edge=1.2),
    )
    _join(axes, measured)
    for point in measured:
        if point.half is not None:
            axes.plot([point.cost] * 2, point.ends, color=PALETTE["ink2"], linewidth=1)
        axes.plot(point.cost, point.psnr_db, markersize=9, **marker(point.method))
    _name(axes, measured, quoted)
    described = [
        f"{short_label(point.method)} {fixed(point.psnr_db, _PSNR.digits)} at {point.cost:.4g}"
        + (", quoted" if point in quoted else "")
        for point in (*measured, *quoted)
    ]
    return to_panel(figure, name, f"PSNR over {title} in {unit}: {', '.join(described)}")


def place(
    x: float, y: float, width: float, taken: Sequence[Bbox], limit: float, lines: int = 1
) -> Bbox | None:
    """Room for the name of a point at (x, y), clear of boxes `taken`; None if there is none.

    In units of the SVG from the lower left of the plot, which is `limit` wide. Right of the point
    first, then left, then up to so many `lines` above or below.
    """
    rises = [0.0, *(sign * 0.8 * _LINE * line for line in range(1, lines + 1) for sign in (1, -1))]
    boxes = (
        Bbox.from_bounds(left, y + rise - _LINE / 2, width, _LINE)
        for rise in rises
        for left in (x + _CLEAR, x - _CLEAR - width)
    )
    return next(
        (
            box
            for box in boxes
            if box.x0 >= 0 and box.x1 <= limit and not any(map(box.fully_overlaps, taken))
        ),
        None,
    )


def _set_height(axes: Axes, values: Sequence[float]) -> None:
    spread = max(max(values) - min(values), 0.1)
    axes.set_ylim(min(values) - 0.1 * spread, max(values) + 0.1 * spread)
    digits = 1 if spread > 1 else 2
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: fixed(value, digits)))


def _join(axes: Axes, measured: Iterable[Point]) -> None:
    """Dotted: from each baseline to its conversion."""
    points = {point.method: point for point in measured}
    for family in FAMILIES:
        if set(family.networks) <= set(points):
            ends = [points[network] for network in family.networks]
            axes.plot(
                [point.cost for point in ends], [point.psnr_db for point in ends],
                color=PALETTE[family.key], linewidth=1.3, linestyle=DOTTED,
            )  # fmt: skip


def _name(axes: Axes, measured: Sequence[Point], quoted: Sequence[Point]) -> None:
    # Each point keeps its own place free of other points' names.
    taken = [_around(*_units(axes, point)) for point in (*measured, *quoted)]
    for point in measured:
        weight = 700 if role_of(point.method) == "conversion" else 400
        text = style(TEXT_COLOUR[family_key(point.method)], weight=weight)
        _write(axes, point, text, taken, must=True)
    named = {short_label(point.method) for point in measured}
    for point in sorted(quoted, key=lambda point: -point.psnr_db):
        if point.method not in named:  # else its measured point lies close by
            _write(axes, point, quote_style("quote", 11.5), taken, must=False)


def _write(axes: Axes, point: Point, text: dict[str, Any], taken: list[Bbox], must: bool) -> None:
    """Write a point's name where there is room, or, if it `must` be there, beside the point."""
    name, (x, y) = short_label(point.method), _units(axes, point)
    width = LETTER * len(name)
    found = place(x, y, width, taken, _FRAME.width, _FAR if must else 1)
    if found is None and must:
        found = place(x, y, width, [], _FRAME.width)
    if found is None:
        return
    taken.append(found)
    side, start = ("left", found.x0) if found.x0 > x else ("right", found.x1)
    across, height = start / _FRAME.width, (found.y0 + found.y1) / 2 / _FRAME.height
    if abs(height * _FRAME.height - y) > _LINE:
        axes.plot(
            [x / _FRAME.width, across], [y / _FRAME.height, height],
            transform=axes.transAxes, color=PALETTE["rule2"], linewidth=1, zorder=1.5,
        )  # fmt: skip
    axes.text(across, height, name, transform=axes.transAxes, ha=side, va="center_baseline", **text)


def _units(axes: Axes, point: Point) -> tuple[float, float]:
    """Where a point lies, in units of the SVG from the lower left of the plot."""
    across, height = fractions(axes, point.cost, point.psnr_db)
    return across * _FRAME.width, height * _FRAME.height


def _around(x: float, y: float) -> Bbox:
    """The box that a point itself takes."""
    return Bbox.from_bounds(x - 4, y - _LINE / 2, 8, _LINE)
