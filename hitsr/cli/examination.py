"""Check the machine, and the data and weights of a config, before long work starts.

A check yields findings: what it found, whether that is enough, and how to fix it. Nothing is
written or downloaded. Only checks that need torch import it, so that missing torch is a finding.
"""

import os
import platform
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from hitsr.base.errors import HitsrError, SpecError
from hitsr.base.files import sha256
from hitsr.base.values import Value
from hitsr.plan.jobs import PrepareJob, TrainJob
from hitsr.plan.needs import missing_data, missing_tensorboard, missing_weights
from hitsr.plan.picture_sets import has_hr_pictures
from hitsr.plan.planning import Plan
from hitsr.plan.subjects import find_weights
from hitsr.records import DatasetRecord, TrainingRecord, read_log
from hitsr.specs.config import Config, Device, Weights, recipe_words, runs, scaled_networks
from hitsr.specs.steps import Precision

if TYPE_CHECKING:
    import torch

Status = Literal["ok", "note", "missing"]

# Below these amounts a note is shown: the demo's largest job takes 0.6 GB above rest.
_LEAST_MEMORY_GB = 4
_LEAST_DISK_GB = 2


class Found(NamedTuple):
    status: Status
    what: str
    fix: str = ""


class Finding(Value):
    """`missing`: runs will fail; `note`: runs will work, but the user should know of this."""

    area: str  # "devices"
    status: Status
    what: str
    fix: str


Check = Callable[[], Iterator[Found]]


def examine(plan: Plan | None, reports: Path) -> list[Finding]:
    """All findings; data and weights are checked only if there is the plan of a config.

    `reports` holds published/sources.csv, which lists where to get missing sets.
    """
    config = plan.config if plan else None
    checks: dict[str, Check] = {
        "versions": lambda: _versions(config),
        "devices": lambda: _devices(config),
        "processor": lambda: _processor(config),
        "memory": _memory,
        "disk": lambda: _disk(config),
    }
    if plan:
        checks["recipe"] = lambda: (Found("ok", line) for line in recipe_words(plan.config))
        checks["data"] = lambda: _data(plan, reports)
        checks["weights"] = lambda: _weights(plan, reports)
        checks["results"] = lambda: _results(plan)
    return [
        Finding(area=area, **found._asdict())
        for area, check in checks.items()
        for found in _guarded(check)
    ]


def fails(findings: list[Finding]) -> bool:
    return any(finding.status == "missing" for finding in findings)


def to_text(findings: list[Finding]) -> str:
    """A line per finding, each followed by how to fix it."""
    lines = []
    for found in findings:
        status = "" if found.status == "ok" else found.status
        lines.append(f"{status:<8}{found.area:<10} {found.what}")
        lines += [f"{'':21}{text}" for text in found.fix.splitlines()]
    count = sum(finding.status == "missing" for finding in findings)
    return "\n".join([*lines, "", f"{count or 'nothing'} missing"])


def _guarded(check: Check) -> Iterator[Found]:
    """The findings of a check; a check that fails with an error yields that as a finding."""
    try:
        yield from check()
    except ImportError as error:
        fix = "install hitsr with its dependencies: `make setup`"
        yield Found("missing", f"not checked: {error}", fix)
    except (HitsrError, OSError) as error:
        yield Found("missing", str(error))


def _versions(config: Config | None) -> Iterator[Found]:
    """Compare installed packages with the versions that hitsr requires."""
    from packaging.requirements import Requirement

    right = [f"python {platform.python_version()}", f"hitsr {version('hitsr')}"]
    for package in map(Requirement, requires("hitsr") or []):
        if package.marker and not package.marker.evaluate({"extra": ""}):
            continue
        found = _installed(package.name)
        if found and package.specifier.contains(found, prereleases=True):
            right.append(f"{package.name} {found}")
            continue
        needed = package.specifier or "any version"
        what = f"{package.name} {found or 'is not installed'}; hitsr needs {needed}"
        fix = f"pip install '{package}', or `make setup` for the versions of the lock file"
        yield Found("missing", what, fix)
    yield Found("ok", ", ".join(right))
    train = config.train if config else None
    if absent := missing_tensorboard(train is not None and train.tensorboard):
        what, _, fix = absent.partition("; ")
        yield Found("missing", what, fix)
    if shutil.which("git") is None:
        yield Found("note", "no git: records will not name the commit of the code", "install git")


