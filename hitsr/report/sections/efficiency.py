"""Section: parameters, FLOPs, latency and memory of the networks at published size."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from typing import NamedTuple

import numpy as np

from hitsr.plan.jobs import device_kind
from hitsr.records import ComplexityRecord, LatencyRecord
from hitsr.report.bars import cost_panels
from hitsr.report.cells import REFERENCE, Cell, Column, Table, paper
from hitsr.report.dotted import at
from hitsr.report.evidence import Evidence, percent_change, took_turns
from hitsr.report.facts import load_of
from hitsr.report.judging import printed_number
from hitsr.report.names import FORMULATIONS, USUAL, Setup, device_name, label
from hitsr.report.published import PAPER_DEVICE, PAPER_RUNTIME_SCALE
from hitsr.report.section import Caption, Section, TableView
from hitsr.report.sections.provenance import machine_words
from hitsr.report.tables import (
    Lines,
    Shelf,
    Shown,
    Where,
    fill,
    measured,
    of_conversion,
    printed,
    ratio_cell,
    times_as_fast,
    to_print,
)
from hitsr.report.throughput import throughput_view
from hitsr.report.typeset import between, counted, fixed, listed, sentence, size, times
from hitsr.specs.network import Scale

_COUNTED = ("params", "flops")
_PERCENTILES = (5, 25, 75, 95)
_GAIN = "gain"  # head of a column that a note explains


class Change(NamedTuple):
    """What conversion does to the size of one network at one scale."""

    params_percent: float
    flops_percent: float


def efficiency_section(evidence: Evidence) -> Section:
    complexity = _complexity(evidence)
    latency = _latency(evidence) if evidence.latency_setups else None
    throughput = throughput_view(evidence)
    # The smallest scale with latencies, else the smallest counted.
    scale = min(evidence.latency_scales or evidence.config.efficiency.scales)
    return Section(
        key="efficiency",
        nav="Efficiency",
        heading=efficiency_heading(evidence),
        parts={
            "complexity": complexity,
            "latency": latency,
            "throughput": throughput,
            "scale": scale,
            "of_size": sentence(_of_size(evidence)),
            "has_pairs": bool(evidence.families),
        },
        tables=[view for view in (complexity, latency, throughput) if view],
        panels=cost_panels(evidence, scale),
    )


def count_changes(evidence: Evidence) -> list[Change]:
    """For each pair and scale of which both sides were counted."""
    changes = []
    for family, scale in product(evidence.families, evidence.config.efficiency.scales):
        counts = [
            [evidence.facts.find(quantity, network, scale=scale) for network in family.networks]
            for quantity in _COUNTED
        ]
        if all(all(sides) for sides in counts):
            changes.append(Change(*(percent_change(a[0], b[0]) for a, b in counts)))
    return changes


def count_agreement(evidence: Evidence) -> tuple[int, int]:
    """How many parameter and FLOP counts print as the paper's do, of how many may be compared."""
    judged = [
        printed_number(evidence, row.quantity, row.network, row.scale)
        for quantity in _COUNTED
        for row in evidence.facts.find(quantity)
    ]
    known = [number for number in judged if number and number.verdict != "not_testable"]
    return sum(number.verdict == "reproduced" for number in known), len(known)


def speedups(evidence: Evidence, setup: Setup) -> list[float]:
    """Of each pair at each scale that was timed so."""
    return [
        ratio.median
        for family, scale in product(evidence.families, evidence.latency_scales)
        if (ratio := evidence.speedup(family, scale, setup))
    ]


def efficiency_heading(evidence: Evidence) -> str:
    changes = count_changes(evidence)
    pairs = len(evidence.families) * len(evidence.config.efficiency.scales)
    smaller = all(max(change) < 0 for change in changes)
    if not changes or len(changes) < pairs or not smaller:
        return "Size, FLOPs, latency and memory"
    ratios = [ratio for setup in evidence.latency_setups for ratio in speedups(evidence, setup)]
    if not ratios:
        return "Conversions are smaller and need fewer FLOPs"
    if min(ratios) > 1:
        return "Conversions are smaller, lighter and faster"
    return "Conversions are smaller and lighter, but not all are faster here"


