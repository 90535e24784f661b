"""Read all records of a results folder. What is absent is absent; what is damaged is an error."""

from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from hitsr.config import Config, runs
from hitsr.errors import RecordError, SpecError
from hitsr.records import (
    ComplexityRecord,
    LatencyRecord,
    LogLine,
    QualityRecord,
    Record,
    TrainingRecord,
    read_log,
)
from hitsr.report.names import BICUBIC
from hitsr.spec import Formulation, Scale

R = TypeVar("R", bound=Record)
K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

ComplexityKey = tuple[str, Scale]  # network, scale
LatencyKey = tuple[str, Scale, str, Formulation]  # network, scale, "cpu" or "cuda", formulation
QualityKey = tuple[str, str]  # run or "bicubic-x2", dataset


@dataclass(frozen=True)
class Training:
    record: TrainingRecord
    log: tuple[LogLine, ...]


@dataclass(frozen=True)
class Results:
    """Every record of a results folder, by what it measures."""

    folder: Path
    complexity: dict[ComplexityKey, ComplexityRecord]
    latency: dict[LatencyKey, LatencyRecord]
    training: dict[str, Training]  # by run
    quality: dict[QualityKey, QualityRecord]

    def __post_init__(self) -> None:
        _refuse_unlike_scores(self.quality)

    @property
    def records(self) -> list[Record]:
        trained = [training.record for training in self.training.values()]
        return [
            *trained,
            *self.complexity.values(),
            *self.latency.values(),
            *self.quality.values(),
        ]


def gather(folder: Path) -> Results:
    """Read `folder` (such as results/demo).

    RecordError for a record that is damaged or does not measure what its name says, a finished
    training without its log, or scores that were not taken alike.
    """
    records = folder / "records"
    latency = _read_all(LatencyRecord, records / "latency")
    quality = _read_all(QualityRecord, records / "quality")
    return Results(
        folder=folder,
        complexity={
            (r.network, r.scale): r for _, r in _read_all(ComplexityRecord, records / "complexity")
        },
        latency={
            (r.network, r.scale, r.provenance.device.split(":")[0], r.formulation): r
            for _, r in latency
        },
        training=_read_trainings(folder / "weights"),
        quality={(_run_of(path, r), r.dataset): r for path, r in quality},
    )


def select(config: Config, results: Results) -> Results:
    """What `config` asks for, and nothing else that lies in the folder.

    RecordError for a training that is not the one the config now describes.
    """
    networks, wanted = set(config.networks), runs(config)
    for name, training in results.training.items():
        if name in wanted and training.record.run != wanted[name]:
            raise RecordError(
                f"{results.folder}/weights/{name}/record.json: trained {training.record.run.hash}, "
                f"but {config.name} now asks for {wanted[name].hash}; rerun `snakemake`"
            )
    efficiency, latency = config.efficiency, config.efficiency.latency
    controls = {f"{BICUBIC}-x{scale}" for scale in config.train.scales}
    return Results(
        folder=results.folder,
        complexity=_where(
            results.complexity, lambda key: key[0] in networks and key[1] in efficiency.scales
        ),
        latency=_where(
            results.latency,
            lambda key: (
                key[0] in networks and key[1] in latency.scales and key[3] in latency.formulations
            ),
        ),
        training=_where(results.training, lambda run: run in wanted),
        quality=_where(
            results.quality,
            lambda key: (
                key[0] in wanted.keys() | controls
                and key[1] in {*config.data.test, config.data.validation}
            ),
        ),
    )


def missing(config: Config, results: Results) -> dict[str, list[str]]:
    """What `config` asks for and `results` does not have, by kind of job; full kinds left out."""
    efficiency, latency = config.efficiency, config.efficiency.latency
    asked_counts: list[ComplexityKey] = [
        (network, scale) for network in config.networks for scale in efficiency.scales
    ]
    asked_times = [
        (network, scale, formulation)
        for network in config.networks
        for scale in latency.scales
        for formulation in latency.formulations
    ]
    found_times = {(network, scale, form) for network, scale, _, form in results.latency}
    methods = [f"{BICUBIC}-x{scale}" for scale in config.train.scales] + list(runs(config))
    asked_scores = [(method, dataset) for method in methods for dataset in config.data.test]
    absent = {
        "training": [run for run in runs(config) if run not in results.training],
        "complexity": [f"{n}-x{s}" for n, s in asked_counts if (n, s) not in results.complexity],
        "latency": [f"{n}-x{s}, {f}" for n, s, f in asked_times if (n, s, f) not in found_times],
        "quality": [f"{m} on {d}" for m, d in asked_scores if (m, d) not in results.quality],
    }
    return {kind: names for kind, names in absent.items() if names}


def _read_all(kind: type[R], folder: Path) -> list[tuple[Path, R]]:
    return [(path, _read(kind, path)) for path in sorted(folder.glob("*.json"))]


def _read(kind: type[R], path: Path) -> R:
    try:
        return kind.load(path)
    except SpecError as error:
        raise RecordError(f"{error}\n{path}: damaged record; delete it and rerun") from None


def _read_trainings(folder: Path) -> dict[str, Training]:
    def trainings() -> Iterator[tuple[str, Training]]:
        for path in sorted(folder.glob("*/record.json")):
            record, log = _read(TrainingRecord, path), path.with_name("log.jsonl")
            if not log.is_file():
                raise RecordError(f"{log}: no such file, but its training is done; rerun training")
            yield record.run.name, Training(record, tuple(read_log(log)))

    return dict(trainings())


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


def _refuse_unlike_scores(quality: dict[QualityKey, QualityRecord]) -> None:
    """Scores stand in one table only if taken alike, of the same pictures."""
    first: dict[tuple[Scale, str], QualityRecord] = {}
    for record in quality.values():
        other = first.setdefault((record.scale, record.dataset), record)
        pair = f"{other.subject} and {record.subject} on {record.dataset}"
        if record.signatures != other.signatures:
            raise RecordError(
                f"{pair}: scored as {other.signatures} and {record.signatures}, "
                "which do not compare; delete the older record and rerun"
            )
        if {p.name for p in record.pictures} != {p.name for p in other.pictures}:
            raise RecordError(f"{pair}: not the same pictures; delete both and rerun")


def _where(mapping: dict[K, V], keep: Callable[[K], bool]) -> dict[K, V]:
    return {key: value for key, value in mapping.items() if keep(key)}
