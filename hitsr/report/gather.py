"""Read all records of a results folder. What is absent is absent; what is damaged is an error."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import TypeVar

from hitsr.ablation import AblationRow
from hitsr.config import Config, runs
from hitsr.errors import RecordError
from hitsr.methods import methods
from hitsr.records import (
    ComplexityRecord,
    LatencyRecord,
    LogLine,
    QualityRecord,
    Record,
    TrainingRecord,
    latency_setup,
    read_log,
)
from hitsr.spec import Formulation, Scale

R = TypeVar("R", bound=Record)

Setup = tuple[str, Formulation]  # "cpu" or "cuda", formulation


@dataclass(frozen=True)
class Training:
    record: TrainingRecord
    log: tuple[LogLine, ...]


@dataclass(frozen=True)
class Results:
    """Every record of a results folder, by what it measures."""

    folder: Path
    complexity: dict[tuple[str, Scale], ComplexityRecord]  # by network, scale
    latency: dict[tuple[str, Scale, str, Formulation], LatencyRecord]  # network, scale, *setup
    training: dict[str, Training]  # by run
    quality: dict[tuple[str, str], QualityRecord]  # by run or "bicubic-x2", dataset

    @property
    def trainings(self) -> list[TrainingRecord]:
        return [training.record for training in self.training.values()]

    @property
    def records(self) -> list[Record]:
        measured = (*self.complexity.values(), *self.latency.values(), *self.quality.values())
        return [*self.trainings, *measured]


def gather(folder: Path) -> Results:
    """Read `folder` (such as results/demo).

    RecordError for a record that is damaged or does not measure what its name says, a finished
    training without its log, or scores that were not taken alike.
    """
    records = folder / "records"
    quality = {
        (_run_of(path, record), record.dataset): record
        for path, record in _read_all(QualityRecord, records / "quality")
    }
    _refuse_unlike_scores(list(quality.values()))
    return Results(
        folder=folder,
        complexity={
            (r.network, r.scale): r for _, r in _read_all(ComplexityRecord, records / "complexity")
        },
        latency={
            # A network of one's own has no second formulation: it stands with what runs by default.
            (r.network, r.scale, r.provenance.device.split(":")[0], r.formulation or "fused"): r
            for _, r in _read_all(LatencyRecord, records / "latency")
            if r.setup == latency_setup(r.provenance.device, r.formulation)  # nothing special
        },
        training={
            training.record.run.name: training
            for training in map(_read_training, sorted((folder / "weights").glob("*/record.json")))
        },
        quality=quality,
    )


def select(config: Config, results: Results, rows: Sequence[AblationRow] = ()) -> Results:
    """What `config` and rows of ablations ask for, and nothing else that lies in the folder.

    RecordError for a training that is not the one the config now describes.
    """
    of_rows = {run.name: run for row in rows for run in row.runs}
    wanted = runs(config) | of_rows
    for name, training in results.training.items():
        if name in wanted and training.record.run != wanted[name]:
            raise RecordError(
                f"{results.folder}/weights/{name}/record.json: trained {training.record.run.hash}, "
                f"but {config.name} now asks for {wanted[name].hash}; rerun `snakemake`"
            )
    counts = {*_counts(config), *((row.network.network.name, row.network.scale) for row in rows)}
    times = {*_times(config), *_row_times(config, rows)}
    scored = [*methods(config), *of_rows]
    scores = set(product(scored, [*config.data.test, config.data.validation]))
    return replace(
        results,
        complexity={key: r for key, r in results.complexity.items() if key in counts},
        latency={
            (network, scale, device, form): r
            for (network, scale, device, form), r in results.latency.items()
            if (network, scale, form) in times
        },
        training={run: t for run, t in results.training.items() if run in wanted},
        quality={key: r for key, r in results.quality.items() if key in scores},
    )


def missing(config: Config, results: Results) -> dict[str, list[str]]:
    """What `config` asks for and `results` does not have, by kind of job; full kinds left out."""
    timed = {(network, scale, form) for network, scale, _, form in results.latency}
    scores = product(methods(config), config.data.test)
    absent = {
        "training": [run for run in runs(config) if run not in results.training],
        "complexity": [f"{n}-x{s}" for n, s in _counts(config) if (n, s) not in results.complexity],
        "latency": [f"{n}-x{s}, {f}" for n, s, f in _times(config) if (n, s, f) not in timed],
        "quality": [f"{m} on {d}" for m, d in scores if (m, d) not in results.quality],
    }
    return {kind: names for kind, names in absent.items() if names}


def _counts(config: Config) -> list[tuple[str, Scale]]:
    return list(product(config.networks, config.efficiency.scales))


def _times(config: Config) -> list[tuple[str, Scale, Formulation]]:
    latency = config.efficiency.latency
    return list(product(config.networks, latency.scales, latency.formulations))


def _row_times(config: Config, rows: Sequence[AblationRow]) -> list[tuple[str, Scale, Formulation]]:
    """Ablations are timed at one scale, as they run by default."""
    scale = min(config.efficiency.latency.scales)
    return [(row.network.network.name, scale, "fused") for row in rows]


def _read_all(kind: type[R], folder: Path) -> list[tuple[Path, R]]:
    return [(path, kind.load(path)) for path in sorted(folder.glob("*.json"))]


def _read_training(path: Path) -> Training:
    record, log = TrainingRecord.load(path), path.with_name("log.jsonl")
    if not log.is_file():
        raise RecordError(f"{log}: no such file, but its training is done; rerun training")
    return Training(record, tuple(read_log(log)))


def _run_of(path: Path, record: QualityRecord) -> str:
    """`hit_sir-x2-s1` of hit_sir-x2-s1.Set5.json; RecordError if the record is of something else.

    A record of a run is called after the run; one of bare pictures, after their folder.
    """
    run = path.stem.removesuffix(f".{record.dataset}")
    if run == path.stem or record.subject not in (run, path.stem):
        raise RecordError(
            f"{path}: holds {record.subject} on {record.dataset}; rename it, or delete it and rerun"
        )
    return run


def _refuse_unlike_scores(records: list[QualityRecord]) -> None:
    """Scores stand in one table only if taken alike, of the same pictures."""
    first: dict[tuple[Scale, str], QualityRecord] = {}
    for record in records:
        other = first.setdefault((record.scale, record.dataset), record)
        pair = f"{other.subject} and {record.subject} on {record.dataset}"
        if record.signatures != other.signatures:
            raise RecordError(
                f"{pair}: scored as {other.signatures} and {record.signatures}, "
                "which do not compare; delete the older record and rerun"
            )
        if {p.name for p in record.pictures} != {p.name for p in other.pictures}:
            raise RecordError(f"{pair}: not the same pictures; delete both and rerun")