def complexity_finding(evidence: Evidence) -> str:
    equal, counts = count_agreement(evidence)
    if not counts:
        return f"Parameters and FLOPs, {_of_size(evidence)}."
    return f"{equal} of {counts} counts print exactly as in the paper."


def speed_sentence(evidence: Evidence) -> str:
    """Ratios here against the paper's, never milliseconds across devices; empty if not run."""
    parts = [
        f"{times(ratios)} ({setup.words})"
        for setup in evidence.latency_setups
        if (ratios := speedups(evidence, setup))
    ]
    if not parts:
        return ""
    quoted = [r for family in evidence.families if (r := evidence.printed_speedup(family))]
    one_is_printed = len(quoted) == 1
    papers = (
        f"the paper’s {'ratio is' if one_is_printed else 'ratios are'} {between(quoted, 1)}, "
        f"on an {PAPER_DEVICE} at "
        f"×{PAPER_RUNTIME_SCALE} with the released code"
        if quoted
        else "the paper gives no run times for these networks"
    )
    if len(evidence.families) == 1:
        return f"The conversion runs {listed(parts)} times as fast as its baseline; {papers}."
    return f"Conversions run {listed(parts)} times as fast as their baselines; {papers}."


def gains_sentence(evidence: Evidence) -> str:
    """What fusing is worth to conversions and to baselines; empty if not timed in turns."""
    setups = [
        setup
        for setup in evidence.latency_setups
        if setup.formulation == "fused"
        and setup._replace(formulation="paper") in evidence.latency_setups
    ]
    parts = []
    for role in ("conversion", "baseline"):
        found = [
            gain.median
            for family in evidence.families
            for scale, setup in product(evidence.latency_scales, setups)
            if (gain := evidence.gain(getattr(family, role), scale, setup))
        ]
        parts += [f"{role}s {between(found, 1)}"] if found else []
    return f"Fusing makes {listed(parts)} times as fast." if parts else ""


def complexity_table(evidence: Evidence) -> Table:
    """Parameters and FLOPs: here, paper, difference; one group per scale."""
    shelves = [
        Shelf(
            (
                measured(quantity, "here"),
                printed(quantity, "paper"),
                to_print(quantity, "difference"),
            ),
            title,
            unit,
        )
        for quantity, title, unit in (("params", "Parameters", "K"), ("flops", "FLOPs", "G"))
    ]
    lines = (
        Lines(_group_title(evidence, scale), evidence.networks, {"scale": scale})
        for scale in evidence.config.efficiency.scales
    )
    return fill(evidence, "complexity", "Network", shelves, lines)


def latency_table(evidence: Evidence) -> Table:
    """Time and memory per device, beside the paper's ratios; a group per scale and formulation."""
    devices = sorted({setup.device for setup in evidence.latency_setups})
    took_turns = any(
        evidence.gain(network, scale, setup)
        for network, scale, setup in product(
            evidence.networks, evidence.latency_scales, evidence.latency_setups
        )
    )
    shelves = [Shelf(_timed_columns(device, took_turns), device_name(device)) for device in devices]
    shelves.append(
        Shelf(
            (
                printed("latency_ms", "latency", "ms", scale=PAPER_RUNTIME_SCALE),
                _printed_speedup(),
            ),
            f"Paper, {PAPER_DEVICE}, ×{PAPER_RUNTIME_SCALE}",
        )
    )
    lines: list[Lines] = []
    for scale, form in product(evidence.latency_scales, FORMULATIONS):
        networks = [n for n in evidence.networks if form == "fused" or n not in evidence.config.own]
        rows = evidence.facts.find("latency_ms", scale=scale, load=USUAL)
        timed = {row.network for row in rows if row.setup and row.setup.formulation == form}
        if timed & set(networks):
            title = f"{_group_title(evidence, scale)}, {FORMULATIONS[form]}"
            is_first = all(each.where["scale"] != scale for each in lines)
            where = {"scale": scale, "formulation": form, "is_first": is_first}
            lines.append(Lines(title, networks, where))
    return fill(evidence, "latency", "Network", shelves, lines)