def _installed(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _devices(config: Config | None) -> Iterator[Found]:
    import torch

    from hitsr.runtime.devices import pick_device

    built = f"CUDA {torch.version.cuda}" if torch.version.cuda else "CPUs only"
    driver = _driver() or "absent"
    yield Found("ok", f"torch {torch.__version__}, built for {built}; NVIDIA driver {driver}")
    for index in range(torch.cuda.device_count()):
        gpu = torch.cuda.get_device_properties(index)
        memory = f"{gpu.total_memory / 1e9:.0f} GB, capability {gpu.major}.{gpu.minor}"
        yield Found("ok", f"cuda:{index} {gpu.name}, {memory}")
    asked: set[Device] = {"auto"}
    if config:
        asked = {config.efficiency.latency.device}
        asked |= {config.train.device} if config.train else set()
    for name in sorted(asked):
        try:
            used = pick_device(name)
        except SpecError as error:
            fix = (
                "install torch for CUDA, repair the driver, or set train.device and "
                "efficiency.latency.device to cpu"
            )
            yield Found("missing", str(error), fix)
            continue
        if config:
            yield from _absent_kernels(config, name, used)
        if name == "auto" and used.type == "cpu" and _driver():
            what = "a driver is installed, but torch finds no GPU: auto stands for the CPU"
            yield Found("note", what, "install torch for CUDA, or repair the driver")


def _absent_kernels(config: Config, name: Device, used: "torch.device") -> Iterator[Found]:
    """What the config asks of the device of this name, and only NVIDIA GPUs have."""
    from hitsr.runtime.precision import check_precision

    train, latency = config.train, config.efficiency.latency
    precisions: set[Precision] = set(latency.precisions if latency.device == name else ())
    if train and train.device == name:
        precisions |= {run.recipe.precision for run in runs(config).values()}
    for precision in sorted(precisions):
        try:
            check_precision(precision, used)
        except SpecError as error:
            fix = "change train.recipe.precision or efficiency.latency.precisions"
            yield Found("missing", str(error), fix)
    if latency.device == name and "graph" in latency.launches and used.type != "cuda":
        what = f"launch graph: {used} has no CUDA graphs, NVIDIA GPUs have"
        yield Found("missing", what, "change efficiency.latency.launches")


def _driver() -> str:
    """The version line of the NVIDIA driver; empty without a driver."""
    try:
        line = Path("/proc/driver/nvidia/version").read_text(encoding="utf-8").splitlines()[0]
    except (OSError, IndexError):
        return ""
    return " ".join(line.partition(":")[2].split())


def _processor(config: Config | None) -> Iterator[Found]:
    import torch

    cores = os.cpu_count() or 1
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else cores
    limit = os.environ.get("OMP_NUM_THREADS")
    said = f" (OMP_NUM_THREADS={limit})" if limit else ""
    threads = torch.get_num_threads()
    yield Found("ok", f"{usable} of {cores} cores usable; torch uses {threads} by default{said}")
    if config and config.train and config.train.threads > usable:
        what = f"train.threads is {config.train.threads}: more than the usable cores"
        yield Found("note", what, f"set train.threads to {usable} or less")


def _memory() -> Iterator[Found]:
    import psutil

    memory = psutil.virtual_memory()
    limit = _container_limit() or memory.total
    free = min(memory.available, limit)
    what = f"{free / 1e9:.1f} of {min(memory.total, limit) / 1e9:.1f} GB available"
    if free < _LEAST_MEMORY_GB * 1e9:
        yield Found("note", what, "close other programs, or train with fewer and smaller patches")
    else:
        yield Found("ok", what)


def _container_limit() -> int | None:
    try:
        text = Path("/sys/fs/cgroup/memory.max").read_text(encoding="utf-8").strip()
    except OSError:
        return None
    return int(text) if text.isdecimal() else None


def _disk(config: Config | None) -> Iterator[Found]:
    for folder in (config.folder, config.data.root) if config else (Path("results"),):
        there = folder.absolute()
        while not there.exists():
            there = there.parent
        free_gb = shutil.disk_usage(there).free / 1e9
        what = f"{free_gb:.1f} GB free for {folder}"
        if free_gb < _LEAST_DISK_GB:
            yield Found(
                "note", what, "free some space; a run that stops on a full disk can be resumed"
            )
        else:
            yield Found("ok", what)
        if not os.access(there, os.W_OK):
            status: Status = "missing" if config and folder == config.folder else "note"
            yield Found(status, f"{there}: not writable", "change its permissions")


def _data(plan: Plan, reports: Path) -> Iterator[Found]:
    """Check each set of a config: its pictures, and those that an earlier run used."""
    config = plan.config
    absent = missing_data(config, reports / "published" / "sources.csv")
    if absent:
        what, _, fix = absent.partition("\n")
        yield Found("missing", what.removesuffix(":"), fix)
    if config.data.source == "wheels":
        yield from _wheels()
        return
    for name in config.sets:
        if has_hr_pictures(config.data.root / name, config.scales):
            yield from _guarded(partial(_set, plan, name))


def _wheels() -> Iterator[Found]:
    from hitsr.data.photographs import Split, photographs

    splits: tuple[Split, ...] = ("train", "test")
    for split in splits:
        count = len([photograph.locate() for photograph in photographs(split)])
        yield Found("ok", f"{split}: {count} photographs in installed packages, all unchanged")


def _set(plan: Plan, name: str) -> Iterator[Found]:
    from hitsr.data.sources import find_pictures

    folder = plan.config.data.root / name
    prepared = [job for job in plan.jobs if isinstance(job, PrepareJob) and job.dataset == name]
    scales = sorted({job.scale for job in prepared}) or [min(plan.config.scales)]
    found = {scale: find_pictures(folder, scale) for scale in scales}
    pictures, _ = found[scales[0]]
    records = [job.output for job in prepared if job.output and job.output.is_file()]
    before = {p.name for path in records for p in DatasetRecord.load(path).pictures}
    lost = sorted(before - set(pictures))
    if lost:
        what = f"{len(lost)} pictures of the last run are missing: {', '.join(lost[:3])}"
        place = next(iter(pictures.values())).parent
        yield Found("missing", f"{place}: {what}", "restore them, or rerun without them")
        return
    lr = (f"{len(lr.files)} LR at x{scale}" for scale, (_, lr) in found.items())
    yield Found("ok", ", ".join([f"{name}: {len(pictures)} pictures", *lr]))


def _released(config: Config, weights: Weights) -> Iterator[Found]:
    """Released weights that do not load."""
    from hitsr.models.checkpoints import check_weights

    for subject in scaled_networks(config, weights.scales).values():
        path = find_weights(weights.root, subject.network.name, subject.scale)
        try:
            if path:
                check_weights(subject, path)
        except HitsrError as error:
            yield Found("missing", str(error), f"delete {path}, and fetch or save it again")


def _weights(plan: Plan, reports: Path) -> Iterator[Found]:
    """Check released weights, and the weights of finished training runs."""
    config = plan.config
    absent = missing_weights(config, reports / "published" / "sources.csv")
    if absent:
        what, _, fix = absent.partition("\n")
        yield Found("missing", what.removesuffix(":"), fix)
    elif config.weights:
        yield Found("ok", f"released weights: all present in {config.weights.root}")
    if config.weights:
        yield from _released(config, config.weights)
    jobs = [job for job in plan.reported if isinstance(job, TrainJob)]
    finished = [(job, job.output) for job in jobs if job.output and job.output.is_file()]
    for job, path in finished:
        weights = plan.layout.weights(job.name)
        fix = f"delete {path.parent} and rerun `snakemake`"
        try:
            record = TrainingRecord.load(path, job_hash=job.hash)
            if sha256(weights) != record.weights_sha256:
                yield Found("missing", f"{weights}: not the weights that the run trained", fix)
            if record.log_sha256:
                read_log(plan.layout.training_log(job.name), record)
        except (HitsrError, OSError) as error:
            yield Found("missing", str(error), fix)
    if jobs:
        yield Found("ok", f"{len(finished)} of {len(jobs)} runs are trained")


def _results(plan: Plan) -> Iterator[Found]:
    """Check the records that an earlier run left; `_weights` checks those of trainings."""
    if not plan.layout.results.is_dir():
        return
    from hitsr.report.gather import gather

    results = gather(plan)
    for job in results.missing:
        # A job that has changed since is done anew, whatever its record says.
        file = plan.layout.job(job.kind, job.name)
        is_current = file.is_file() and file.read_text(encoding="utf-8") == job.to_json()
        if job.output in results.reasons and job.kind != "train" and is_current:
            yield Found("missing", results.why(job))
    for stray in results.strays:
        yield Found("note", stray)
    yield Found("ok", f"{len(results.done)} records of an earlier run can be used")
