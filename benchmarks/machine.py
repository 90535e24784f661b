"""Timing, quartiles and a description of the machine, shared by all benchmarks."""

import os
import platform
import sys
import time
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from statistics import quantiles

import torch


class Clock(StrEnum):
    """wall: elapsed time; cpu: processor time, summed over all cores."""

    wall = "wall"
    cpu = "cpu"


def seconds(run: Callable[[], object], clock: Clock) -> float:
    now = time.perf_counter if clock is Clock.wall else time.process_time
    start = now()
    run()
    return now() - start


def quartiles(values: list[float]) -> tuple[float, float]:
    """Lower and upper quartile; for a single value that value twice."""
    if len(values) == 1:
        return values[0], values[0]
    low, _, high = quantiles(values, method="inclusive")
    return low, high


def machine() -> str:
    """Processor, load and versions, on which the figures depend."""
    lines = (
        Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        if sys.platform == "linux"
        else []
    )
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    busy = ", ".join(f"{load:.1f}" for load in os.getloadavg())
    return (
        f"{names[0] if names else platform.machine()}, {os.cpu_count()} cores, load {busy}; "
        f"torch {torch.__version__}, {torch.backends.cpu.get_cpu_capability()}, "
        f"Python {platform.python_version()}, default allocator"
    )
