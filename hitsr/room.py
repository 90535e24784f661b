"""How much memory is at hand, and how large a picture a network can take at a time in it.

Linux kills a process that takes more than there is, rather than refuse it: so ask first.
"""

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import psutil
import torch
from torch import nn

from hitsr.measure.memory import watching
from hitsr.models.backbone import SuperResolver
from hitsr.spec import NetworkSpec
from hitsr.tiling import Forward, smallest

# Fixed, so that wherever twice as much is free, tiles and with them the pictures are the same.
CEILING_BYTES = 3 * 10**9
# What does not grow with the picture: strips of blocks, biases of large windows, kernels' own.
_FIXED_BYTES = 25 * 10**7
_PROBED_SIDE = 256  # LR pixels
_REFUSALS = ("out of memory", "not enough memory", "can't allocate memory", "alloc_failed")


class _Files(NamedTuple):
    """Where a control group says what it may take, takes, and takes for files it can let go."""

    limit: str
    usage: str
    inactive: str  # a line of memory.stat


_VERSION_2 = _Files("memory.max", "memory.current", "inactive_file")
_VERSION_1 = _Files("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")


def side_at_hand(
    model: nn.Module, forward: Forward, size: tuple[int, int], device: torch.device
) -> int | None:
    """The side of tiles that memory allows, in LR pixels; None if all of `size` fits.

    Half of what is free is used, and at most 3 GB. The network's smallest tile is worth a try
    whatever the estimate. What other networks than ours and the paper formulation need is measured
    on 256x256 pixels, where a picture has more than four times as many.
    """
    known = model if isinstance(model, SuperResolver) and model.formulation == "fused" else None
    if known is None and math.prod(size) <= 4 * _PROBED_SIDE**2:
        return None
    per_pixel = estimated_bytes(known.network) if known else probed_bytes(forward, device)
    budget = min(CEILING_BYTES, free_bytes(device) // 2)
    pixels = max(0, budget - _FIXED_BYTES) // per_pixel
    return None if math.prod(size) <= pixels else max(smallest(model).side, math.isqrt(pixels))


def estimated_bytes(network: NetworkSpec) -> int:
    """What one LR pixel takes at most in a forward of our networks: fused, float32, no gradients.

    Features held at once, as measured where blocks see the whole picture. By strips, on a CPU, it
    is about half of that.
    """
    held = 13 if network.mixer.kind == "correlation" else 15
    return held * network.width * torch.float32.itemsize


def probed_bytes(forward: Forward, device: torch.device) -> int:
    """What one LR pixel takes in a forward of any network, measured on a picture of noise."""
    noise = torch.rand(1, 3, _PROBED_SIDE, _PROBED_SIDE, generator=torch.Generator().manual_seed(0))
    with watching(device) as memory:
        try:
            forward(noise)
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            return CEILING_BYTES  # more than there is, for so few: leaves the smallest tile
        return max(1, memory.peak_bytes // _PROBED_SIDE**2)


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
