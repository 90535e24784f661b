"""Measure the peak memory of some work, above the memory in use before it.

On CUDA, torch's allocator records the peak. On Linux, the kernel records the peak resident set and
lets us reset it. Elsewhere a thread polls the resident set, or what torch has allocated on Apple's
GPU, every 5 ms: it may miss a short peak.
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
from torch.nn import functional

MemoryKind = Literal["resident_set", "cuda_allocator", "mps_allocator"]

_PROCESS = Path("/proc/self")
_POLL_INTERVAL_S = 0.005


class Watch(ABC):
    """Records the peak memory since its creation; see `watching`."""

    kind: MemoryKind = "resident_set"

    def __init__(self) -> None:
        gc.collect()
        _trim_heap()
        self.start()
        self._baseline_bytes = self.highest()

    @property
    def peak_bytes(self) -> int:
        """The peak so far, less what was in use at the start."""
        return max(0, self.highest() - self._baseline_bytes)

    @abstractmethod
    def start(self) -> None:
        """Reset the recorded peak."""

    @abstractmethod
    def highest(self) -> int:
        """The peak since the start, in bytes, including what was in use before."""

    def stop(self) -> None:  # noqa: B027  (only a polling watch has something to stop)
        """Stop the watch's thread, if it has one."""


class CudaWatch(Watch):
    """Bytes that torch's allocator has handed out on a CUDA device.

    cuBLAS takes a workspace with its first product and keeps it. It is taken before the start, so
    that it counts as memory at rest whatever the process did before. Workspaces that libraries give
    back count towards the peak.
    """

    kind: MemoryKind = "cuda_allocator"

    def __init__(self, device: torch.device) -> None:
        self.device = device
        super().__init__()

    def start(self) -> None:
        for dtype in (torch.float32, torch.float16):
            square = torch.ones((64, 64), dtype=dtype, device=self.device)
            functional.linear(square, square, square[0])
            square.mm(square)
        del square
        torch.cuda.synchronize(self.device)
        torch.cuda.reset_peak_memory_stats(self.device)

    def highest(self) -> int:
        return torch.cuda.max_memory_allocated(self.device)


class KernelWatch(Watch):
    """The peak resident set as the Linux kernel records it (VmHWM), without the pages of files.

    Those pages are code, which is mapped when it first runs: how much of it was mapped before
    depends on what the process has done, and not on the work.
    """

    def start(self) -> None:
        (_PROCESS / "clear_refs").write_text("5", encoding="utf-8")  # resets VmHWM

    def highest(self) -> int:
        status = (_PROCESS / "status").read_text(encoding="utf-8")
        found = re.findall(r"^(VmHWM|RssFile):\s+(\d+) kB", status, re.M)
        kilobytes = {name: int(number) for name, number in found}
        if len(kilobytes) < 2:
            raise OSError(f"{_PROCESS}/status: no VmHWM or RssFile")
        return (kilobytes["VmHWM"] - kilobytes["RssFile"]) * 1024


class PollingWatch(Watch):
    """The peak resident set, polled by a thread."""

    def start(self) -> None:
        self._process, self._highest, self._end = psutil.Process(), 0, threading.Event()
        self._thread = threading.Thread(target=self._poll, daemon=True)
        self._thread.start()

    def highest(self) -> int:
        self._highest = max(self._highest, self.current())
        return self._highest

    def current(self) -> int:
        """Bytes in use now."""
        return int(self._process.memory_info().rss)

    def stop(self) -> None:
        self._end.set()
        self._thread.join()

    def _poll(self) -> None:
        while not self._end.wait(_POLL_INTERVAL_S):
            self.highest()


class MpsWatch(PollingWatch):
    """The peak of what torch has allocated on Apple's GPU, polled by a thread."""

    kind: MemoryKind = "mps_allocator"

    def current(self) -> int:
        return torch.mps.current_allocated_memory()


@contextmanager
def watching(device: torch.device) -> Iterator[Watch]:
    """Measure the peak memory of the block; read `peak_bytes` before the block ends."""
    watch = _watch(device)
    try:
        yield watch
    finally:
        watch.stop()


def _trim_heap() -> None:
    """Return freed memory to the system, so that earlier work does not hide what comes.

    glibc keeps freed memory resident and reuses it: new allocations would not raise the peak.
    """
    with suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL("libc.so.6").malloc_trim(0)


def _watch(device: torch.device) -> Watch:
    if device.type == "cuda":
        return CudaWatch(device)
    if device.type == "mps":
        return MpsWatch()
    try:
        return KernelWatch()
    except OSError:  # not Linux, or a container without write access to /proc
        return PollingWatch()
