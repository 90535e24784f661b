"""How long a step of training takes: measured on this device, known from elsewhere, or unknown.

The best of these is taken, and always told: trainings and measurements of the very work on a device
of this name, in any results folder; the table that ships, each row with its source; either for
another batch, patch or scale of the same network, which is an estimate by the pixels of a step.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Literal, NamedTuple

from hitsr.base.errors import HitsrError, SpecError
from hitsr.base.files import visible
from hitsr.base.reading import read_csv
from hitsr.plan.jobs import TrainJob, read_job
from hitsr.plan.layout import Layout
from hitsr.records.checkpoint import folder_of, newest_first, read_header
from hitsr.records.step_time import StepTimeRecord, StepWork
from hitsr.records.training import Session, TrainingRecord, read_log
from hitsr.specs.network import NetworkSpec
from hitsr.specs.run import RunSpec
from hitsr.specs.zoo import find

TABLE = Path("rates.csv")  # within the folder of reports
Basis = Literal["measured", "table", "estimate"]
_UNNAMED = "network"


class Rate(NamedTuple):
    """How long a step of some work takes on devices of one kind, and who says so."""

    work: StepWork
    device: str  # its model
    devices: int  # that share a batch
    threads: int | None  # of a CPU; None: not told
    seconds: float | None  # of the clock; None: only device time was measured
    device_seconds: float  # of all devices together
    steps: int  # that were measured
    basis: Basis
    source: str


def unnamed(network: NetworkSpec) -> NetworkSpec:
    """A network without its name: equal for equal networks."""
    return network.model_copy(update={"name": _UNNAMED})


def work_of(run: RunSpec, *, compiled: bool = False, recompute: bool = False) -> StepWork:
    """The work of a step of a run. Equal networks of other names are equal work."""
    recipe = run.recipe
    return StepWork(
        network=unnamed(run.network),
        scale=run.scale,
        batch=recipe.batch,
        parts=recipe.parts,
        patch=recipe.patch,
        precision=recipe.precision,
        deterministic=recipe.deterministic,
        compile=compiled,
        recompute=recompute,
    )


def work_of_job(job: TrainJob) -> StepWork:
    return work_of(job.run, compiled=job.compile, recompute=job.recompute)


def rate_of(work: StepWork, device: str, devices: int, rates: Iterable[Rate]) -> Rate | None:
    """The best rate for some work on devices of this model; None if nothing is known.

    Of equally good ones, that of most steps: trainings come before steps by themselves.
    """
    same = [r for r in rates if r.device == device and (r.work == work or _is_like(r.work, work))]
    exact = [r for r in same if r.work == work and r.devices == devices]
    here = [r for r in exact if r.basis == "measured"]
    if here or exact:
        return max(here or exact, key=lambda rate: rate.steps)
    nearest = min((abs(r.work.pixels - work.pixels) for r in same), default=None)
    alike = [r for r in same if abs(r.work.pixels - work.pixels) == nearest]
    best = max(alike, key=lambda rate: rate.steps, default=None)
    return _scaled(best, work, devices) if best else None


def measured_rates(results: Path) -> list[Rate]:
    """What trainings and measurements in the folders beside a results folder, and in it, tell."""
    folders = [path for path in visible(results.parent, "*") if path.is_dir()]
    return [rate for folder in folders for rate in (*_of_trainings(folder), *_of_steps(folder))]


def table_rates(reports: Path) -> list[Rate]:
    """The table that ships with hitsr; SpecError names a row that cannot be read."""
    path, found = reports / TABLE, []
    for number, row in enumerate(read_csv(path) if path.is_file() else (), 2):
        try:
            changes = json.loads(row["changes"] or "{}")
            network = find(row["network"]).patch(changes, "changes")
            work = StepWork(
                network=unnamed(network),
                scale=int(row["scale"]),
                batch=int(row["batch"]),
                patch=int(row["patch"]),
                precision=row["precision"],
            )
            seconds = float(row["device_seconds_per_step"])
            found.append(
                Rate(
                    work, row["device"], int(row["devices"]), int(row["threads"]), None, seconds,
                    int(row["steps"]), "table", row["source"],
                )
            )  # fmt: skip
        except (KeyError, ValueError) as error:
            raise SpecError(f"{path}:{number}: {error}") from None
    return found


def _of_trainings(results: Path) -> Iterator[Rate]:
    """A rate for each session of the trainings in a folder, also of those that are not done."""
    layout = Layout(results)
    for folder in visible(results / "weights", "*"):
        try:
            run, sessions, device_seconds, job_hash, recompute = _trained(folder)
        except HitsrError:  # what is wrong with a record, doctor and the report say
            continue
        if run is None or not sessions:
            continue
        taken = sum(each.last_step - each.first_step + 1 for each in sessions)
        seconds = sum(each.seconds for each in sessions)
        alike = {(each.device_name, each.devices, each.threads) for each in sessions}
        if len(alike) > 1 or not taken or not seconds:
            continue
        compiled = _is_compiled(layout, folder.name, job_hash)
        ((name, devices, threads),) = alike
        if compiled is None:
            continue
        yield Rate(
            work_of(run, compiled=compiled, recompute=recompute),
            name,
            devices,
            threads,
            seconds / taken,
            (device_seconds if device_seconds is not None else seconds * devices) / taken,
            taken,
            "measured",
            f"{taken} steps of {folder}",
        )


_Trained = tuple[RunSpec | None, Sequence[Session], float | None, str, bool]


def _trained(folder: Path) -> _Trained:
    """Run, sessions, device time, hash of the job and `recompute` of a training in a folder."""
    for path in newest_first(folder_of(folder))[:1]:
        header = read_header(path)
        position = header.position
        recompute = position.means.settings.get("recompute") == "True"
        job_hash = header.identity.job_hash
        return header.identity.run, position.sessions, position.device_seconds, job_hash, recompute
    if (folder / "record.json").is_file():
        record = TrainingRecord.load(folder / "record.json")
        recompute = record.settings.get("recompute") == "True"
        line = read_log(folder / "log.jsonl", record)[-1]
        return record.run, record.sessions, line.device_seconds, record.job_hash, recompute
    return None, (), None, "", False


def _is_compiled(layout: Layout, name: str, job_hash: str) -> bool | None:
    """Whether a training was compiled, as its job file says; None if that is of another job."""
    try:
        job = read_job(layout.job("train", name), "train")
    except HitsrError:
        return None
    assert isinstance(job, TrainJob)
    return job.compile if job.hash == job_hash else None


def _of_steps(results: Path) -> Iterator[Rate]:
    for path in visible(Layout(results).rates, "*.json"):
        try:
            record = StepTimeRecord.load(path)
        except HitsrError:
            continue
        made, count = record.provenance, len(record.samples_s)
        yield Rate(
            record.work,
            made.device_name,
            1,
            made.threads if made.device == "cpu" else None,
            median(record.samples_s),
            median(record.device_samples_s),
            count,
            "measured",
            f"steps timed by `hitsr plan --measure`, kept in {path.parent}",
        )


def _is_like(known: StepWork, work: StepWork) -> bool:
    """Whether two works differ in batch, parts, patch and scale alone."""
    sizes = {"batch", "parts", "patch", "scale"}
    return known.model_dump(exclude=sizes) == work.model_dump(exclude=sizes)


def _scaled(rate: Rate, work: StepWork, devices: int) -> Rate:
    times = work.pixels / rate.work.pixels
    known = rate.work
    shared = "" if rate.devices == devices else f" on {rate.devices} device(s)"
    source = (
        f"by the pixels of a step, from batch {known.batch} of {known.patch}x{known.patch} at "
        f"x{known.scale}{shared}: {rate.source}"
    )
    seconds = None if rate.seconds is None else rate.seconds * times * rate.devices / devices
    return rate._replace(
        work=work,
        devices=devices,
        seconds=seconds,
        device_seconds=rate.device_seconds * times,
        basis="estimate",
        source=source,
    )
