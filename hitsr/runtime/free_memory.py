"""How much memory this process can still take on a device.

Linux kills a process that takes more than there is, rather than refuse it: so ask first.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import psutil
import torch

_REFUSALS = ("out of memory", "not enough memory", "can't allocate memory", "alloc_failed")


class _Files(NamedTuple):
    """Where a control group says what it may take, takes, and takes for files it can let go."""

    limit: str
    usage: str
    inactive: str  # a line of memory.stat


_VERSION_2 = _Files("memory.max", "memory.current", "inactive_file")
_VERSION_1 = _Files("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out: PyTorch has a class for it on CUDA alone."""
    told = str(error).lower()
    refused = isinstance(error, RuntimeError) and any(text in told for text in _REFUSALS)
    return refused or isinstance(error, MemoryError)


def free_bytes(device: torch.device) -> int:
    """What this process can still take on a device, with what torch keeps there for reuse."""
    match device.type:
        case "cuda":
            kept: int = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
            free: int = torch.cuda.mem_get_info(device)[0]
            return free + kept
        case "mps":  # shares the machine's memory
            allowed = torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory()
            return max(0, min(int(allowed), int(psutil.virtual_memory().available)))
        case _:
            groups = Path("/proc/self/cgroup")
            rooms = [*rooms_of(groups.read_text())] if groups.is_file() else []
            return max(0, min([int(psutil.virtual_memory().available), *rooms]))


def rooms_of(groups: str, mount: Path = Path("/sys/fs/cgroup")) -> Iterator[int]:
    """Bytes left in the control groups of a process that limit memory: its own and those above.

    `groups` is what Linux says in /proc/self/cgroup. In a container it may name a path of the
    host; then the container's own group is what lies at the mount.
    """
    for line in groups.splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        root, files = (mount / "memory", _VERSION_1) if controllers else (mount, _VERSION_2)
        own = root / path.lstrip("/")
        for folder in (own, *own.parents):
            if folder.is_relative_to(root) and (folder / files.limit).is_file():
                yield from _room(folder, files)


def _room(folder: Path, files: _Files) -> Iterator[int]:
    limit = (folder / files.limit).read_text().strip()
    if limit == "max":
        return
    used = int((folder / files.usage).read_text())
    found = re.search(rf"^{files.inactive} (\d+)$", (folder / "memory.stat").read_text(), re.M)
    yield int(limit) - used + (int(found[1]) if found else 0)
