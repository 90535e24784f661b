"""How much more memory this process can take on a device.

Linux may kill a process that allocates more than there is, instead of refusing the allocation. So
the free memory has to be known beforehand.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import psutil
import torch

_OUT_OF_MEMORY = (
    "out of memory",
    "not enough memory",
    "can't allocate memory",
    "alloc_failed",
)


class _CgroupFiles(NamedTuple):
    """Names of a cgroup's files for memory limit and usage, and of its reclaimable cache."""

    limit: str
    usage: str
    reclaimable: str  # key in memory.stat: page cache that the kernel can drop


_VERSION_2 = _CgroupFiles("memory.max", "memory.current", "inactive_file")
_VERSION_1 = _CgroupFiles("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error means that memory ran out.

    PyTorch has an exception class for this on CUDA only; elsewhere the message has to tell.
    """
    message = str(error).lower()
    by_message = isinstance(error, RuntimeError) and any(t in message for t in _OUT_OF_MEMORY)
    return by_message or isinstance(error, MemoryError | torch.OutOfMemoryError)


def free_bytes(device: torch.device) -> int:
    """Bytes that this process can still allocate on a device, never negative.

    Includes what torch's allocator has reserved and not handed out. On a CPU, cgroup limits count.
    """
    match device.type:
        case "cuda":
            reserved = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
            return int(torch.cuda.mem_get_info(device)[0] + reserved)
        case "mps":  # shares the machine's memory
            allowed = torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory()
            return max(0, min(int(allowed), int(psutil.virtual_memory().available)))
        case _:
            listing = Path("/proc/self/cgroup")
            listed = listing.read_text(encoding="utf-8") if listing.is_file() else ""
            headrooms = cgroup_headrooms(listed)
            return max(0, min([int(psutil.virtual_memory().available), *headrooms]))


def cgroup_headrooms(listing: str, mount: Path = Path("/sys/fs/cgroup")) -> Iterator[int]:
    """Bytes left below each memory limit of a process's cgroup and of the cgroups above it.

    `listing` is the content of /proc/self/cgroup. In a container its paths may be those of the
    host; the container's own cgroup is then the one at the mount point.
    """
    for line in listing.splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        # Version 2 has one hierarchy and lists no controllers; version 1 has one per controller.
        root, files = (mount / "memory", _VERSION_1) if controllers else (mount, _VERSION_2)
        own = root / path.lstrip("/")
        for folder in (own, *own.parents):
            if folder.is_relative_to(root) and (folder / files.limit).is_file():
                yield from _headroom(folder, files)


def _headroom(folder: Path, files: _CgroupFiles) -> Iterator[int]:
    """Bytes left below one cgroup's limit; nothing if it has no limit."""
    limit = (folder / files.limit).read_text(encoding="utf-8").strip()
    if limit == "max":
        return
    used = int((folder / files.usage).read_text(encoding="utf-8"))
    found = re.search(
        rf"^{files.reclaimable} (\d+)$", (folder / "memory.stat").read_text(encoding="utf-8"), re.M
    )
    yield int(limit) - used + (int(found[1]) if found else 0)
