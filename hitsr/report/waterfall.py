"""Waterfalls: how each step from the released code on changes the times of a pair.

A bar runs from the time before a step to the time after it, where the mark stands. Times are on a
logarithmic axis, so that equal lengths are equal factors.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

from matplotlib.axes import Axes

from hitsr.report.estimates import median
from hitsr.report.facts import digits_for
from hitsr.report.names import family_key, label, role_of, short_label
from hitsr.report.plots import WIDTH, fill_colour, marker, plain, rows_panel
from hitsr.report.svg import LETTER, PALETTE, TEXT_COLOUR, Panel, style, to_panel
from hitsr.report.taken_apart import StepTimes, TakenApart
from hitsr.report.typeset import fixed, times

# In units of the SVG.
_LEFT, _RIGHT = 8.0, 224.0  # ends of the axis; right of it there is room for numbers
_TOP, _ROW = 36.0, 58.0  # of the first step; height of one
_LANES = (24.0, 41.0)  # of the baseline and its conversion, below the top of their row
_THICK = 6.0  # of bars


class _LogAxis(NamedTuple):
    """Times in ms, over the width of the drawing."""

    low: float
    high: float

    def at(self, value: float) -> float:
        share = math.log(value / self.low) / math.log(self.high / self.low)
        return _LEFT + share * (_RIGHT - _LEFT)

    @property
    def ticks(self) -> list[float]:
        """Powers of ten; halves of them too where there are few."""
        tens = [10.0**power for power in range(-3, 7)]
        found = [value for value in tens if self.low <= value <= self.high]
        if len(found) > 1:
            return found
        finer = [value * part for value in tens for part in (1, 2, 5)]
        return [value for value in finer if self.low <= value <= self.high]


def waterfall(apart: TakenApart) -> Panel:
    """The steps at which both sides were timed, from the top down."""
    steps, sides = apart.timed, range(len(apart.family.networks))
    pairs = [_times(step) for step in steps]
    axis = _axis_of([time for pair in pairs for time in pair])
    bottom = _TOP + _ROW * len(steps)
    title = " and ".join(short_label(network) for network in reversed(apart.family.networks))
    figure, axes = rows_panel(title, "ms, log axis", bottom + 18, WIDTH)
    _draw_axis(axes, axis, bottom)
    for index, step in enumerate(steps):
        top = _TOP + _ROW * index
        _draw_head(axes, apart, step, top)
        near, far = sorted(map(axis.at, pairs[index]))
        height = _LANES[1] - _LANES[0]
        axes.barh(
            top + sum(_LANES) / 2, far - near, height, left=near, color=PALETTE["rule"], zorder=0.2
        )
        for side in sides:
            before = pairs[index - 1][side] if index else None
            _draw_lane(axes, axis, step, side, before, top)
    described = "; ".join(_described(step) for step in steps)
    name = f"taken-apart-{apart.device}-x{apart.scale}-{apart.family.key}"
    return to_panel(figure, name, f"Times of {title} on {apart.device_name}: {described}")


def _times(step: StepTimes) -> tuple[float, float]:
    before, after = (median(side.time.samples).value for side in step.sides if side.time)
    return before, after


def _axis_of(values_ms: Sequence[float]) -> _LogAxis:
    """Around all times, and never of no length."""
    return _LogAxis(min(values_ms) / 1.15, max(values_ms) * 1.05)


def _draw_axis(axes: Axes, axis: _LogAxis, bottom: float) -> None:
    for value in axis.ticks:
        x = axis.at(value)
        axes.plot([x, x], [_TOP + 8, bottom], color=PALETTE["rule"], linewidth=1, zorder=0)
        axes.text(x, bottom + 14, plain(value), ha="center", **style("ink3", 12))


def _draw_head(axes: Axes, apart: TakenApart, step: StepTimes, top: float) -> None:
    """What the step changes, and the ratio that remains."""
    assert step.ratio is not None
    axes.text(0, top + 11, step.name, **style("ink", 12.5, 700))
    ratio = f"{times([step.ratio.median])}× as fast"
    colour = TEXT_COLOUR[apart.family.key]
    axes.text(WIDTH, top + 11, ratio, ha="right", **style(colour, weight=700))


def _draw_lane(
    axes: Axes, axis: _LogAxis, step: StepTimes, index: int, before: float | None, top: float
) -> None:
    """One side's bar and mark; from the row above, a line leads to where the bar begins."""
    side, now, y = step.sides[index], _times(step)[index], top + _LANES[index]
    end = start = axis.at(now)
    hue = PALETTE[family_key(side.network)]
    if before is not None:
        start = axis.at(before)
        axes.plot([start, start], [y - _ROW, y], color=PALETTE["rule2"], linewidth=1, zorder=0.5)
        axes.barh(
            y, end - start, _THICK, left=start, color=fill_colour(side.network), edgecolor=hue,
            linewidth=1, zorder=2,
        )  # fmt: skip
    axes.plot(end, y, markersize=8.5, zorder=3, **marker(side.network))
    weight = 700 if role_of(side.network) == "conversion" else 400
    text, x = fixed(now, digits_for("latency_ms", now)), max(start, end) + 9
    axes.text(x, y + 4.5, text, **style("ink", 12.5, weight))
    if side.gain:
        gain = f"×{fixed(side.gain.median, 2)}"
        axes.text(x + 7 + LETTER * len(text), y + 4.5, gain, **style("ink3", 12))


def _described(step: StepTimes) -> str:
    """ "fused: SwinIR-Light 95 ms, HiT-SIR 56 ms, 1.7 times as fast"."""
    assert step.ratio is not None
    both = (
        f"{label(side.network)} {fixed(now, digits_for('latency_ms', now))} ms"
        for side, now in zip(step.sides, _times(step))
    )
    return f"{step.name}: {', '.join(both)}, {times([step.ratio.median])} times as fast"
