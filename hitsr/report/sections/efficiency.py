"""Section: parameters, FLOPs, latency and memory of the networks at published size."""

from dataclasses import dataclass
from typing import ClassVar

from hitsr.report.bars import cost_panels
from hitsr.report.findings import (
    complexity_finding,
    efficiency_heading,
    latency_finding,
)
from hitsr.report.measures import Evidence
from hitsr.report.panels import Panel
from hitsr.report.published import FLOPS_TOLERANCE_G, PARAMS_TOLERANCE_K
from hitsr.report.sections.captions import Caption, FigureView, TableView
from hitsr.report.typeset import counted, fixed, listed, size
from hitsr.report.views import complexity_table, latency_table
from hitsr.report.words import machine_words


@dataclass(frozen=True)
class EfficiencySection:
    key: ClassVar[str] = "efficiency"
    nav: ClassVar[str] = "Efficiency"
    heading: str
    complexity: TableView
    latency: TableView | None  # None: not run
    bars: FigureView

    @property
    def tables(self) -> list[TableView]:
        return [view for view in (self.complexity, self.latency) if view]

    @property
    def panels(self) -> list[Panel]:
        return self.bars.panels


def efficiency_section(evidence: Evidence) -> EfficiencySection:
    width, height = evidence.config.efficiency.output_size
    bars = Caption(
        "Costs of each conversion beside its baseline.",
        f"Published size, ×{evidence.figure_scale}, output {size(width, height)}. Bars start at "
        "zero. The number at the right compares a conversion with its baseline.",
    )
    return EfficiencySection(
        heading=efficiency_heading(evidence),
        complexity=_complexity(evidence),
        latency=_latency(evidence) if evidence.latency_setups else None,
        bars=FigureView(bars, cost_panels(evidence)),
    )


def _complexity(evidence: Evidence) -> TableView:
    width, height = evidence.config.efficiency.output_size
    counters = sorted({r.counter for r in evidence.results.complexity.values()})
    conditions = (
        f"All networks at published size, output {size(width, height)}. A difference beyond "
        f"{PARAMS_TOLERANCE_K} K or {FLOPS_TOLERANCE_G} G is marked red. FLOPs are "
        "multiply-accumulates, as fvcore counts them"
        + (f"; counter used: {listed(counters)}." if counters else ".")
    )
    sources = evidence.published.sources(evidence.config.networks)
    notes = [f"Quoted from: {'; '.join(sources)}."] if sources else []
    if counter_note := _other_counter(evidence):
        notes.insert(0, counter_note)
    caption = Caption(complexity_finding(evidence), conditions)
    return TableView(complexity_table(evidence), caption, tuple(notes))


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
    warmups = sorted({record.warmup for record in records})
    machine = machine_words(record.provenance for record in records)
    conditions = (
        f"Published size, 32-bit floats, one picture; median of {listed([*map(str, samples)])} "
        f"samples ± half the interquartile range, after "
        f"{counted(warmups[-1], 'warm-up forward')}. Measured on {machine}."
    )
    notes = (
        "“Times as fast” divides the baseline’s median by the conversion’s. Milliseconds of "
        "different machines are not compared. The paper’s run times are of the published code, "
        "which rebuilds masks and position biases in every forward pass.",
    )
    caption = Caption(latency_finding(evidence), conditions)
    return TableView(latency_table(evidence), caption, notes)
