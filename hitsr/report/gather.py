"""Read the records that jobs name; say why absent, damaged and swapped ones are not used."""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import NamedTuple, TypeVar

from hitsr.base.errors import RecordError, SpecError
from hitsr.base.files import sha256, visible
from hitsr.plan.batches import LATENCY
from hitsr.plan.failures import failures
from hitsr.plan.jobs import Job, TimeGrowthJob, TimeJob, TrainJob, device_kind, read_job
from hitsr.plan.layout import Kind, Layout
from hitsr.plan.planning import Plan
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
from hitsr.report.doubts import (
    contradiction,
    of_other_weights,
    outliers,
    replaced_files,
    unlike_set,
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
    missing: tuple[Job, ...]  # jobs without a result that can be used
    # By the output of a missing job: why it has none, as a sentence; only where that is known.
    reasons: Mapping[Path, str] = field(default_factory=dict)
    strays: tuple[str, ...] = ()  # files that belong to no job of the folder, as sentences
    failed: Mapping[Path, str] = field(default_factory=dict)  # as `reasons`, of jobs that failed

    @property
    def problems(self) -> list[str]:
        """All that is wrong with files of the folder, as sentences."""
        return [*self.reasons.values(), *self.strays]

    @property
    def told(self) -> list[str]:
        """What is said where a page is made: jobs that failed, and problems with files."""
        return [*self.failed.values(), *self.problems]

    def why(self, job: Job) -> str:
        """Why a missing job has no result: its own reason, else that of a job it waits for."""
        assert job.output is not None
        if known := self.reasons.get(job.output) or self.failed.get(job.output):
            return known
        needed = (self._makers.get(path) for path in job.inputs.values())
        return next((words for other in needed if other and (words := self.why(other))), "")

    @cached_property
    def _makers(self) -> dict[Path | None, Job]:
        """Missing jobs by the files that other jobs read: their outputs, and weights of runs."""
        trainings = (job for job in self.missing if job.kind == "train")
        weights = {self.layout.weights(job.name): job for job in trainings}
        return {job.output: job for job in self.missing} | weights

    @cached_property
    def records(self) -> list[Record]:
        """All but those of prepared pictures, which measure nothing."""
        return [result.record for result in self.done if result.job.kind != "prepare"]

    def of(self, kind: type[R]) -> list[R]:
        """Records of one class."""
        return [result.record for result in self.done if isinstance(result.record, kind)]


def gather(plan: Plan) -> Results:
    """Read the records of all jobs that the report of a config shows.

    Timings of the same networks on other kinds of device, and what `make latency` added, are read
    where they are there. A record that is damaged, of another job, or at odds with what lies beside
    it counts as missing, with the reason.
    """
    there, strays = _job_files(plan.layout)
    asked = {job.output: job for job in plan.reported}
    planned = {
        _but_for_device(job): device_kind(job.device)
        for job in plan.jobs
        if isinstance(job, TimeJob | TimeGrowthJob)
    }
    elsewhere = [
        job
        for job in there
        if isinstance(job, TimeJob | TimeGrowthJob)
        and planned.get(_but_for_device(job)) not in (None, device_kind(job.device))
    ]
    extra = [*plan.asked_by(LATENCY), *elsewhere]
    more = {job.output: job for job in extra if job.output not in asked}
    results = _read(plan.layout, [*asked.values(), *more.values()])
    strays += _without_job(plan.layout, [*plan.jobs, *there])
    timed = {_but_for_device(result.job) for result in results.done}
    missing = [
        job
        for job in results.missing
        if job.output in results.reasons
        or (job.output in asked and _but_for_device(job) not in timed)
    ]
    failed = failures(plan, [job for job in missing if job.output not in results.reasons])
    return replace(
        results,
        missing=tuple(missing),
        strays=tuple(strays),
        failed={output: failure.words for output, failure in failed.items()},
    )


def gather_folder(folder: Path, digest: Callable[[Path], str] = sha256) -> Results:
    """Read the records of every job whose file lies in a results folder such as results/demo.

    `digest` tells the SHA-256 of a file, for those that were hashed already.
    """
    layout = Layout(folder)
    jobs, strays = _job_files(layout)
    return replace(_read(layout, jobs, digest), strays=(*strays, *_without_job(layout, jobs)))


def _job_files(layout: Layout) -> tuple[list[Job], list[str]]:
    """The jobs of a folder, with their outputs in it, since it may have been moved; and strays."""
    jobs, strays = [], []
    for path in visible(layout.results / "jobs", "*/*"):
        try:
            job = read_job(path)
        except SpecError as error:
            strays.append(str(error))
            continue
        place = layout.job(job.kind, job.name)
        if path == place:
            jobs.append(job.model_copy(update={"output": layout.output(job.kind, job.name)}))
        else:
            strays.append(f"{path}: is a copy of the job whose file is {place}; delete it")
    return jobs, strays


def _without_job(layout: Layout, jobs: Iterable[Job]) -> list[str]:
    """Records that no job made, as sentences."""
    known = {job.output for job in jobs}
    patterns = ("records/*/*", "weights/*/record.json", "lam/*/record.json")
    found = (path for pattern in patterns for path in visible(layout.results, pattern))
    return [
        f"{path}: belongs to no job of this folder, and is not used; delete it"
        for path in found
        if path not in known
    ]


def _but_for_device(job: Job) -> object:
    if isinstance(job, TimeJob | TimeGrowthJob):
        return job.model_copy(update={"device": "cpu", "name": ""}).hash
    return job.output


def _read(layout: Layout, jobs: Iterable[Job], digest: Callable[[Path], str] = sha256) -> Results:
    found, missing = list[Result](), list[Job]()
    reasons: dict[Path, str] = {}
    for job in jobs:
        assert job.output is not None
        if _is_absent(job.output):
            missing.append(job)
        elif job.kind != "restore":
            try:
                found.append(_result(layout, job))
            except RecordError as error:
                missing.append(job)
                reasons[job.output] = str(error)
    done = []
    doubts = _doubts(layout, found, digest)
    for result in found:
        output = result.job.output
        assert output is not None
        if output in doubts:
            missing.append(result.job)
            reasons[output] = f"{output}: {doubts[output]}"
        else:
            done.append(result)
    return Results(layout, tuple(done), tuple(missing), reasons)


def _is_absent(path: Path) -> bool:
    """Whether nothing is there: neither a link to nothing, nor what cannot be looked at."""
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False


def _result(layout: Layout, job: Job) -> Result:
    assert job.output is not None
    record = RECORDS[job.kind].load(job.output, job_hash=job.hash)
    if not isinstance(job, TrainJob):
        return Result(job, record)
    assert isinstance(record, TrainingRecord)
    return Result(job, record, tuple(read_log(layout.training_log(job.name), record)))


def _doubts(
    layout: Layout, found: Sequence[Result], digest: Callable[[Path], str]
) -> dict[Path | None, str]:
    """By output: why a record is not used, although it can be read."""
    sets = {
        (record.subject, record.scale): record
        for _, record, _ in found
        if isinstance(record, DatasetRecord)
    }
    changed = {job.output: replaced_files(layout, job, record, digest) for job, record, _ in found}
    trained = {
        job.name: None if changed[job.output] else record.weights_sha256
        for job, record, _ in found
        if isinstance(record, TrainingRecord)
    }
    doubts: dict[Path | None, str] = {}
    for job, record, _ in found:
        reasons = (
            contradiction(job, record),
            changed[job.output],
            unlike_set(record, sets),
            of_other_weights(job, record, trained),
        )
        if why := next(filter(None, reasons), ""):
            doubts[job.output] = why
    sound = ((job, record) for job, record, _ in found if job.output not in doubts)
    return doubts | {job.output: why for job, why in outliers(sound)}
