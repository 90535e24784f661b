"""How many bytes a CPU works on at a time, so that features stay in its caches.

Chosen from the caches that the machine has, never by timing: it orders sums, and a machine should
repeat its results.
"""

import os
import platform
import subprocess
from functools import cache
from pathlib import Path
from typing import NamedTuple

import torch

from hitsr.base.errors import SpecError, shortened
from hitsr.runtime.trials import note

SWITCH = "HITSR_CPU_KB"  # kilobytes to work on at a time, to compare
_LEAST = 2**20
_CPUS = Path("/sys/devices/system/cpu")


class Cache(NamedTuple):
    """Caches of one level."""

    size: int  # bytes of one
    cores: int  # that share one

    def of(self, threads: int) -> int:
        """Bytes in all caches that threads on a core each reach."""
        return max(self.size, self.size * threads // self.cores)


class Caches(NamedTuple):
    """The second and third level; a machine without a third has one of no bytes."""

    second: Cache
    third: Cache = Cache(0, 1)

    @property
    def words(self) -> str:
        """ "L2 of 1024 KB, L3 of 32768 KB for 2 cores"."""
        parts = [
            f"{name} of {size // 1024} KB" + f" for {cores} cores" * (cores > 1)
            for name, (size, cores) in (("L2", self.second), ("L3", self.third))
            if size
        ]
        return ", ".join(parts)


UNKNOWN = Caches(Cache(2**20, 1))  # what is assumed where no caches are found


def bytes_at_once(threads: int, caches: Caches) -> int:
    """Bytes of features, or of attention's scores, to work on at a time with so many threads.

    All threads share a strip or a tile, so it should fill the second-level caches of all: with less
    for each, threads idle, and the fixed cost of an operator is paid more often. It fills half of
    them, since an operator reads one such tensor and writes another; twice as much took 5 to 9 %
    longer on an AMD EPYC, four times 8 to 18 %. What a block keeps besides, about eight such
    tensors, should fit in the second and third level together. Less than 1 MB does not pay: it took
    up to 5 % longer with one thread.
    """
    second, third = caches.second.of(threads), caches.third.of(threads)
    return max(_LEAST, min(second // 2, (second + third) // 8))


def at_once() -> int:
    """`bytes_at_once` on this machine, with the threads that torch uses now; named in records.

    Raises SpecError if the environment variable HITSR_CPU_KB, which replaces it, is no number.
    """
    found, why = _at_once(torch.get_num_threads(), os.environ.get(SWITCH))
    note("worked on at a time", f"{found // 1024} KB ({why})", torch.device("cpu"))
    return found


@cache
def _at_once(threads: int, asked: str | None) -> tuple[int, str]:
    """Bytes, and where they come from."""
    if asked is None:
        found = bytes_at_once(threads, here())
        return found, f"{threads} thread{'s' * (threads > 1)}, {here().words}"
    if not asked.isdecimal() or not int(asked):
        raise SpecError(f"{SWITCH}={shortened(asked)}: must be a whole number of kilobytes above 0")
    return int(asked) * 1024, SWITCH


@cache
def here() -> Caches:
    """The caches of this machine, read once."""
    return (_from_sysctl() if platform.system() == "Darwin" else read(_CPUS)) or UNKNOWN


def read(cpus: Path) -> Caches | None:
    """Caches of the first processor, as Linux lists them in a folder; None if it does not."""
    threads = _count(_text(cpus / "cpu0/topology/thread_siblings_list"))
    found = {}
    for folder in (cpus / "cpu0/cache").glob("index*"):
        level, kind, size = (_text(folder / name) for name in ("level", "type", "size"))
        if kind == "Unified" and size.endswith("K") and size[:-1].isdecimal():
            cores = max(1, _count(_text(folder / "shared_cpu_list")) // max(1, threads))
            found[level] = Cache(int(size[:-1]) * 1024, cores)
    return Caches(found["2"], found.get("3", Cache(0, 1))) if "2" in found else None


def _count(ranges: str) -> int:
    """How many numbers "0-3,8" has; 0 of what is no such list."""
    ends = [part.split("-") for part in ranges.split(",")]
    if not all(end.isdecimal() for part in ends for end in part):
        return 0
    return sum(int(part[-1]) - int(part[0]) + 1 for part in ends)


def _text(file: Path) -> str:
    """A file's text; empty if it cannot be read."""
    try:
        return file.read_text(encoding="utf-8").strip()
    except OSError:
        return ""


def _from_sysctl() -> Caches | None:
    """On macOS; of the fast cores where there are several kinds."""
    second = _sysctl("hw.perflevel0.l2cachesize") or _sysctl("hw.l2cachesize")
    if not second:
        return None
    cores = _sysctl("hw.perflevel0.cpusperl2") or 1
    third, all_cores = _sysctl("hw.l3cachesize"), _sysctl("hw.physicalcpu") or 1
    return Caches(Cache(second, cores), Cache(third, all_cores if third else 1))


def _sysctl(name: str) -> int:
    """A number that macOS knows; 0 if it does not."""
    try:
        done = subprocess.run(
            ["sysctl", "-n", name], capture_output=True, encoding="utf-8", timeout=30, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return 0
    return int(done.stdout) if done.stdout.strip().isdecimal() else 0
