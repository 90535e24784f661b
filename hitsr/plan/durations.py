"""How long the jobs of a plan will take: from records that lie in results folders, else unknown.

A training's time is that of its steps (`plan.rates`). That of another job is told by the record of
the very job, or else by those of jobs of its kind, on a device of the same model.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import prod
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from hitsr.base.files import visible
from hitsr.plan.jobs import (
    BaseJob,
    CountJob,
    GrowthJob,
    Job,
    MapJob,
    PrepareJob,
    QualityJob,
    RestoreJob,
    TimeGrowthJob,
    TimeJob,
    TrainJob,
)
from hitsr.plan.layout import Layout, file_name
from hitsr.plan.rates import Basis, Rate, rate_of, work_of_job

Sizes = Mapping[str, Sequence[tuple[int, int]]]  # by set: width, height of its HR pictures


class Machine(NamedTuple):
    """What a plan is made for."""

    cpu: str  # model
    device: str  # model of what trains: the CPU's or a GPU's
    is_gpu: bool
    cores: int
    gpus: int


class Duration(NamedTuple):
    """How long a job will take, and who says so."""

    seconds: float  # of the clock
    device_seconds: float  # of all its devices together
    basis: Basis
    source: str


class Took(NamedTuple):
    """How long a recorded job took."""

    job_hash: str
    alike: tuple[Any, ...]  # equal for jobs whose times are as their amounts
    amount: float  # such as pixels
    device: str  # model
    seconds: float
    file: Path


def duration_of(
    job: Job,
    steps_done: int,
    machine: Machine,
    threads: int,
    rates: Iterable[Rate],
    took: Sequence[Took],
    sizes: Sizes,
) -> Duration | None:
    """How long a job will take on a machine, a training from its step `steps_done`; None: unknown.

    `threads` are those of one training on a CPU.
    """
    if isinstance(job, TrainJob):
        return _of_training(job, steps_done, machine, threads, rates)
    device = machine.device if getattr(job, "device", "cpu") != "cpu" else machine.cpu
    here = [each for each in took if each.device == device]
    for each in here:
        if each.job_hash == job.hash:
            return Duration(each.seconds, each.seconds, "measured", str(each.file))
    alike, amount = _shape(job), _amount(job, sizes)
    known = [each for each in here if each.alike == alike and each.amount]
    if alike is None or amount is None or not known:
        return None
    seconds = median(each.seconds / each.amount for each in known) * amount
    count = len(known)
    source = f"as {count} other{'s' * (count > 1)} of this kind and size, such as {known[0].file}"
    return Duration(seconds, seconds, "estimate", source)


def processes_of(job: TrainJob, machine: Machine) -> int:
    """How many devices share each batch of a training on a machine."""
    return job.processes("cuda" if machine.is_gpu else "cpu", machine.gpus or float("inf"))


def recorded_times(results: Path) -> list[Took]:
    """What the records in a results folder, and in those beside it, say of the time of jobs."""
    folders = [path for path in visible(results.parent, "*") if path.is_dir()]
    return [each for folder in folders for each in _times_in(folder)]


def _of_training(
    job: TrainJob, steps_done: int, machine: Machine, threads: int, rates: Iterable[Rate]
) -> Duration | None:
    devices = processes_of(job, machine)
    rate = rate_of(work_of_job(job), machine.device, devices, rates)
    if rate is None:
        return None
    steps = job.run.recipe.steps - steps_done
    seconds = rate.seconds
    if seconds is None or (not machine.is_gpu and rate.threads != threads):
        seconds = rate.device_seconds / (devices if machine.is_gpu else max(threads, devices))
    return Duration(steps * seconds, steps * rate.device_seconds, rate.basis, rate.source)


def _times_in(results: Path) -> Iterator[Took]:
    """Times of a folder's records; they are not checked, since the report does that."""
    patterns = ("records/*/*.json", "lam/*/record.json", "pictures/*/record.json")
    for file in (path for pattern in patterns for path in visible(results, pattern)):
        try:
            record = json.loads(file.read_bytes())
            made = record["provenance"]
            shape = _recorded_shape(record)
            amount = _recorded_amount(record, results)
            yield Took(
                record["job_hash"], shape, amount, made["device_name"], made["seconds"], file
            )
        except (OSError, ValueError, KeyError, TypeError):
            continue


def _shape(job: BaseJob) -> tuple[Any, ...] | None:
    """What `Took.alike` of jobs like this one is; None for a kind that leaves no times."""
    match job:
        case PrepareJob():
            return ("dataset",)
        case RestoreJob():
            return ("restored", job.subject.name)
        case QualityJob():
            return ("quality", len(job.metrics))
        case MapJob():
            return ("attribution", job.subject.network_name, job.subject.scale, job.refine)
        case CountJob():
            return ("complexity", job.subject.network_name, *job.output_size)
        case TimeJob():
            return ("latency", job.subject.network_name, *job.output_size, job.samples)
        case GrowthJob():
            return ("scaling", job.subject.network_name, job.over)
        case TimeGrowthJob():
            return ("scaling_time", job.subject.network_name)
        case _:
            return None


def _recorded_shape(record: Mapping[str, Any]) -> tuple[Any, ...]:
    """As `_shape`, of a job's record."""
    kind = record["schema"].partition("/")[0]
    match kind:
        case "quality":
            others = {name for each in record["pictures"] for name in each.get("others", ())}
            return (kind, len(others | {*record.get("unavailable", ())}))
        case "restored":
            return (kind, record["subject"])
        case "attribution":
            is_refined = any(each["refined"] for each in record["windows"])
            return (kind, record["network"], record["scale"], is_refined)
        case "complexity":
            return (kind, record["network"], *record["output_size"])
        case "latency":
            return (kind, record["network"], *record["output_size"], len(record["samples_ms"]))
        case "scaling":
            return (kind, record["network"], record["over"])
        case "scaling_time":
            return (kind, record["network"])
        case _:
            return (kind,)


def _amount(job: BaseJob, sizes: Sizes) -> float | None:
    """How much a job has to do, in units of its kind; None if its pictures are not known."""
    dataset = getattr(job, "dataset", None)
    pictures = sizes.get(dataset) if dataset else None
    match job:
        case PrepareJob() | RestoreJob() | QualityJob():
            return sum(map(prod, pictures)) if pictures else None
        case MapJob():
            if pictures is None:
                return None
            sides = ((min(job.crop or side, side) for side in size) for size in pictures)
            return job.steps * sum(map(prod, sides)) / job.subject.scale**2
        case _:
            return 1


def _recorded_amount(record: Mapping[str, Any], results: Path) -> float:
    kind = record["schema"].partition("/")[0]
    match kind:
        case "dataset":
            return float(sum(prod(each["hr_size"]) for each in record["pictures"]))
        case "quality" | "restored":
            name = file_name(f"{record['dataset']}-x{record['scale']}")
            prepared = json.loads(Layout(results).output("prepare", name).read_bytes())
            return float(sum(prod(each["hr_size"]) for each in prepared["pictures"]))
        case "attribution":
            pixels = sum(prod(each["lr_size"]) for each in record["windows"])
            return float(pixels * record["settings"]["steps"])
        case _:
            return 1