def _timed_columns(device: str, took_turns: bool) -> tuple[Shown, ...]:
    columns = (
        _timed("latency_ms", "latency", "ms", device, room=True),
        times_as_fast("times as fast", device),
        _timed("memory_mb", "peak memory", "MB", device),
    )
    return (*columns, _gain(device)) if took_turns else columns


def _timed(quantity: str, head: str, unit: str, device: str, room: bool = False) -> Shown:
    """One picture of 32-bit floats, in the formulation of the group."""
    shown = measured(quantity, head, unit, spread="seeds" if room else "")

    def cell(evidence: Evidence, network: str, where: Where) -> Cell:
        setup = Setup(device, where["formulation"])
        place = {"scale": where["scale"], "setup": setup, "load": USUAL}
        time = evidence.time_of(network, where["scale"], setup) if room else None
        words = percentile_words(time.samples) if time else ""
        return replace(shown.fill(evidence, network, place), hover=words)

    return Shown(shown.column, cell)


def _gain(device: str) -> Shown:
    """How many times as fast a formulation runs as the one before it; the first is reference."""

    def cell(evidence: Evidence, network: str, where: Where) -> Cell:
        setup = Setup(device, where["formulation"])
        if where["is_first"] and evidence.time_of(network, where["scale"], setup):
            return REFERENCE
        return ratio_cell(evidence.gain(network, where["scale"], setup))

    return Shown(Column(_GAIN, room="spread"), cell)


def _printed_speedup() -> Shown:
    return of_conversion(
        Column("times as fast"),
        lambda evidence, family, _: paper(evidence.printed_speedup(family), 1),
    )


def percentile_words(samples_ms: Sequence[float]) -> str:
    """ "5 %: 12.0, 25 %: 12.1, 75 %: 12.3, 95 %: 12.9 ms"."""
    found = zip(_PERCENTILES, np.percentile(samples_ms, _PERCENTILES), strict=True)
    return ", ".join(f"{percent} %: {fixed(float(value), 1)}" for percent, value in found) + " ms"


def _clock_note(records: Sequence[LatencyRecord]) -> str:
    """ "GPU clock: 345 MHz before the warm-up, 1 935 to 1 980 MHz after the last sample."."""
    parts = []
    for name, kind in (("GPU", "cuda"), ("CPU", "cpu")):
        on = [record for record in records if device_kind(record.provenance.device) == kind]
        before, after = (
            [mhz for record in on if (mhz := at(record, f"{when}.{name.lower()}_mhz"))]
            for when in ("before", "after")
        )
        if before and after:
            parts.append(
                f"{name} clock: {between(before, 0)} MHz before the warm-up, {between(after, 0)} "
                "MHz after the last sample."
            )
    return " ".join(parts)


def _group_title(evidence: Evidence, scale: Scale) -> str:
    width, height = (round(side / scale) for side in evidence.config.efficiency.output_size)
    return f"×{scale}, input {size(width, height)}"


def _complexity(evidence: Evidence) -> TableView:
    counters = sorted({record.counter for record in evidence.results.of(ComplexityRecord)})
    conditions = (
        f"{sentence(_of_size(evidence))}, output {size(*evidence.config.efficiency.output_size)}. "
        f"{_marked(evidence)}FLOPs are multiply-accumulates, as fvcore counts them"
        + (f"; counter used: {listed(counters)}." if counters else ".")
    )
    rows = [
        row
        for network in evidence.config.networks
        for row in evidence.facts.find("params", network, speaker="paper")
    ]
    sources = list(dict.fromkeys(row.source for row in rows))
    notes = [_other_counter(evidence), f"Quoted from: {'; '.join(sources)}." if sources else ""]
    caption = Caption(complexity_finding(evidence), conditions)
    return TableView(complexity_table(evidence), caption, [note for note in notes if note])


