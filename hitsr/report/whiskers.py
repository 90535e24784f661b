"""Differences with their intervals, one under the other, about a line at zero."""

from collections.abc import Sequence
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from hitsr.report.facts import QUANTITIES
from hitsr.report.plots import WIDE, rows_panel
from hitsr.report.svg import PALETTE, Panel, style, to_panel
from hitsr.report.typeset import signed

_ROW, _TOP = 26.0, 30.0
_GLYPH_LEFT, _LEFT, _RIGHT = 128.0, 190.0, 330.0  # of the glyphs, and of the plot
_LARGEST_GLYPH = 15.0  # side of the largest window's square
_PSNR = QUANTITIES["psnr_db"]


class Whisker(NamedTuple):
    """One difference, what made it, and the sides of its network's windows."""

    name: str
    value: float
    interval: tuple[float, float] | None
    family: str
    windows: tuple[int, ...]
    is_reference: bool


def whisker_panel(name: str, title: str, whiskers: Sequence[Whisker]) -> Panel:
    """Each row has a glyph of its windows, drawn by their sides where they differ."""
    height = _TOP + _ROW * len(whiskers) + 8
    figure, axes = rows_panel(title, _PSNR.unit, height)
    reach = max(abs(end) for each in whiskers for end in (each.value, *(each.interval or ())))
    middle, unit = (_LEFT + _RIGHT) / 2, (_RIGHT - _LEFT) / 2 / (reach or 1.0)
    axes.plot([middle] * 2, [_TOP - 4, height - 8], color=PALETTE["rule2"], linewidth=1, zorder=0)
    largest = max(side for each in whiskers for side in each.windows)
    for index, each in enumerate(whiskers):
        y = _TOP + _ROW * (index + 0.5)
        axes.text(0, y + 4, each.name, **style("ink2", weight=700 if each.is_reference else 400))
        _draw_windows(axes, each, y, largest)
        _draw(axes, each, y, middle, unit)
        text = "base" if each.is_reference else signed(each.value, _PSNR.digits)
        colour = "ink3" if each.is_reference else "ink"
        axes.text(WIDE, y + 4, text, ha="right", **style(colour, weight=700))
    described = ", ".join(map(_described, whiskers))
    return to_panel(figure, name, f"{title} in {_PSNR.unit}: {described}")


def _draw(axes: Axes, each: Whisker, y: float, middle: float, unit: float) -> None:
    hue = PALETTE[each.family]
    if each.is_reference:
        axes.plot(middle, y, marker="o", markersize=6, color=PALETTE["paper"], markeredgecolor=hue)
        return
    if each.interval:
        low, high = (middle + end * unit for end in each.interval)
        axes.plot([low, high], [y, y], color=hue, linewidth=1.6, solid_capstyle="butt")
    axes.plot(middle + each.value * unit, y, marker="o", markersize=6, color=hue)


def _draw_windows(axes: Axes, each: Whisker, y: float, largest: int) -> None:
    """A square per block, its side as the root of the window's, so that small ones are seen."""
    left = _GLYPH_LEFT
    pitch = (_LEFT - 8 - _GLYPH_LEFT) / len(each.windows)
    for window in each.windows:
        side = min(_LARGEST_GLYPH, pitch - 1.5) * (window / largest) ** 0.5
        corner = (left + (pitch - side) / 2, y - side / 2)
        square = Rectangle(corner, side, side, edgecolor=PALETTE["ink3"], linewidth=0.9)
        square.set_facecolor("none")
        axes.add_patch(square)
        left += pitch


def _described(each: Whisker) -> str:
    if each.is_reference:
        return f"{each.name} is the base"
    ends = " to ".join(signed(end, _PSNR.digits) for end in each.interval or ())
    return f"{each.name} {signed(each.value, _PSNR.digits)}" + (f", {ends}" if ends else "")
