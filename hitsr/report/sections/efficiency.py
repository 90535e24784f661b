"""Section: parameters, FLOPs, latency and memory of the networks at published size."""

from collections.abc import Sequence
from itertools import product
from typing import NamedTuple

from hitsr.report.bars import cost_panels
from hitsr.report.cells import (
    NO_BASELINE,
    REFERENCE,
    Column,
    Group,
    Row,
    Span,
    Table,
    difference,
    estimate,
    here,
    paper,
    row,
)
from hitsr.report.gather import Setup
from hitsr.report.measures import (
    FORMULATIONS,
    Evidence,
    device_name,
    fused_gains,
    latency_ms,
    published_speedup,
    setup_name,
    speedup,
)
from hitsr.report.names import family_of
from hitsr.report.published import (
    FLOPS_TOLERANCE_G,
    PAPER_DEVICE,
    PAPER_RUNTIME_SCALE,
    PARAMS_TOLERANCE_K,
)
from hitsr.report.section import Caption, Section, TableView
from hitsr.report.sections.provenance import machine_words
from hitsr.report.statistics import Estimate, median
from hitsr.report.throughput import throughput_view
from hitsr.report.typeset import between, counted, fixed, listed, size
from hitsr.specs.network import Scale


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
        },
        tables=[view for view in (complexity, latency, throughput) if view],
        panels=cost_panels(evidence, scale),
    )


def count_changes(evidence: Evidence) -> list[Change]:
    """For each pair and scale of which both sides were counted."""
    found, changes = evidence.results.complexity, []
    for family in evidence.families:
        for scale in evidence.config.efficiency.scales:
            before, after = (found.get((network, scale)) for network in family.networks)
            if before and after:
                params = (after.params / before.params - 1) * 100
                changes.append(Change(params, (after.flops / before.flops - 1) * 100))
    return changes


def count_agreement(evidence: Evidence) -> tuple[int, int]:
    """How many parameter and FLOP counts print as the paper's do, of how many it prints."""
    agreements = []
    for (network, scale), record in evidence.results.complexity.items():
        quote = evidence.published.cost(network, scale)
        if quote and quote.params_k is not None:
            agreements.append(fixed(record.params / 1e3) == fixed(quote.params_k))
        if quote and quote.flops_g is not None:
            agreements.append(fixed(record.flops / 1e9, 1) == fixed(quote.flops_g, 1))
    return sum(agreements), len(agreements)


