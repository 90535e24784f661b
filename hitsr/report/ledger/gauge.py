"""Gauges: where a claim puts its numbers and where they are, as small SVGs in the page's colours.

Band: the tolerance. Open diamond: the paper. Dot with bar: here, with its interval; hollow where it
is not judged. Claims that are counted are squares, one per part: full, crossed, empty where a
number is not judged, dashed where there is none.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

from markupsafe import Markup, escape

from hitsr.report.ledger.ruling import Part, Ruling, Style
from hitsr.report.ledger.words import here_words, paper_words

_LEFT, _RIGHT, _WIDTH = 12.0, 228.0, 240  # ends of the axis, and of the drawing
_ACROSS = 15  # squares in a row
_STEPS = (1, 2, 2.5, 5, 10)


class Axis(NamedTuple):
    """From the first tick to the last, over the width of the drawing."""

    ticks: tuple[float, ...]

    def at(self, value: float) -> float:
        """Clipped: an open band ends where the axis does."""
        low, high = self.ticks[0], self.ticks[-1]
        share = (min(max(value, low), high) - low) / (high - low)
        return round(_LEFT + share * (_RIGHT - _LEFT), 1)


def gauge(ruling: Ruling) -> Markup:
    """Empty where there is nothing to draw."""
    label = f"Paper: {paper_words(ruling)}. Here: {here_words(ruling)}."
    if ruling.noun:
        return _svg(label, *_squares(ruling))
    parts = [part for part in ruling.parts if part.style == ruling.parts[0].style]
    values = _values(parts)
    if not values:
        return Markup("")
    return _svg(label, _drawn(parts, axis_of(values)), 46)


def axis_of(values: Sequence[float]) -> Axis:
    """Round ticks, three to six of them, around all `values`."""
    low, high = min(values), max(values)
    if high - low < 1e-12:
        low, high = low - max(abs(low), 1) / 10, high + max(abs(high), 1) / 10
    rough = (high - low) / 3
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(each * power for each in _STEPS if each * power >= rough * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return Axis(tuple(round(k * step, 10) for k in range(first, last + 1)))


def _values(parts: Sequence[Part]) -> list[float]:
    """All that the axis must reach; zero too where signs matter."""
    found = [part.paper for part in parts if part.paper is not None]
    for part in parts:
        if part.here:
            found += [part.here.value, *(part.here.interval or ())]
    if len(parts) == 1:
        found += [part.expected.low for part in parts] + [part.expected.high for part in parts]
    finite = [value for value in found if math.isfinite(value)]
    return [*finite, 0.0] if finite and parts[0].style.plus else finite


def _drawn(parts: Sequence[Part], axis: Axis) -> str:
    upper, lower = (22, 22) if len(parts) == 1 else (15, 29)
    drawn = [_band(part, axis) for part in parts if len(parts) == 1]
    drawn.append(_scale(axis, parts[0].style))
    for part in parts:
        if part.paper is not None:
            drawn.append(
                f'<path class="qm" d="M{axis.at(part.paper)} {upper - 5.5}'
                'l5.5 5.5l-5.5 5.5l-5.5 -5.5z"/>'
            )
    drawn += [_dot(part, axis, lower) for part in parts if part.here]
    return "".join(drawn)


def _band(part: Part, axis: Axis) -> str:
    left, right = axis.at(part.expected.low), axis.at(part.expected.high)
    return f'<rect class="band" x="{left}" y="13" width="{round(right - left, 1)}" height="18"/>'


def _scale(axis: Axis, style: Style) -> str:
    step = axis.ticks[1] - axis.ticks[0]
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    digits += abs(round(step * 10**digits) - step * 10**digits) > 1e-9  # a step of 2.5
    written = style._replace(digits=digits)
    drawn = [f'<path class="ax" d="M{_LEFT} 22H{_RIGHT}"/>']
    for tick in axis.ticks:
        is_last = tick == axis.ticks[-1]
        anchor = "end" if is_last else "start" if tick == axis.ticks[0] else "middle"
        text = written.write(tick) if is_last else written.bare(tick)
        x = axis.at(tick)
        drawn.append(
            f'<path class="ax" d="M{x} 19v6"/><text x="{x}" y="44" text-anchor="{anchor}">'
            f"{text}</text>"
        )
    return "".join(drawn)


def _dot(part: Part, axis: Axis, y: int) -> str:
    here = part.here
    if here is None or not math.isfinite(here.value):
        return ""
    kind = "hollow" if part.verdict == "not_testable" else "dot"
    bar = ""
    if here.interval:
        low, high = map(axis.at, here.interval)
        bar = f'<path class="{kind}-bar" d="M{low} {y}H{high}"/>'
    return f'{bar}<circle class="{kind}" cx="{axis.at(here.value)}" cy="{y}" r="4.6"/>'


def _squares(ruling: Ruling) -> tuple[str, int]:
    """Rows of squares and the drawing's height."""
    pitch, side = (21.5, 15.0) if len(ruling.parts) <= 10 else (14.4, 9.5)
    drawn = []
    for index, part in enumerate(ruling.parts):
        row, column = divmod(index, _ACROSS)
        x, y = round(_LEFT + column * pitch, 1), round(6 + row * pitch, 1)
        is_shown = part.verdict == "not_testable" and part.here
        kind = "shown" if is_shown else part.verdict
        drawn.append(
            f'<rect class="{kind}" x="{x}" y="{y}" width="{side}" height="{side}" rx="2"/>'
        )
        if part.verdict == "not_reproduced":
            end = round(side - 5, 1)
            drawn.append(
                f'<path class="cross" d="M{x + 2.5} {y + 2.5}l{end} {end}m0 {-end}l{-end} {end}"/>'
            )
    rows = -(-len(ruling.parts) // _ACROSS)
    base = round(6 + rows * pitch + 12)
    drawn.append(f'<text x="{_LEFT}" y="{base}">one square per {escape(ruling.noun)}</text>')
    return "".join(drawn), base + 6


def _svg(label: str, drawn: str, height: int) -> Markup:
    opening = f'<svg viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{escape(label)}">'
    return Markup(f"{opening}{drawn}</svg>")
