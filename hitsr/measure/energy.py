"""Read the energy counter of an NVIDIA GPU.

The counter measures the whole device, including idle power and other processes, and is updated
every 20 to 100 ms: measure over a second or more.
"""

import time
from collections.abc import Callable
from importlib import import_module

import torch

from hitsr.measure.machine import gpu_uuid
from hitsr.records import Energy


def start_meter(device: torch.device) -> Callable[[], Energy | None]:
    """Start measuring; returns a function that gives the energy `device` has used since.

    That function returns None unless nvidia-ml-py is installed and `device` is an NVIDIA GPU with
    an energy counter (Volta or later, and not a MIG partition).
    """
    joules = _counter(device)
    if joules is None:
        return lambda: None
    first, started = joules(), time.perf_counter()
    return lambda: Energy(joules=joules() - first, seconds=time.perf_counter() - started)


def _counter(device: torch.device) -> Callable[[], float] | None:
    """A function that reads the counter, in joules since an arbitrary start; None without one."""
    if device.type != "cuda":
        return None
    try:
        nvml = import_module("pynvml")
    except ImportError:
        return None
    try:
        nvml.nvmlInit()
        handle = nvml.nvmlDeviceGetHandleByUUID(gpu_uuid(device))
        nvml.nvmlDeviceGetTotalEnergyConsumption(handle)
    except nvml.NVMLError:
        return None
    return lambda: float(nvml.nvmlDeviceGetTotalEnergyConsumption(handle)) / 1000