def speedups(evidence: Evidence, setup: Setup) -> list[float]:
    """Of each pair at each scale measured with that setup."""
    return [
        ratio
        for family in evidence.families
        for scale in evidence.latency_scales
        if (ratio := speedup(evidence.results, family, scale, setup)) is not None
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
        return "Parameters and FLOPs at published size."
    return f"{equal} of {counts} counts print exactly as in the paper."


def speed_sentence(evidence: Evidence) -> str:
    """Ratios here against the paper's, never milliseconds across devices; empty if not run."""
    parts = [
        f"{between(ratios, 1)} ({setup_name(setup)})"
        for setup in evidence.latency_setups
        if (ratios := speedups(evidence, setup))
    ]
    if not parts:
        return ""
    quoted = [r for f in evidence.families if (r := published_speedup(evidence.published, f))]
    papers = (
        f"the paper’s ratios are {between(quoted, 1)}, on an {PAPER_DEVICE} at "
        f"×{PAPER_RUNTIME_SCALE} with the code as published"
        if quoted
        else "the paper gives no run times for these networks"
    )
    return f"Conversions run {listed(parts)} times as fast as their baselines; {papers}."


def gains_sentence(evidence: Evidence) -> str:
    """What fusing is worth to conversions and to baselines; empty if not timed in turns."""
    parts = []
    for role in ("conversion", "baseline"):
        found = [
            gain.value
            for family in evidence.families
            for scale, (device, form) in product(evidence.latency_scales, evidence.latency_setups)
            if form == "fused" and (gain := _gain(evidence, getattr(family, role), scale, device))
        ]
        parts += [f"{role}s {between(found, 1)}"] if found else []
    return f"Fusing makes {listed(parts)} times as fast." if parts else ""


def complexity_table(evidence: Evidence) -> Table:
    """Parameters and FLOPs: here, paper, difference; one group per scale."""
    columns = (Column("here"), Column("paper"), Column("difference", room="mark"))
    spans = (Span(columns, "Parameters", "K"), Span(columns, "FLOPs", "G"))
    scales = evidence.config.efficiency.scales
    groups = tuple(
        Group(
            _group_title(evidence, scale),
            tuple(_complexity_row(evidence, network, scale) for network in evidence.networks),
        )
        for scale in scales
    )
    return Table("complexity", "Network", spans, groups)


def latency_table(evidence: Evidence) -> Table:
    """Time and memory per device, beside the paper's ratios; a group per scale and formulation."""
    results, ratio = evidence.results, Column("times as fast")
    devices = sorted({device for device, _ in evidence.latency_setups})
    columns = [Column("latency", "ms", room="spread"), ratio, Column("peak memory", "MB")]
    if any(_gain(evidence, *key[:3]) for key in results.latency):
        columns.append(Column("fused gains", room="spread"))
    spans = (
        *(Span(tuple(columns), device_name(device)) for device in devices),
        Span((Column("latency", "ms"), ratio), f"Paper, {PAPER_DEVICE}, ×{PAPER_RUNTIME_SCALE}"),
    )
    groups = []
    for scale, form in product(evidence.latency_scales, FORMULATIONS):
        setups = [(device, form) for device in devices]
        rows = tuple(
            _latency_row(evidence, network, scale, setups, len(columns) > 3)
            for network in evidence.networks
            if form == "fused" or network not in evidence.config.own
        )
        if any(
            (network, scale, *setup) in results.latency
            for network, setup in product(evidence.networks, setups)
        ):
            groups.append(Group(f"{_group_title(evidence, scale)}, {FORMULATIONS[form]}", rows))
    return Table("latency", "Network", spans, tuple(groups))


def _group_title(evidence: Evidence, scale: Scale) -> str:
    width, height = (round(side / scale) for side in evidence.config.efficiency.output_size)
    return f"×{scale}, input {size(width, height)}"


def _complexity_row(evidence: Evidence, network: str, scale: Scale) -> Row:
    record = evidence.results.complexity.get((network, scale))
    quote = evidence.published.cost(network, scale)
    params_k, flops_g = (record.params / 1e3, record.flops / 1e9) if record else (None, None)
    quoted_k, quoted_g = (quote.params_k, quote.flops_g) if quote else (None, None)
    return row(
        network,
        [
            here(params_k),
            paper(quoted_k),
            difference(params_k, quoted_k, 0, PARAMS_TOLERANCE_K),
            here(flops_g, 1),
            paper(quoted_g, 1),
            difference(flops_g, quoted_g, 1, FLOPS_TOLERANCE_G),
        ],
    )


def _latency_row(
    evidence: Evidence, network: str, scale: Scale, setups: Sequence[Setup], with_gain: bool
) -> Row:
    results, published, cells = evidence.results, evidence.published, []
    family = family_of(network)
    converted = family if family and network == family.conversion else None
    for device, form in setups:
        setup = (device, form)
        record = results.latency.get((network, scale, *setup))
        cells += [
            estimate(latency_ms(results, network, scale, setup), 0),
            here(speedup(results, converted, scale, setup), 1) if converted else NO_BASELINE,
            here(record.peak_memory_bytes / 1e6 if record else None),
        ]
        if with_gain:
            gain = _gain(evidence, network, scale, device)
            cells.append(REFERENCE if gain and form == "paper" else estimate(gain, 1))
    quoted = paper(published_speedup(published, converted), 1) if converted else NO_BASELINE
    return row(network, [*cells, paper(published.runtime_ms(network)), quoted])


def _gain(evidence: Evidence, network: str, scale: Scale, device: str) -> Estimate | None:
    gains = fused_gains(evidence.results, network, scale, device)
    return median(gains) if gains else None


def _complexity(evidence: Evidence) -> TableView:
    counters = sorted({r.counter for r in evidence.results.complexity.values()})
    conditions = (
        f"All networks at published size, output {size(*evidence.config.efficiency.output_size)}. "
        f"A difference beyond {PARAMS_TOLERANCE_K} K or {FLOPS_TOLERANCE_G} G is marked red. FLOPs "
        "are multiply-accumulates, as fvcore counts them"
        + (f"; counter used: {listed(counters)}." if counters else ".")
    )
    sources = evidence.published.sources(evidence.config.networks)
    notes = [_other_counter(evidence), f"Quoted from: {'; '.join(sources)}." if sources else ""]
    caption = Caption(complexity_finding(evidence), conditions)
    return TableView(complexity_table(evidence), caption, [note for note in notes if note])


def _other_counter(evidence: Evidence) -> str:
    """Why two printed cells are not fvcore's: found by comparing both counters."""
    if "swinir_ng" not in evidence.config.networks:
        return ""
    printed = [
        f"{fixed(quote.flops_g, 1)} G at ×{scale}"
        for scale in (2, 3)
        if (quote := evidence.published.cost("swinir_ng", scale)) and quote.flops_g is not None
    ]
    return (
        f"The paper’s FLOPs of SwinIR-NG ({listed(printed)}) come from that network’s own "
        "hand-written counter; its other rows are fvcore’s."
    )


def _latency(evidence: Evidence) -> TableView:
    records = list(evidence.results.latency.values())
    samples = sorted({len(record.samples_ms) for record in records})
    warmup = max(record.warmup for record in records)
    conditions = (
        f"Published size, 32-bit floats, one picture; median of {listed([*map(str, samples)])} "
        f"samples ± half the interquartile range, after {counted(warmup, 'warm-up forward')}. "
        f"Measured on {machine_words(records)}."
    )
    notes = [
        "“Times as fast” divides the baseline’s median by the conversion’s. Milliseconds of "
        "different machines are not compared. The paper’s run times are of the published code, "
        "which rebuilds masks and position biases in every forward pass."
    ]
    if gains_sentence(evidence):
        notes.append(
            "“Fused gains” is how many times as fast the fused formulation runs as the published "
            "one: both took turns in one process, and it is the median of the ratios of "
            "neighbouring forwards ± half their interquartile range. Memory is of a process of its "
            "own."
        )
    finding = speed_sentence(evidence) or "Latency and peak memory at published size."
    finding = " ".join(filter(None, [finding, gains_sentence(evidence)]))
    return TableView(latency_table(evidence), Caption(finding, conditions), notes)
