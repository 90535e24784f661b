"""Watch how much memory some work takes above what was held when it began.

On CUDA torch's allocator keeps the peak. On Linux the kernel does, of the resident set, and can be
told to start anew. Elsewhere a thread looks every 5 ms, at the resident set or at what torch holds
on Apple's GPU: a short peak may slip through.
"""

import ctypes
import gc
import re
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal

import psutil
import torch

MemoryKind = Literal["resident_set", "cuda_allocator", "mps_allocator"]

_PROCESS = Path("/proc/self")
_LOOK_EVERY_S = 0.005


class Watch(ABC):
    """The peak since the watch began; `peak_bytes` is above what was held then."""

    kind: MemoryKind = "resident_set"

    def __init__(self) -> None:
        gc.collect()
        _return_what_is_free()
        self.start()
        self.resting_bytes = self.highest()

    @property
    def peak_bytes(self) -> int:
        return max(0, self.highest() - self.resting_bytes)

    @abstractmethod
    def start(self) -> None:
        """Forget earlier peaks."""

    @abstractmethod
    def highest(self) -> int:
        """Highest number of bytes held since the start."""

    def stop(self) -> None:  # noqa: B027  (most watches have nothing to stop)
        """End what the watch keeps running."""


class CudaWatch(Watch):
    """Bytes of tensors (and of libraries' workspaces) that torch has allocated on a device."""

    kind: MemoryKind = "cuda_allocator"

    def __init__(self, device: torch.device) -> None:
        self.device = device
        super().__init__()

    def start(self) -> None:
        torch.cuda.synchronize(self.device)
        torch.cuda.reset_peak_memory_stats(self.device)

    def highest(self) -> int:
        return torch.cuda.max_memory_allocated(self.device)


class KernelWatch(Watch):
    """The resident set's high-water mark, as Linux keeps it."""

    def start(self) -> None:
        (_PROCESS / "clear_refs").write_text("5")

    def highest(self) -> int:
        found = re.search(r"VmHWM:\s+(\d+) kB", (_PROCESS / "status").read_text())
        if found is None:
            raise OSError(f"{_PROCESS}/status: no VmHWM")
        return int(found[1]) * 1024


class ThreadWatch(Watch):
    """The resident set as a thread of this process sees it, look by look."""

    def start(self) -> None:
        self._process, self._highest, self._end = psutil.Process(), 0, threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def highest(self) -> int:
        self._highest = max(self._highest, self.held())
        return self._highest

    def held(self) -> int:
        """Bytes held now."""
        return int(self._process.memory_info().rss)

    def stop(self) -> None:
        self._end.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._end.wait(_LOOK_EVERY_S):
            self.highest()


class MpsWatch(ThreadWatch):
    """Bytes that torch has allocated on Apple's GPU, look by look."""

    kind: MemoryKind = "mps_allocator"

    def held(self) -> int:
        return torch.mps.current_allocated_memory()


@contextmanager
def watching(device: torch.device) -> Iterator[Watch]:
    """Watch the memory of the work inside the block; read `peak_bytes` before it ends."""
    watch = _watch(device)
    try:
        yield watch
    finally:
        watch.stop()


def _return_what_is_free() -> None:
    """glibc keeps freed memory resident; work done before must not hide what comes."""
    with suppress(OSError, AttributeError):  # no glibc
        ctypes.CDLL("libc.so.6").malloc_trim(0)


def _watch(device: torch.device) -> Watch:
    if device.type == "cuda":
        return CudaWatch(device)
    if device.type == "mps":
        return MpsWatch()
    try:
        return KernelWatch()
    except OSError:  # not Linux, or a container that hides it
        return ThreadWatch()