def _of_size(evidence: Evidence) -> str:
    """Only the paper's networks have a published size."""
    published, own = evidence.config.networks, evidence.config.own
    if published and own:
        return "networks of the paper at published size, own networks as built"
    return "all networks at published size" if published else "own networks as built"


def _marked(evidence: Evidence) -> str:
    """By which tolerances a difference is marked: those of the claims."""
    limits: list[str] = []
    if not evidence.config.networks:
        return ""
    for quantity, unit in (("params", "K"), ("flops", "G")):
        tolerance = next(
            (
                claim.quantities[quantity]
                for claim in evidence.claims
                if claim.of == "networks" and quantity in claim.quantities
            ),
            None,
        )
        limits += [f"{tolerance:g} {unit}"] if tolerance else []
    return f"A difference beyond {' or '.join(limits)} is marked red. " if limits else ""


def _other_counter(evidence: Evidence) -> str:
    """Why two printed cells are not fvcore's: found by comparing both counters."""
    if "swinir_ng" not in evidence.config.networks:
        return ""
    printed_g = {
        row.scale: row.value for row in evidence.facts.find("flops", "swinir_ng", speaker="paper")
    }
    shown = [f"{fixed(printed_g[x], 1)} G at ×{x}" for x in (2, 3) if x in printed_g]
    return (
        f"The paper’s FLOPs of SwinIR-NG ({listed(shown)}) come from that network’s own "
        "hand-written counter; its other rows are fvcore’s."
    )


def _alone(evidence: Evidence) -> str:
    """Which pairs did not take turns, as the end of a sentence; empty if all did."""
    found = []
    for family, scale, setup in product(
        evidence.families, evidence.latency_scales, evidence.latency_setups
    ):
        before, after = (evidence.time_of(name, scale, setup) for name in family.networks)
        if before and after and not took_turns(before, after):
            found.append(f"{label(family.conversion)} ×{scale} ({setup.words})")
    return f"; {listed(found)} did not, and there it is the ratio of medians" if found else ""


def _released_words(evidence: Evidence) -> str:
    """Whether a formulation that was timed does as the released code does."""
    if any(setup.formulation == "released" for setup in evidence.latency_setups):
        return f"so does the formulation “{FORMULATIONS['released']}”"
    return "no formulation that was timed here does"


def _latency(evidence: Evidence) -> TableView:
    records = [r for r in evidence.results.of(LatencyRecord) if load_of(r) == USUAL]
    table = latency_table(evidence)
    samples = sorted({len(record.samples_ms) for record in records})
    warmup = max(record.warmup for record in records)
    taken = f"{listed([*map(str, samples)])} {'sample' if samples == [1] else 'samples'}"
    on_gpu = any(setup.device == "cuda" for setup in evidence.latency_setups)
    floats = "32-bit floats without TF32" if on_gpu else "32-bit floats"
    conditions = (
        f"{sentence(_of_size(evidence))}, {floats}, one picture; median of {taken} "
        f"± half the interquartile range, after {counted(warmup, 'warm-up forward')}. "
        f"Measured on {machine_words(records)}."
    )
    notes = [
        "“Times as fast” is how many times as long the baseline takes: the median of the ratios of "
        "neighbouring forwards, where both took turns in one process, ± half their interquartile "
        f"range{_alone(evidence)}. Milliseconds of different machines are not compared. The "
        "paper’s run times are of the released code, which builds attention masks on the CPU and "
        f"copies them over in every block; {_released_words(evidence)}."
    ]
    if clocks := _clock_note(records):
        notes.append(clocks)
    if any(column.head == _GAIN for _, column in table.columns):
        notes.append(
            "“Gain” is how many times as fast a formulation runs as the one above it. Peak memory "
            "is that of one forward, above that at rest."
        )
    finding = speed_sentence(evidence) or f"Latency and peak memory, {_of_size(evidence)}."
    finding = " ".join(filter(None, [finding, gains_sentence(evidence)]))
    return TableView(table, Caption(finding, conditions), notes)
