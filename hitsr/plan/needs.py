"""Find out which device, pictures and released weights a config needs, and which are missing."""

import ctypes
import math
import re
import shlex
import subprocess
import sys
from collections.abc import Iterable
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from hitsr.base.errors import HitsrError, SpecError
from hitsr.base.reading import read_csv
from hitsr.base.shipped import not_shipped
from hitsr.plan.archives import dataset_of
from hitsr.plan.jobs import Job, TrainJob, UsedDevice, device_kind
from hitsr.plan.picture_sets import has_hr_pictures
from hitsr.plan.subjects import find_weights, weight_names
from hitsr.records.provenance import cpu_name
from hitsr.specs.config import PHOTOGRAPHS, Config, Device, scaled_networks


class _Found(NamedTuple):
    """The device that torch picks by a name, or why it cannot; and the number of GPUs."""

    kind: UsedDevice
    gpus: int = 0
    reason: str = ""


def available_device(asked: Device) -> UsedDevice:
    """The device that `asked` stands for: for `auto`, what `runtime.devices.pick_device` picks.

    Loads no torch: where torch may have a GPU, another process asks it. HitsrError if that fails.
    """
    return _picked() if asked == "auto" else asked


def available_gpus() -> int:
    """How many GPUs torch finds on this machine, those of Apple aside; asked as for a device."""
    return _auto().gpus


def _picked() -> UsedDevice:
    found = _auto()
    if found.reason:
        raise HitsrError(
            f"device 'auto': torch cannot say what it stands for: {found.reason}; name one"
        )
    return found.kind


@cache
def _auto() -> _Found:
    return _ask_torch("auto") if _may_have_gpu() else _Found("cpu")


def missing_devices(names: Iterable[UsedDevice]) -> str | None:
    """A message about the devices that torch does not find on this machine; None if there are none.

    Loads no torch: another process asks it, for seconds on a GPU, so not again for what `auto` is.
    """
    known = {"cpu", *([_picked()] if _auto.cache_info().currsize else [])}
    reasons = [_ask_torch(name).reason for name in sorted({*names} - known)]
    return "\n".join(filter(None, reasons)) or None


def missing_gpus(jobs: Iterable[Job]) -> str | None:
    """A message about trainings that ask for more GPUs than torch finds here; None without any.

    Says nothing where torch finds none: `missing_devices` does.
    """
    trainings = [job for job in jobs if isinstance(job, TrainJob) and job.gpus not in (1, "auto")]
    reasons = []
    for job in trainings:
        try:
            job.processes(device_kind(job.device), available_gpus() or math.inf)
        except SpecError as error:
            reasons.append(str(error))
    return "\n".join(reasons) or None


def left_to_this_machine(config: Config) -> str | None:
    """A message about what `auto` would ask this machine, where jobs run on others; None without.

    Each of them would find devices of its own, and so other jobs than the pipeline has planned.
    """
    used = {
        "train.device": config.train.device if config.train else None,
        "train.gpus": config.train.gpus if config.train else None,
        "efficiency.latency.device": config.efficiency.latency.device,
    }
    left = [name for name, value in used.items() if value == "auto"]
    if not left:
        return None
    return (
        f"{config.name}: {', '.join(left)}: auto stands for what this machine has, but jobs run on "
        "others: name the device of their machines, cuda or cpu, and a number of gpus"
    )


def _ask_torch(name: Device) -> _Found:
    """What another process picks by this name."""
    code = "\n".join(
        [
            "import sys",
            "import torch",
            "from hitsr.base.errors import SpecError",
            "from hitsr.runtime.devices import pick_device",
            "try: print(pick_device(sys.argv[1]).type, torch.cuda.device_count())",
            "except SpecError as error: sys.exit(str(error))",
        ]
    )
    asked = subprocess.run(
        [sys.executable, "-c", code, name], capture_output=True, text=True, encoding="utf-8"
    )
    if asked.returncode:
        said = asked.stderr.strip().rpartition("\n")[2]
        reason = said or f"device {name!r}: torch ended with exit status {asked.returncode}"
        return _Found("cpu", reason=reason)
    kind, gpus = asked.stdout.split()[-2:]
    return _Found(kind, int(gpus))


def _may_have_gpu() -> bool:
    """Whether torch can find a GPU for `auto`: it is built for one, and a driver is installed."""
    torch = find_spec("torch")
    if torch is None or torch.origin is None:
        return False
    built = (Path(torch.origin).parent / "version.py").read_text(encoding="utf-8")
    if re.search(r"^hip\b.*= '", built, re.M):
        return True
    if not re.search(r"^cuda\b.*= '", built, re.M):
        return False
    try:
        ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return False
    return True


