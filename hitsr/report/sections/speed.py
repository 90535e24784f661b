"""Section: where the speed comes from; each pair's speed-up, taken apart step by step."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from hitsr.report.cells import REFERENCE, Cell, Column, Group, Row, Span, Table
from hitsr.report.evidence import Evidence
from hitsr.report.names import Setup, label
from hitsr.report.section import Caption, Section, TableView
from hitsr.report.svg import Panel
from hitsr.report.tables import measured, ratio_cell
from hitsr.report.taken_apart import Place, Side, StepTimes, TakenApart, load_of_step, places
from hitsr.report.typeset import between, listed, sentence, size, times
from hitsr.report.waterfall import waterfall

_NEUTRAL = "Where the speed comes from"
_LATENCY = measured("latency_ms", "latency", "ms", spread="seeds")


class SpeedFigure(NamedTuple):
    """The waterfalls of one place, and in words what each step contributes."""

    finding: str
    panels: Sequence[Panel]
    steps: Sequence[str]
    missing: str


def speed_section(evidence: Evidence) -> Section:
    found = places(evidence)
    figures = [
        SpeedFigure(
            speed_finding(place),
            [waterfall(pair) for pair in place.pairs],
            step_sentences(place),
            missing_sentence(evidence, place),
        )
        for place in found
    ]
    view = _view(evidence, found) if found else None
    return Section(
        key="speed",
        nav="Speed",
        heading=speed_heading(found),
        parts={"figures": figures, "view": view},
        tables=[view] if view else [],
        panels=[panel for figure in figures for panel in figure.panels],
    )


def speed_heading(found: Sequence[Place]) -> str:
    """Of the first place: the ratios at its first step, and after the step that changes most."""
    if not found or len(found[0].common) < 2:
        return _NEUTRAL
    place = found[0]
    logs = [math.fsum(map(math.log, place.ratios(step))) for step in place.common]
    changes = [abs(after - before) for before, after in pairwise(logs)]
    first, most = place.common[0], place.common[changes.index(max(changes)) + 1]
    spans = [times(place.ratios(step)) for step in (first, most)]
    if spans[0] == spans[1]:
        return _NEUTRAL
    who = "conversions run" if len(place.pairs) > 1 else "the conversion runs"
    before, after = map(place.words, (first, most))
    return f"{sentence(before)}, {who} {spans[0]} times as fast; {after}, {spans[1]} times"


def speed_finding(place: Place) -> str:
    """What remains of the speed-ups after each step that all pairs have."""
    where = f"{place.device_name}, ×{place.scale}"
    if len(place.common) < 2:
        return f"{where}: each pair’s steps."
    (words, ratio), *others = [(place.words(s), times(place.ratios(s))) for s in place.common]
    who = f"conversions run {ratio} times as fast as their baselines"
    if len(place.pairs) == 1:
        baseline, conversion = map(label, place.pairs[0].family.networks)
        who = f"{conversion} runs {ratio} times as fast as {baseline}"
    return f"{where}: {words}, {who}; {listed([' '.join(each) for each in others])}."


def step_sentences(place: Place) -> list[str]:
    """What each step but the first contributes to both sides, and what it leaves."""
    names = dict.fromkeys(step.name for pair in place.pairs for step in pair.timed[1:])
    return [_step_sentence(place, name) for name in names]


def _step_sentence(place: Place, name: str) -> str:
    """Of the pairs that were timed at the step."""
    steps = [step for pair in place.pairs for step in pair.timed[1:] if step.name == name]
    gains = zip(*([side.gain.median for side in step.sides if side.gain] for step in steps))
    before, after = (between(values, 2) for values in gains)
    ratios = between([step.ratio.median for step in steps if step.ratio], 2)
    many = len(steps) > 1
    sides = ("baselines", "conversions") if many else ("the baseline", "the conversion")
    verb = "run" if many else "runs"
    return (
        f"{sentence(name)}: {sides[0]} {verb} {before} times as fast as the step before, "
        f"{sides[1]} {after} times; the speed-up is then {ratios}."
    )


def missing_sentence(evidence: Evidence, place: Place) -> str:
    """Steps and pairs that were not timed; empty if all were."""
    lacking: dict[str, list[str]] = {}
    for pair in place.pairs:
        for name in pair.missing:
            lacking.setdefault(name, []).append(label(pair.family.conversion))
    parts = [
        name if len(pairs) == len(place.pairs) else f"{name} ({listed(pairs)})"
        for name, pairs in lacking.items()
    ]
    known = [pair.family for pair in place.pairs]
    parts += [
        f"{label(family.conversion)} beside {label(family.baseline)}"
        for family in evidence.families
        if family not in known
    ]
    return f"Not timed here: {listed(parts)}." if parts else ""


def speed_table(evidence: Evidence, found: Sequence[Place]) -> Table:
    """Times, what each step gains and what remains; a group for each pair and place."""
    spans = (
        *(
            Span((_LATENCY.column, Column("gain", room="spread")), title)
            for title in ("Baseline", "Conversion")
        ),
        Span((Column("times as fast", room="spread"),), "Ratio"),
    )
    groups = tuple(
        Group(
            f"{label(pair.family.conversion)} and {label(pair.family.baseline)}, "
            f"{pair.device_name}, ×{pair.scale}",
            tuple(_row(evidence, pair, step) for step in pair.steps),
        )
        for place in found
        for pair in place.pairs
    )
    return Table("taken_apart", "Step", spans, groups)


def _row(evidence: Evidence, pair: TakenApart, step: StepTimes) -> Row:
    cells = [cell for side in step.sides for cell in _cells(evidence, pair, step, side)]
    return Row(step.name, (*cells, ratio_cell(step.ratio, 2)), pair.family.key)


def _cells(evidence: Evidence, pair: TakenApart, step: StepTimes, side: Side) -> tuple[Cell, Cell]:
    """A side's time, and how many times as fast the step makes it."""
    setup = Setup(pair.device, step.step.formulation)
    where = {"scale": pair.scale, "setup": setup, "load": load_of_step(step.step)}
    gain = ratio_cell(side.gain, 2) if side.gain or not side.time else REFERENCE
    return _LATENCY.fill(evidence, side.network, where), gain


def _view(evidence: Evidence, found: Sequence[Place]) -> TableView:
    apart = [pair for place in found for pair in place.pairs]
    samples = sorted(
        {len(s.time.samples) for p in apart for t in p.timed for s in t.sides if s.time}
    )
    alone = [
        f"{label(pair.family.conversion)} ×{pair.scale} ({pair.device_name})"
        for pair in apart
        if not pair.is_in_turns
    ]
    conditions = (
        f"Output {size(*evidence.config.efficiency.output_size)}, one picture; median of "
        f"{listed([*map(str, samples)])} samples ± half the interquartile range. “Gain” is how "
        "many times as fast a step makes a network, against the step above it that was timed; "
        "below 1, it makes it slower. “Times as fast” compares a conversion with its "
        "baseline. Both are medians of the ratios of neighbouring forwards, ± half their "
        "interquartile range"
    )
    if alone:
        conditions += f"; {listed(alone)} did not take turns, and there they are ratios of medians"
    caption = Caption(
        "Each step’s times, what it gains, and what remains of the speed-up.", f"{conditions}."
    )
    return TableView(speed_table(evidence, found), caption)
