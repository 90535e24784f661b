"""Find out what this machine, or a config's data and weights, lack before hours are spent.

Every check says what it found, whether that will do, and how to mend it. Nothing is written or
downloaded, and torch is imported by the checks that need it: its absence is a finding.
"""

import os
import platform
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Literal, NamedTuple

from hitsr.base.errors import HitsrError
from hitsr.base.files import sha256
from hitsr.base.values import Value
from hitsr.plan.needs import available_device, missing_data, missing_weights
from hitsr.records import DatasetRecord, TrainingRecord
from hitsr.specs.config import Config, Device, runs

Status = Literal["ok", "note", "missing"]

# Not limits but what leaves room: the demo's largest job takes 0.6 GB above the resting process.
_LEAST_MEMORY_GB = 4
_LEAST_DISK_GB = 2


class Found(NamedTuple):
    status: Status
    what: str
    mend: str = ""


class Finding(Value):
    """`missing` will not work; `note` works, though not as one might think."""

    area: str  # "devices"
    status: Status
    what: str
    mend: str


Check = Callable[[], Iterator[Found]]


def examine(config: Config | None, reports: Path) -> list[Finding]:
    """All findings; those of data and weights only for a config.

    `reports` holds published/sources.csv, which says where missing sets are to be had.
    """
    checks: dict[str, Check] = {
        "versions": _versions,
        "devices": lambda: _devices(config),
        "processor": lambda: _processor(config),
        "memory": _memory,
        "disk": lambda: _disk(config),
    }
    if config:
        checks["data"] = lambda: _data(config, reports)
        checks["weights"] = lambda: _weights(config, reports)
    return [
        Finding(area=area, **found._asdict())
        for area, check in checks.items()
        for found in _guarded(check)
    ]


def fails(findings: list[Finding]) -> bool:
    return any(finding.status == "missing" for finding in findings)


def to_text(findings: list[Finding]) -> str:
    """A line per finding, and below it how to mend it."""
    lines = []
    for found in findings:
        status = "" if found.status == "ok" else found.status
        lines.append(f"{status:<8}{found.area:<10} {found.what}")
        lines += [f"{'':21}{text}" for text in found.mend.splitlines()]
    count = sum(finding.status == "missing" for finding in findings)
    return "\n".join([*lines, "", f"{count or 'nothing'} missing"])


def _guarded(check: Check) -> Iterator[Found]:
    """What a check finds; that it could not look is a finding too."""
    try:
        yield from check()
    except ImportError as error:
        mend = "install hitsr with all it depends on: `make setup`"
        yield Found("missing", f"not checked: {error}", mend)
    except (HitsrError, OSError) as error:
        yield Found("missing", str(error))


def _versions() -> Iterator[Found]:
    """Python, and each package that hitsr requires, against the versions it asks for."""
    from packaging.requirements import Requirement

    right = [f"python {platform.python_version()}", f"hitsr {version('hitsr')}"]
    for package in map(Requirement, requires("hitsr") or []):
        if package.marker and not package.marker.evaluate({"extra": ""}):
            continue
        found = _installed(package.name)
        if found and package.specifier.contains(found, prereleases=True):
            right.append(f"{package.name} {found}")
            continue
        what = f"{package.name} {found or 'is not installed'}, wanted {package.specifier or 'any'}"
        mend = f"pip install '{package}', or `make setup` for the versions of the lock file"
        yield Found("missing", what, mend)
    yield Found("ok", ", ".join(right))
    if shutil.which("git") is None:
        yield Found("note", "no git: records cannot name the commit that made them", "install git")