def missing_tensorboard(is_wanted: bool) -> str | None:
    """A message if curves for TensorBoard are wanted, and the extra that writes them is missing."""
    if is_wanted and find_spec("tensorboard") is None:
        return (
            "tensorboard: is not installed; `pip install tensorboard`, or train without curves for "
            "it: log.jsonl has them all"
        )
    return None


def missing_data(config: Config, sources: Path, sets: Iterable[str] = ()) -> str | None:
    """A message that lists missing pictures and where to get them; None if nothing is missing.

    `sources` is a CSV of kind, name and url. `sets` are the required sets; default: the config's.
    """
    needed = sorted(sets) or config.sets
    if config.data.source == "wheels":
        unknown = [name for name in needed if name not in PHOTOGRAPHS]
        return (
            f"{', '.join(unknown)}: not among the packaged photographs:\n"
            f"Name {' or '.join(PHOTOGRAPHS)} in the config's `data`, or set data.source to folder."
            if unknown
            else None
        )
    folders = {name: config.data.root / name for name in needed}
    missing = {
        name: folder / "HR"
        for name, folder in folders.items()
        if not has_hr_pictures(folder, config.scales)
    }
    if not missing:
        return None
    rows = [row for row in read_sources(sources) if row["kind"] == "dataset"]
    lines = [f"{len(missing)} of {len(folders)} sets of pictures are missing:"]
    for name, folder in missing.items():
        lines.append(f"  {folder}")
        lines += [f"    {row['name']}: {row['url']}" for row in rows if _offers(row, name)]
    fetched = {name: dataset for name in missing if (dataset := dataset_of(name))}
    if fetched:
        words = [f"--dataset {dataset}" for dataset in dict.fromkeys(fetched.values())]
        words += [f"--scale {scale}" for scale in config.scales]
        words.append(f"--out {shlex.quote(str(config.data.root))}")
        lines.append(f"`hitsr prepare {' '.join(words)}` fetches {', '.join(fetched)}.")
    lines.append("Or put a set's full-size pictures into its HR folder (LR is made from them), or")
    lines.append("name other sets in the config's `data`.")
    return "\n".join(lines)


def missing_weights(config: Config, sources: Path) -> str | None:
    """A message that lists missing released weights and how to get them; None if all exist."""
    if config.weights is None:
        return None
    root = config.weights.root
    released = list(scaled_networks(config, config.weights.scales).values())
    missing = [(m.network.name, m.scale) for m in released]
    missing = [cell for cell in missing if find_weights(root, *cell) is None]
    if not missing:
        return None
    lines = [f"{len(missing)} of {len(released)} released weights are missing in {root}:"]
    for network in dict.fromkeys(name for name, _ in missing):
        scales = ", ".join(f"x{scale}" for name, scale in missing if name == network)
        lines.append(f"  {network} {scales}: {_weights_source(sources, network)}")
    first, second, third = weight_names(root, *missing[0])
    lines.append(f"`hitsr fetch-weights --out {root}` fetches most of them; save others there")
    lines.append(f"as {first.name}, {second.name} or {third.parent.name}/{third.name}.")
    return "\n".join(lines)


def read_sources(path: Path) -> list[dict[str, str]]:
    """The rows of sources.csv: where data sets and weights are published.

    Raises SpecError if there is no such file.
    """
    if not path.is_file():
        raise not_shipped(path, "--reports")
    return read_csv(path)


def _weights_source(sources: Path, network: str) -> str:
    rows = [row for row in read_sources(sources) if row["kind"].startswith("weights")]
    return next(row["url"] for row in rows if row["name"] == network)


def _offers(row: dict[str, str], dataset: str) -> bool:
    """Whether a source offers the HR pictures of a set; the note of a source may list sets."""
    listed = re.search(rf"\b{re.escape(dataset)}[,:]", row["note"]) is not None
    return listed or (row["name"].startswith(dataset) and "_LR_" not in row["name"])


def model_of(device: UsedDevice) -> str:
    """Model of a device, as records name it; HitsrError if torch does not find it.

    Loads no torch: where a GPU is asked for, another process asks it.
    """
    if device_kind(device) != "cuda":
        return cpu_name()
    code = "import sys, torch; print(torch.cuda.get_device_name(sys.argv[1]))"
    asked = subprocess.run(
        [sys.executable, "-c", code, device], capture_output=True, text=True, encoding="utf-8"
    )
    if asked.returncode:
        raise HitsrError(f"device {device!r}: {asked.stderr.strip().rpartition(chr(10))[2]}")
    return asked.stdout.strip().rpartition("\n")[2]
