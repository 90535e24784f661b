"""Read the records that jobs name: absent ones are listed, damaged or swapped ones refused."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple, TypeVar

from hitsr.base.errors import RecordError
from hitsr.plan.batches import LATENCY
from hitsr.plan.jobs import Job, TimeGrowthJob, TimeJob, TrainJob, read_job
from hitsr.plan.layout import Kind, Layout
from hitsr.plan.planning import Plan
from hitsr.plan.subjects import TrainedNetwork
from hitsr.records import (
    AttributionRecord,
    ComplexityRecord,
    DatasetRecord,
    LatencyRecord,
    LogLine,
    QualityRecord,
    Record,
    ScalingRecord,
    ScalingTimeRecord,
    TrainingRecord,
    read_log,
)

R = TypeVar("R", bound=Record)

RECORDS: dict[Kind, type[Record]] = {
    "prepare": DatasetRecord,
    "train": TrainingRecord,
    "quality": QualityRecord,
    "complexity": ComplexityRecord,
    "latency": LatencyRecord,
    "scaling": ScalingRecord,
    "scaling_time": ScalingTimeRecord,
    "lam": AttributionRecord,
}


class Result(NamedTuple):
    """A job that is done, and the record that it left."""

    job: Job
    record: Record
    log: tuple[LogLine, ...] = ()  # of a training


@dataclass(frozen=True)
class Results:
    """What the jobs of a results folder made."""

    layout: Layout
    done: tuple[Result, ...]
    missing: tuple[Job, ...]  # jobs without output

    @cached_property
    def records(self) -> list[Record]:
        """All but those of prepared pictures, which measure nothing."""
        return [result.record for result in self.done if result.job.kind != "prepare"]

    def of(self, kind: type[R]) -> list[R]:
        """Records of one class."""
        return [result.record for result in self.done if isinstance(result.record, kind)]


def gather(plan: Plan) -> Results:
    """Read the records of all jobs that the report of a config shows.

    Timings of the same networks on other devices, and what `make latency` added, are read where
    they are there. RecordError for a record that is damaged or of another job, a finished training
    without its log, or results that were not measured alike.
    """
    asked = {job.output: job for job in plan.reported}
    extra = [*plan.asked_by(LATENCY), *_timed_elsewhere(plan)]
    more = {job.output: job for job in extra if job.output not in asked}
    results = _read(plan.layout, [*asked.values(), *more.values()])
    timed = {_but_for_device(result.job) for result in results.done}
    missing = [
        job for job in results.missing if job.output in asked and _but_for_device(job) not in timed
    ]
    return Results(plan.layout, results.done, tuple(missing))


def gather_folder(folder: Path) -> Results:
    """Read the records of every job whose file lies in a results folder such as results/demo."""
    jobs = [read_job(path) for path in sorted((folder / "jobs").glob("*/[!.]*.json"))]
    return _read(Layout(folder), [_within(folder, job) for job in jobs])


def _within(folder: Path, job: Job) -> Job:
    """The job with its output in this folder: results may have been moved since."""
    return job.model_copy(update={"output": Layout(folder).output(job.kind, job.name)})


def _timed_elsewhere(plan: Plan) -> list[Job]:
    """Jobs of the plan's timings as they were done on other devices."""
    planned = {_but_for_device(job) for job in plan.jobs}
    files = [
        path
        for kind in ("latency", "scaling_time")
        for path in sorted((plan.layout.results / "jobs" / kind).glob("[!.]*.json"))
    ]
    jobs = [_within(plan.layout.results, read_job(path)) for path in files]
    return [job for job in jobs if _but_for_device(job) in planned]


def _but_for_device(job: Job) -> object:
    if isinstance(job, TimeJob | TimeGrowthJob):
        return job.model_copy(update={"device": "cpu", "name": ""}).hash
    return job.output


def _read(layout: Layout, jobs: Iterable[Job]) -> Results:
    done, missing = [], []
    for job in jobs:
        assert job.output is not None
        if not job.output.exists():
            missing.append(job)
        elif job.kind != "restore":
            done.append(_result(layout, job))
    _refuse_unlike_scores(done)
    _refuse_unlike_maps(done)
    _refuse_other_weights(done)
    return Results(layout, tuple(done), tuple(missing))


def _result(layout: Layout, job: Job) -> Result:
    assert job.output is not None
    record = RECORDS[job.kind].load(job.output, job_hash=job.hash)
    if not isinstance(job, TrainJob):
        return Result(job, record)
    log = layout.training_log(job.name)
    if not log.is_file():
        raise RecordError(
            f"{log}: no such file, but its training is done; delete {job.output} and rerun"
        )
    return Result(job, record, tuple(read_log(log)))


def _refuse_unlike_scores(done: Sequence[Result]) -> None:
    """Scores stand in one table only if they were taken alike, of the same pictures."""
    first: dict[tuple[int, str], QualityRecord] = {}
    for record in (result.record for result in done):
        if not isinstance(record, QualityRecord):
            continue
        other = first.setdefault((record.scale, record.dataset), record)
        pair = f"{other.subject} and {record.subject} on {record.dataset}"
        if record.signatures != other.signatures:
            raise RecordError(
                f"{pair}: scored as {other.signatures} and {record.signatures}, "
                "which do not compare; delete the older record and rerun"
            )
        if {p.name for p in record.pictures} != {p.name for p in other.pictures}:
            raise RecordError(f"{pair}: not the same pictures; delete both and rerun")


def _refuse_unlike_maps(done: Sequence[Result]) -> None:
    """Attribution maps compare only if they were taken alike, of the same windows."""
    first: dict[tuple[int, str | None], AttributionRecord] = {}
    for record in (result.record for result in done):
        if not isinstance(record, AttributionRecord):
            continue
        other = first.setdefault((record.scale, record.dataset), record)
        windows = [[(w.lr_sha256, w.corner, w.window) for w in r.windows] for r in (other, record)]
        if record.settings != other.settings or windows[0] != windows[1]:
            raise RecordError(
                f"{other.subject} and {record.subject} on {record.dataset}: attributed with other "
                "settings or windows; delete the older record and rerun"
            )


def _refuse_other_weights(done: Sequence[Result]) -> None:
    """Attribution maps must be of the weights that the run's training record describes."""
    trained = {
        result.job.name: result.record.weights_sha256
        for result in done
        if isinstance(result.record, TrainingRecord)
    }
    for job, record, _ in done:
        run = getattr(job, "subject", None)
        if not isinstance(record, AttributionRecord) or not isinstance(run, TrainedNetwork):
            continue
        if record.weights_sha256 != trained.get(run.name, record.weights_sha256):
            raise RecordError(
                f"{job.output}: maps of other weights than {run.name} was trained to; "
                "delete it and rerun"
            )
