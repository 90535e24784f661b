"""Collect the provenance of a record: code, machine, versions, command. Loads no heavy package."""

import json
import os
import platform
import shlex
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from hitsr.base.errors import printable
from hitsr.base.shipped import SHIPPED
from hitsr.records import Provenance

# Packages that numbers depend on; the lock file lists all others.
PACKAGES = ("hitsr", "torch", "numpy", "scipy", "pillow", "fvcore")


def provenance(device: str, seconds: float, seed: int | None = None) -> Provenance:
    """Provenance from this process, for work that took `seconds` on `device` ("cpu", "cuda:0")."""
    commit, dirty = _checkout()
    return Provenance(
        commit=commit,
        dirty=dirty,
        versions=versions(),
        device=device,
        device_name=_device_name(device),
        device_uuid=_device_uuid(device),
        threads=_threads(),
        command=_command(sys.argv),
        seed=seed,
        seconds=seconds,
    )


def _checkout() -> tuple[str | None, bool | None]:
    """Commit of this package, and whether its code differs from it.

    A wheel holds what was so when it was made (hatch_build.py); a checkout asks git. (None, None)
    for a wheel that was made without git, without git, and for an installed copy that lies in the
    checkout of another project.
    """
    made = SHIPPED / "commit.json"
    if made.is_file():
        of_wheel = json.loads(made.read_text(encoding="utf-8"))
        return of_wheel["commit"], of_wheel["dirty"]
    folder = Path(__file__).parents[1]
    if _git(folder, "ls-files", "--error-unmatch", __file__) is None:
        return None, None
    changes = _git(folder, "status", "--porcelain", "--", ".")
    return _git(folder, "rev-parse", "HEAD"), None if changes is None else bool(changes)


def _git(folder: Path, *arguments: str) -> str | None:
    command = ["git", "--no-optional-locks", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(
            command, capture_output=True, encoding="utf-8", errors="replace", timeout=30, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def versions() -> dict[str, str]:
    """Of PACKAGES that are installed, and of Python."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:  # a page can be rebuilt without torch
            continue
    return found | {"python": platform.python_version()}


def _device_name(device: str) -> str:
    """Model of the GPU or CPU, such as "NVIDIA A100-SXM4-40GB"."""
    if device.startswith("cuda"):
        import torch

        return torch.cuda.get_device_name(device)
    return cpu_name()


def _device_uuid(device: str) -> str | None:
    """What tells a GPU from others of its model; None for other devices."""
    if not device.startswith("cuda"):
        return None
    import torch

    return str(torch.cuda.get_device_properties(device).uuid)


def cpu_name() -> str:
    """Model of the processor, such as "AMD EPYC 9B14"."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "") or _apple_name() or platform.processor() or platform.machine()


def _apple_name() -> str:
    """Name of an Apple chip, such as "Apple M2"; empty on other systems."""
    if platform.system() != "Darwin":
        return ""
    command = ["sysctl", "-n", "machdep.cpu.brand_string"]
    return subprocess.run(
        command, capture_output=True, encoding="utf-8", errors="replace", timeout=30
    ).stdout.strip()


def _threads() -> int:
    """Threads that torch uses; 1 if this process has not loaded torch."""
    if "torch" not in sys.modules:
        return 1
    import torch

    return torch.get_num_threads()


def _command(argv: list[str]) -> str:
    """The command line, in which absolute paths are reduced to their last part."""
    shown = [Path(part).name if os.path.isabs(part) else part for part in argv]
    return shlex.join([Path(argv[0]).name, *map(printable, shown[1:])])
