"""Tidy tables of what was measured: one row per measurement, units in column names, CSV files.

A quantity that was not measured is an empty field. Quoted numbers stand in columns that say so.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from hitsr.base.files import write_text
from hitsr.base.values import Value
from hitsr.plan.jobs import device_kind
from hitsr.records import (
    AttributionRecord,
    ComplexityRecord,
    LatencyRecord,
    ScalingRecord,
    ScalingTimeRecord,
    TrainingRecord,
)
from hitsr.records.doubts import count_doubts, time_doubts, training_doubts
from hitsr.report.dotted import at
from hitsr.report.estimates import Quartiles, quartiles
from hitsr.report.evidence import Estimates
from hitsr.report.facts import Fact, facts_of, load_of
from hitsr.report.gather import Results, gather_folder
from hitsr.report.names import FAMILIES, USUAL, Setup
from hitsr.report.published import Published
from hitsr.report.taken_apart import Side, places
from hitsr.report.targets import Clocks, target_of
from hitsr.specs.network import Scale

Columns = dict[str, str]  # name -> path of its values in a record
Fields = dict[str, object]


def _columns(declared: str) -> Columns:
    """Of "name" or "name=path", apart by spaces; a path that is not given is the name."""
    pairs = (column.partition("=") for column in declared.split())
    return {name: path or name for name, _, path in pairs}


_PLACE = _columns("network scale output_width_px=output_size.0 output_height_px=output_size.1")
_INPUT = _columns("side_px=side tokens input_width_px=input_size.0 input_height_px=input_size.1")
_MACHINE = _columns(
    "device=provenance.device device_name=provenance.device_name threads=provenance.threads"
)
_COUNTS = _PLACE | _columns("params flops counter")
_TIMES = {
    **_PLACE,
    **_MACHINE,
    **_columns(
        """
        formulation
        samples=samples_ms.count
        latency_median_ms=samples_ms.median
        latency_lower_quartile_ms=samples_ms.lower
        latency_upper_quartile_ms=samples_ms.upper
        latency_p5_ms=samples_ms.p5
        latency_p95_ms=samples_ms.p95
        cpu_mhz_before=before.cpu_mhz cpu_mhz_after=after.cpu_mhz
        gpu_mhz_before=before.gpu_mhz gpu_mhz_after=after.gpu_mhz
        peak_memory_bytes
        memory_kind
        """
    ),
}
_BATCHES = _TIMES | _columns("batch precision launch channels_last")
_TRAINING = _columns(
    """
    run=run.name network=run.network.name scale=run.scale seed=run.seed
    params training_pictures=pictures
    steps=run.recipe.steps batch=run.recipe.batch patch_px=run.recipe.patch
    learning_rate=run.recipe.learning_rate warm_up_steps=run.recipe.warm_up
    ema=run.recipe.ema clip=run.recipe.clip precision=run.recipe.precision
    skipped_steps=skipped.count
    final_loss final_validation_psnr_db validated
    seconds=provenance.seconds sessions=sessions.count
    device=provenance.device threads=provenance.threads
    weights_sha256
    """
)
_RUN = _columns("run=run.name network=run.network.name scale=run.scale seed=run.seed")
_SESSION = _columns("first_step last_step seconds devices device_name commit code torch")
_GATE = _columns(
    """
    gate_step=gate.step gate_psnr_db=gate.psnr_db gate_tolerance_db=gate.tolerance_db
    psnr_db=reached_db is_passed
    gate_source=gate.source
    """
)
_MAPPED = _columns("method=network scale run=subject dataset steps=settings.steps")
_WINDOW = _columns(
    """
    picture window_x_px=window.0 window_y_px=window.1 window_side_px=window.2
    diffusion_index information_area completeness_error
    refined_steps=refined.steps
    refined_diffusion_index=refined.diffusion_index
    refined_completeness_error=refined.completeness_error
    """
)
_GROWTH = _columns("network scale over formulation")
_POINT = _INPUT | _columns("flops activations peak_activation_bytes")
_GROWTH_TIME = _columns("network scale formulation") | _MACHINE
_POINT_TIME = _INPUT | _columns(
    """
    samples=samples_ms.count
    time_median_ms=samples_ms.median
    time_lower_quartile_ms=samples_ms.lower
    time_upper_quartile_ms=samples_ms.upper
    """
)
_SCORED = ("method", "scale", "run", "dataset")
_PAIR = ("baseline", "conversion", "scale", "device_name")
_STEP = ("step", "formulation", "precision", "launch")
_PAPER_COSTS = {
    "params_paper_k": "params",
    "flops_paper_g": "flops",
    "runtime_paper_a100_ms": "latency_ms",
}
_PAPER_SCORES = {"psnr_paper_db": "psnr_db", "ssim_paper": "ssim"}
# Whole numbers where some rows have none.
_WHOLE = {
    "params", "flops", "threads", "samples", "peak_memory_bytes", "batch", "refined_steps",
    "conversion_steps", "sessions", "skipped_steps",
}  # fmt: skip


def collect(results: Path) -> Results:
    """Write `results`/tables/*.csv from the records of a results folder such as results/demo.

    Returns what was read, and what could not be used. OSError if nothing can be written.
    """
    found = gather_folder(results)
    evidence = Estimates(results=found, facts=facts_of(found, Published(())))
    for name, frame in frames(evidence).items():
        write_text(results / "tables" / f"{name}.csv", to_csv(frame))
    return found


def frames(evidence: Estimates) -> dict[str, pd.DataFrame]:
    """All tables by name."""
    trainings = evidence.results.of(TrainingRecord)
    return {
        "efficiency": _efficiency(evidence),
        "quality": _quality(evidence),
        "quality_pictures": _quality_pictures(evidence),
        "training": _training(evidence),
        "sessions": _parts(trainings, _SESSION, "sessions"),
        "gates": _parts(trainings, _GATE, "gates"),
        "targets": _targets(evidence),
        "attribution": _attribution(evidence),
        "scaling": _scaling(evidence),
        "scaling_time": _scaling_time(evidence),
        "throughput": _throughput(evidence),
        "taken_apart": _taken_apart(evidence),
    }


def to_csv(frame: pd.DataFrame) -> str:
    """The table as text, in which no name is a formula to a spreadsheet: `=1` becomes `'=1`."""
    plain = frame.map(lambda cell: f"'{cell}" if _is_formula(cell) else cell)
    return str(plain.to_csv(index=False, lineterminator="\n"))


def _is_formula(cell: object) -> bool:
    return isinstance(cell, str) and cell.startswith(("=", "+", "-", "@", "\t", "\r"))


def _training(evidence: Estimates) -> pd.DataFrame:
    """One row per run."""
    hours = {row.subject: row.value for row in evidence.facts.find("device_hours")}
    rows = []
    for record in evidence.results.of(TrainingRecord):
        fields = _fields(_TRAINING, record)
        fields["device_hours"] = hours.get(record.subject)
        fields["doubts"] = "; ".join(training_doubts(record)) or None
        if not record.sessions:  # nor were skipped steps recorded then
            fields |= {"sessions": None, "skipped_steps": None}
        rows.append(fields)
    return _frame(rows, [*_TRAINING, "device_hours", "doubts"])


def _parts(records: Sequence[TrainingRecord], columns: Columns, path: str) -> pd.DataFrame:
    """One row per session or gate of each run."""
    rows = (
        _fields(_RUN, record) | _fields(columns, part)
        for record in records
        for part in at(record, path)
    )
    return _frame(rows, _RUN | columns)


def _targets(evidence: Estimates) -> pd.DataFrame:
    """One row per pair and scale: how long the baseline trained, and its conversion to its PSNR."""
    rows = [
        {
            **dict(zip(_PAIR, (*target.family.networks, scale))),
            "target_psnr_db": target.psnr_db,
            **_clocks("baseline", target.baseline),
            **_clocks("conversion", target.conversion),
        }
        for scale in sorted(evidence.facts.distinct("scale", "validation_psnr_db"))
        for family in FAMILIES
        if (target := target_of(evidence, family, scale))
    ]
    clocks = [name for role in ("baseline", "conversion") for name in _clocks(role, None)]
    return _frame(rows, [*_PAIR[:3], "target_psnr_db", *clocks])


def _clocks(role: str, clocks: Clocks | None) -> Fields:
    """Fields of a way to a target, empty where it was not reached."""
    return dict(zip((f"{role}_{name}" for name in Clocks._fields), clocks or (None, None, None)))


def _efficiency(evidence: Estimates) -> pd.DataFrame:
    """One row per network, scale and latency setup, or one without any; the paper's beside it."""
    counts = {(r.network, r.scale): r for r in evidence.results.of(ComplexityRecord)}
    times: dict[tuple[str, Scale], list[Fields]] = {}
    for record in evidence.results.of(LatencyRecord):
        if load_of(record) == USUAL:
            fields = _fields(_TIMES, record) | _doubted(record) | _gains(evidence, record)
            times.setdefault((record.network, record.scale), []).append(fields)
    rows = []
    for network, scale in sorted({*counts, *times}):
        counted = _counted(counts.get((network, scale)))
        quoted = _quoted(evidence, _PAPER_COSTS, network, scale=scale)
        rows += [counted | timed | quoted for timed in times.get((network, scale), [{}])]
    columns = [*{**_COUNTS, "flops_doubts": "", **_TIMES}, "latency_doubts"]
    columns += [*_quartiles("gain", None), *_PAPER_COSTS, "paper_source"]
    return _frame(rows, columns)


def _doubted(record: LatencyRecord) -> Fields:
    return {"latency_doubts": "; ".join(time_doubts(record)) or None}


def _counted(record: ComplexityRecord | None) -> Fields:
    if record is None:
        return {}
    return _fields(_COUNTS, record) | {"flops_doubts": "; ".join(count_doubts(record)) or None}


def _gains(evidence: Estimates, record: LatencyRecord) -> Fields:
    """Of a formulation over the one before it, where both took turns."""
    if record.formulation is None:
        return {}
    setup = Setup(device_kind(record.provenance.device), record.formulation)
    return _quartiles("gain", evidence.gain(record.network, record.scale, setup))


def _quality(evidence: Estimates) -> pd.DataFrame:
    """One row per run and set."""
    rows = []
    for psnr, ssim in _scores(evidence):
        where = {"scale": psnr.scale, "dataset": psnr.dataset}
        control = evidence.facts.value("psnr_db", "bicubic", **where)
        fields = {
            "pictures": len(psnr.items),
            "psnr_db": psnr.value,
            "ssim": ssim.value,
            "psnr_over_bicubic_db": None if control is None else psnr.value - control,
            "doubts": "; ".join(psnr.doubts) or None,
        }
        quoted = _quoted(evidence, _PAPER_SCORES, psnr.network, **where)
        rows.append(_scored(psnr) | fields | quoted)
    measured = ("pictures", "psnr_db", "ssim", "psnr_over_bicubic_db")
    return _frame(rows, [*_SCORED, *measured, "doubts", *_PAPER_SCORES, "paper_source"])


def _quality_pictures(evidence: Estimates) -> pd.DataFrame:
    """One row per run, set and picture."""
    rows = (
        _scored(psnr) | {"picture": name, "psnr_db": psnr_db, "ssim": ssim_value}
        for psnr, ssim in _scores(evidence)
        for name, psnr_db, ssim_value in zip(psnr.items, psnr.samples, ssim.samples)
    )
    return _frame(rows, [*_SCORED, "picture", "psnr_db", "ssim"])


def _scores(evidence: Estimates) -> Iterable[tuple[Fact, Fact]]:
    """PSNR and SSIM of each run on each set."""
    return zip(evidence.facts.find("psnr_db"), evidence.facts.find("ssim"), strict=True)


def _scored(fact: Fact) -> Fields:
    return dict(zip(_SCORED, (fact.network, fact.scale, fact.subject, fact.dataset)))


def _quoted(
    evidence: Estimates, quantities: Mapping[str, str], network: str, **where: Any
) -> Fields:
    """What the paper prints, and where it prints the first of these."""
    found = {
        column: evidence.facts.find(quantity, network, speaker="paper", **where)
        for column, quantity in quantities.items()
    }
    first = next(iter(found.values()))
    values = {column: rows[0].value for column, rows in found.items() if rows}
    return {**values, "paper_source": first[0].source if first else None}


def _attribution(evidence: Estimates) -> pd.DataFrame:
    """One row per window."""
    doubts = {row.subject: row.doubts for row in evidence.facts.find("diffusion_index")}
    rows = (
        _fields(_MAPPED, record)
        | _fields(_WINDOW, window)
        | {"doubts": "; ".join(doubts.get(record.subject, ())) or None}
        for record in evidence.results.of(AttributionRecord)
        for window in record.windows
    )
    return _frame(rows, [*_MAPPED, *_WINDOW, "doubts"])


def _scaling(evidence: Estimates) -> pd.DataFrame:
    """One row per size."""
    rows = (
        _fields(_GROWTH, record) | _fields(_POINT, point)
        for record in evidence.results.of(ScalingRecord)
        for point in record.points
    )
    return _frame(rows, _GROWTH | _POINT)


def _scaling_time(evidence: Estimates) -> pd.DataFrame:
    """One row per size."""
    rows = (
        {"over": over} | _fields(_GROWTH_TIME, record) | _fields(_POINT_TIME, point)
        for record in evidence.results.of(ScalingTimeRecord)
        for over, growth in (("window", record.windows), ("picture", record.pictures))
        if growth
        for point in growth.points
    )
    return _frame(rows, ["over", *_GROWTH_TIME, *_POINT_TIME])


def _throughput(evidence: Estimates) -> pd.DataFrame:
    """One row per setup that is not one picture of 32-bit floats."""
    rows = []
    for record in evidence.results.of(LatencyRecord):
        if load_of(record) != USUAL:
            fields = _fields(_BATCHES, record) | _doubted(record)
            rate = record.batch * 1000 / at(record, "samples_ms.median")
            rows.append(fields | {"pictures_per_second": rate})
    return _frame(rows, [*_BATCHES, "latency_doubts", "pictures_per_second"])


def _taken_apart(evidence: Estimates) -> pd.DataFrame:
    """One row per step of each pair; of factors, the quartiles."""
    rows = [
        {
            **dict(zip(_PAIR, (*pair.family.networks, pair.scale, pair.device_name))),
            **dict(zip(_STEP, (step.name, *step.step))),
            **_side("baseline", step.sides[0]),
            **_side("conversion", step.sides[1]),
            **_quartiles("times_as_fast", step.ratio),
        }
        for place in places(evidence)
        for pair in place.pairs
        for step in pair.steps
    ]
    sides = [
        column
        for role in ("baseline", "conversion")
        for column in (f"{role}_median_ms", *_quartiles(f"{role}_gain", None))
    ]
    return _frame(rows, [*_PAIR, *_STEP, *sides, *_quartiles("times_as_fast", None)])


def _side(role: str, side: Side) -> Fields:
    middle = quartiles(side.time.samples).median if side.time else None
    return {f"{role}_median_ms": middle, **_quartiles(f"{role}_gain", side.gain)}


def _quartiles(name: str, found: Quartiles | None) -> Fields:
    """Fields of quartiles, empty without any."""
    names = (f"{name}_{each}" for each in ("lower_quartile", "median", "upper_quartile"))
    return dict(zip(names, found or (None, None, None)))


def _fields(columns: Columns, record: Value | None) -> Fields:
    return {} if record is None else {name: at(record, path) for name, path in columns.items()}


def _frame(rows: Iterable[Fields], columns: Iterable[str]) -> pd.DataFrame:
    """Keep whole numbers whole where some are absent."""
    frame = pd.DataFrame(list(rows), columns=list(columns))
    return frame.astype(dict.fromkeys(_WHOLE.intersection(frame.columns), "Int64"))