def _installed(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _devices(config: Config | None) -> Iterator[Found]:
    import torch

    built = f"CUDA {torch.version.cuda}" if torch.version.cuda else "CPUs alone"
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
    # The pipeline takes `auto` for a GPU wherever a driver answers.
    if "cuda" in map(available_device, asked) and not torch.cuda.is_available():
        mend = (
            "install a torch that is built for CUDA, mend the driver, or set train.device and "
            "efficiency.latency.device to cpu"
        )
        yield Found("missing" if config else "note", "a GPU is asked for, torch finds none", mend)


def _driver() -> str:
    """The NVIDIA driver's line of its version; empty where there is none."""
    try:
        line = Path("/proc/driver/nvidia/version").read_text().splitlines()[0]
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
    yield Found("ok", f"{usable} of {cores} cores usable; torch takes {threads} by itself{said}")
    if config and config.train and config.train.threads > usable:
        what = f"train.threads is {config.train.threads}: more than there are cores"
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
        text = Path("/sys/fs/cgroup/memory.max").read_text().strip()
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
            yield Found("note", what, "make room; a run that a full disk ends goes on from there")
        else:
            yield Found("ok", what)
        if not os.access(there, os.W_OK):
            status: Status = "missing" if config and folder == config.folder else "note"
            yield Found(status, f"{there}: cannot be written", "change its permissions")


def _data(config: Config, reports: Path) -> Iterator[Found]:
    """Each set of a config: its pictures, and whether those of the last run are still there."""
    if config.data.source == "wheels":
        yield from _wheels()
        return
    absent = missing_data(config, reports / "published" / "sources.csv")
    if absent:
        what, _, mend = absent.partition("\n")
        yield Found("missing", what.removesuffix(":"), mend)
    for name in config.data.sets:
        if (config.data.root / name / "HR").is_dir():
            yield from _guarded(partial(_set, config, name))


def _wheels() -> Iterator[Found]:
    from hitsr.data.sources import Split, photographs

    splits: tuple[Split, ...] = ("train", "test")
    for split in splits:
        count = len([photograph.locate() for photograph in photographs(split)])
        yield Found("ok", f"{split}: {count} photographs in installed packages, unchanged")


def _set(config: Config, name: str) -> Iterator[Found]:
    from hitsr.data.images import list_pictures

    folder = config.data.root / name
    pictures = list_pictures(folder / "HR")
    records = (config.folder / "data").glob(f"{name}-x?.json")
    before = {p.name for path in records for p in DatasetRecord.load(path).pictures}
    lost = sorted(before - set(pictures))
    if lost:
        what = f"{len(lost)} pictures fewer than in the last run: {', '.join(lost[:3])}"
        yield Found("missing", f"{folder / 'HR'}: {what}", "put them back, or rerun without them")
        return
    made = {x: len(list(folder.glob(f"LR_bicubic/X{x}/*x{x}.*"))) for x in config.scales}
    lr = (f"{count} LR at x{x}" for x, count in made.items())
    yield Found("ok", ", ".join([f"{name}: {len(pictures)} pictures", *lr]))


def _weights(config: Config, reports: Path) -> Iterator[Found]:
    """Which runs are trained, whether their weights are what was trained, and what was released."""
    absent = missing_weights(config, reports / "published" / "sources.csv")
    if absent:
        what, _, mend = absent.partition("\n")
        yield Found("missing", what.removesuffix(":"), mend)
    elif config.weights:
        yield Found("ok", f"released weights: all there in {config.weights.root}")
    finished = {
        name: run
        for name, run in runs(config).items()
        if (config.folder / "weights" / name / "record.json").is_file()
    }
    for name, run in finished.items():
        folder = config.folder / "weights" / name
        mend = f"delete {folder} and rerun `snakemake`"
        try:
            record = TrainingRecord.load(folder / "record.json", subject_hash=run.hash)
            if sha256(folder / "weights.safetensors") != record.weights_sha256:
                yield Found("missing", f"{folder}: not the weights that were trained", mend)
        except (HitsrError, OSError) as error:
            yield Found("missing", str(error), mend)
    if config.train:
        yield Found("ok", f"{len(finished)} of {len(runs(config))} runs are trained")
