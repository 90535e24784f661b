"""Gauges: where a claim puts its numbers and where they are, as small SVGs in the page's colours.

Band: the tolerance. Open diamond: the paper. Dot with bar: here, with its interval; hollow where it
is not judged. Claims that are counted are squares, one for each number that was run: full, crossed
where the claim fails, empty where the number is not judged.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

from markupsafe import Markup, escape
from matplotlib.ticker import MaxNLocator

from hitsr.report.judging import JudgedNumber, Style
from hitsr.report.ledger_words import here_words, paper_words
from hitsr.report.ruling import Ruling

_LEFT, _RIGHT, _WIDTH = 12.0, 228.0, 240  # ends of the axis, and of the drawing
_MIDDLE = 22  # height of the axis
_ACROSS = 15  # squares in a row


class GaugeAxis(NamedTuple):
    """From the first tick to the last, over the width of the drawing."""

    ticks: tuple[float, ...]

    def at(self, value: float) -> float:
        """Clipped: an open band ends where the axis does."""
        low, high = self.ticks[0], self.ticks[-1]
        share = (min(max(value, low), high) - low) / (high - low)
        return round(_LEFT + share * (_RIGHT - _LEFT), 1)


def gauge(ruling: Ruling) -> Markup:
    """Empty where there is nothing to draw."""
    if ruling.noun:
        run = [n for n in ruling.numbers if n.here or ruling.claim.basis == "quotes"]
        drawn, height = _squares(run, ruling.noun)
    else:
        numbers = [number for number in ruling.numbers if number.style == ruling.numbers[0].style]
        drawn, height = _numbers(numbers), 46
    if not drawn:
        return Markup("")
    label = f"Paper: {paper_words(ruling)}. Here: {here_words(ruling)}."
    return Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>').format(
        _WIDTH, height, label, Markup("".join(drawn))
    )


def axis_of(values: Sequence[float]) -> GaugeAxis:
    """Round ticks, three to six of them, around all `values`."""
    low, high = min(values), max(values)
    if high - low < 1e-12:
        low, high = low - max(abs(low), 1) / 10, high + max(abs(high), 1) / 10
    ticks = MaxNLocator(3, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)
    return GaugeAxis(tuple(round(float(tick), 10) for tick in ticks))


def _numbers(numbers: Sequence[JudgedNumber]) -> list[str]:
    """Marks on one axis; the paper's above those here, where there are several."""
    values = _values(numbers)
    if not values:
        return []
    axis, is_alone = axis_of(values), len(numbers) == 1
    upper, lower = (_MIDDLE, _MIDDLE) if is_alone else (15, 29)
    drawn = [_band(numbers[0], axis)] if is_alone else []
    drawn += _scale(axis, numbers[0].style)
    for number in numbers:
        if number.paper is not None:
            start = f"M{axis.at(number.paper)} {upper - 5.5}"
            drawn.append(f'<path class="qm" d="{start}l5.5 5.5l-5.5 5.5l-5.5 -5.5z"/>')
    return drawn + [_dot(number, axis, lower) for number in numbers]


def _values(numbers: Sequence[JudgedNumber]) -> list[float]:
    """Values that the axis must reach; zero too where signs matter."""
    found = [number.paper for number in numbers if number.paper is not None]
    for number in numbers:
        if number.here:
            found += [number.here.value, *(number.here.interval or ())]
    if len(numbers) == 1:
        found += [numbers[0].expected.low, numbers[0].expected.high]
    finite = [value for value in found if math.isfinite(value)]
    return [*finite, 0.0] if finite and numbers[0].style.plus else finite


def _band(number: JudgedNumber, axis: GaugeAxis) -> str:
    left, right = axis.at(number.expected.low), axis.at(number.expected.high)
    return f'<rect class="band" x="{left}" y="13" width="{round(right - left, 1)}" height="18"/>'


def _scale(axis: GaugeAxis, style: Style) -> list[str]:
    """The axis with its ticks, the unit at the last of them."""
    step = axis.ticks[1] - axis.ticks[0]
    digits = len(f"{step:.8f}".rstrip("0").partition(".")[2])
    written = style._replace(digits=digits)
    texts = [*map(written.bare, axis.ticks[:-1]), written.write(axis.ticks[-1])]
    anchors = ["start", *["middle"] * (len(texts) - 2), "end"]
    drawn = [f'<path class="ax" d="M{_LEFT} {_MIDDLE}H{_RIGHT}"/>']
    for x, anchor, text in zip(map(axis.at, axis.ticks), anchors, texts):
        drawn.append(f'<path class="ax" d="M{x} {_MIDDLE - 3}v6"/>')
        drawn.append(f'<text x="{x}" y="44" text-anchor="{anchor}">{escape(text)}</text>')
    return drawn


def _dot(number: JudgedNumber, axis: GaugeAxis, y: int) -> str:
    here = number.here
    if here is None or not math.isfinite(here.value):
        return ""
    kind, bar = "hollow" if number.verdict == "not_testable" else "dot", ""
    if here.interval:
        low, high = map(axis.at, here.interval)
        bar = f'<path class="{kind}-bar" d="M{low} {y}H{high}"/>'
    return f'{bar}<circle class="{kind}" cx="{axis.at(here.value)}" cy="{y}" r="4.6"/>'


def _squares(numbers: Sequence[JudgedNumber], noun: str) -> tuple[list[str], int]:
    """Rows of squares and the drawing's height; nothing for no numbers."""
    pitch, side = (21.5, 15.0) if len(numbers) <= 10 else (14.4, 9.5)
    drawn = []
    for index, number in enumerate(numbers):
        row, column = divmod(index, _ACROSS)
        x, y = round(_LEFT + column * pitch, 1), round(6 + row * pitch, 1)
        is_shown = number.verdict == "not_testable" and number.here
        kind = "shown" if is_shown else number.verdict
        drawn.append(
            f'<rect class="{kind}" x="{x}" y="{y}" width="{side}" height="{side}" rx="2"/>'
        )
        if number.verdict == "not_reproduced":
            end = side - 5
            drawn.append(
                f'<path class="cross" d="M{x + 2.5} {y + 2.5}l{end} {end}m0 {-end}l{-end} {end}"/>'
            )
    base = round(6 + math.ceil(len(numbers) / _ACROSS) * pitch + 12)
    text = f'<text x="{_LEFT}" y="{base}">one square per {escape(noun)}</text>'
    return [*drawn, text] if drawn else [], base + 6
