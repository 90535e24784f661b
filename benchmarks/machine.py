"""What every figure stands beside: its spread, and the machine that it was taken on."""

import os
import platform
import sys
from pathlib import Path
from statistics import quantiles

import torch


def quartiles(values: list[float]) -> tuple[float, float]:
    """Between which the middle half lies; of one value, that value twice."""
    if len(values) == 1:
        return values[0], values[0]
    low, _, high = quantiles(values, method="inclusive")
    return low, high


def machine() -> str:
    """Where the figures come from, and what else changes them."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if sys.platform == "linux" else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    busy = ", ".join(f"{load:.1f}" for load in os.getloadavg())
    return (
        f"{names[0] if names else platform.machine()}, {os.cpu_count()} cores, load {busy}; "
        f"torch {torch.__version__}, {torch.backends.cpu.get_cpu_capability()}, "
        f"Python {platform.python_version()}, default allocator"
    )
