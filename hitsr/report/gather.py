"""Read all records of a results folder. What is absent is absent; what is damaged is an error."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import TypeVar

from hitsr.base.errors import RecordError
from hitsr.plan.methods import methods
from hitsr.records import (
    AttributionRecord,
    ComplexityRecord,
    LatencyRecord,
    LogLine,
    Over,
    QualityRecord,
    Record,
    ScalingRecord,
    ScalingTimeRecord,
    TrainingRecord,
    latency_setup,
    read_log,
)
from hitsr.specs.ablation import AblationRow
from hitsr.specs.config import Config, runs
from hitsr.specs.network import Formulation, Scale

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
    # By run or released network such as "hit_sir-x2", dataset.
    attribution: dict[tuple[str, str], AttributionRecord]
    scaling: dict[tuple[str, Over], ScalingRecord]  # by network
    scaling_time: dict[tuple[str, str, Formulation], ScalingTimeRecord]  # by network, *setup
    special: tuple[LatencyRecord, ...]  # with a batch, dtype, layout or compiling of their own

    @property
    def trainings(self) -> list[TrainingRecord]:
        return [training.record for training in self.training.values()]

    @property
    def records(self) -> list[Record]:
        return [
            *self.trainings,
            *self.complexity.values(),
            *self.latency.values(),
            *self.quality.values(),
            *self.attribution.values(),
            *self.scaling.values(),
            *self.scaling_time.values(),
            *self.special,
        ]


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
    attribution = _read_attribution(folder / "lam")
    _refuse_unlike_maps(list(attribution.values()))
    latencies = [record for _, record in _read_all(LatencyRecord, records / "latency")]
    return Results(
        folder=folder,
        complexity={
            (r.network, r.scale): r for _, r in _read_all(ComplexityRecord, records / "complexity")
        },
        latency={
            # A network of one's own has no second formulation: it stands with what runs by default.
            (r.network, r.scale, _device_kind(r), r.formulation or "fused"): r
            for r in latencies
            if _is_usual(r)
        },
        training={
            training.record.run.name: training
            for training in map(_read_training, sorted((folder / "weights").glob("*/record.json")))
        },
        quality=quality,
        attribution=attribution,
        # Measured at one scale; of several, the smallest stands: its file is read last.
        scaling={
            (r.network, r.over): r
            for _, r in reversed(_read_all(ScalingRecord, records / "scaling"))
        },
        scaling_time={
            (r.network, _device_kind(r), r.formulation): r
            for _, r in reversed(_read_all(ScalingTimeRecord, records / "scaling_time"))
        },
        special=tuple(record for record in latencies if not _is_usual(record)),
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
    # Whatever was timed of a network is shown: `make latency` times more than a config asks for.
    timed = {network for network, *_ in (*_times(config), *_row_times(config, rows))}
    scored = [*methods(config), *of_rows]
    scores = set(product(scored, [*config.data.test, config.data.validation]))
    maps = set(
        product(methods(config), [*config.data.test, *(config.lam.sets if config.lam else ())])
    )
    return replace(
        results,
        complexity={key: r for key, r in results.complexity.items() if key in counts},
        latency={key: r for key, r in results.latency.items() if key[0] in timed},
        training={run: t for run, t in results.training.items() if run in wanted},
        quality={key: r for key, r in results.quality.items() if key in scores},
        attribution={key: r for key, r in results.attribution.items() if key in maps},
        scaling={key: r for key, r in results.scaling.items() if r.network in config.networks},
        scaling_time={k: r for k, r in results.scaling_time.items() if k[0] in config.networks},
        special=tuple(r for r in results.special if r.network in timed),
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
        "attribution": [
            f"{m} on {d}" for m, d in _maps(config) if (m, d) not in results.attribution
        ],
        "scaling": [f"{n} over {o}s" for n, o in _laws(config) if (n, o) not in results.scaling],
        "scaling_time": _untimed(config, results),
    }
    return {kind: names for kind, names in absent.items() if names}


def _counts(config: Config) -> list[tuple[str, Scale]]:
    own = [(name, scale) for name, each in config.own.items() for scale in each.scales]
    return [*product(config.networks, config.efficiency.scales), *own]


def _times(config: Config) -> list[tuple[str, Scale, Formulation]]:
    """Networks of one's own stand with what runs by default."""
    latency = config.efficiency.latency
    own: list[tuple[str, Scale, Formulation]] = [
        (name, scale, "fused")
        for name, each in config.own.items()
        for scale in each.scales
        if scale in latency.scales
    ]
    return [*product(config.networks, latency.scales, latency.formulations), *own]


def _maps(config: Config) -> list[tuple[str, str]]:
    """Methods and sets of the attribution maps that are asked for."""
    lam = config.lam
    return [
        (name, dataset)
        for name, method in methods(config).items()
        for dataset in (lam.sets if lam else ())
        if lam and method.scale in lam.scales and method.kind != "control"
    ]


def _laws(config: Config) -> list[tuple[str, Over]]:
    return list(product(config.networks, config.scaling.over if config.scaling else ()))


def _untimed(config: Config, results: Results) -> list[str]:
    wanted = config.networks if config.scaling and config.scaling.samples else ()
    timed = {network for network, *_ in results.scaling_time}
    return [network for network in wanted if network not in timed]


def _row_times(config: Config, rows: Sequence[AblationRow]) -> list[tuple[str, Scale, Formulation]]:
    """Ablations are timed at one scale, as they run by default."""
    scale = min(config.efficiency.latency.scales)
    return [(row.network.network.name, scale, "fused") for row in rows]


def _read_all(kind: type[R], folder: Path) -> list[tuple[Path, R]]:
    return [(path, kind.load(path)) for path in sorted(folder.glob("*.json"))]


def _device_kind(record: Record) -> str:
    return record.provenance.device.partition(":")[0]


def _is_usual(record: LatencyRecord) -> bool:
    """One picture in float32, no layout or compiling asked for."""
    return record.setup == latency_setup(record.provenance.device, record.formulation)


def _read_attribution(folder: Path) -> dict[tuple[str, str], AttributionRecord]:
    """Of hit_sir-x2-s1.Set5/record.json; RecordError if a folder is not called after its record."""
    found = {}
    for path in sorted(folder.glob("*/record.json")):
        record = AttributionRecord.load(path)
        method, _, dataset = path.parent.name.rpartition(".")
        if (record.subject, record.dataset) != (method, dataset):
            raise RecordError(
                f"{path}: holds {record.subject} on {record.dataset or 'pictures named one by one'}"
                "; rename its folder, or delete it and rerun"
            )
        found[method, dataset] = record
    return found


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


def _refuse_unlike_maps(records: list[AttributionRecord]) -> None:
    """Maps stand on one sheet only if taken alike, of the same windows."""
    first: dict[tuple[Scale, str | None], AttributionRecord] = {}
    for record in records:
        other = first.setdefault((record.scale, record.dataset), record)
        windows = [[(w.lr_sha256, w.corner, w.window) for w in r.windows] for r in (other, record)]
        if record.settings != other.settings or windows[0] != windows[1]:
            raise RecordError(
                f"{other.subject} and {record.subject} on {record.dataset}: attributed with other "
                "settings or windows; delete the older record and rerun"
            )
