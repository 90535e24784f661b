"""Read a GPU's energy counter, where NVIDIA's driver keeps one and pynvml is there to ask it.

The counter is of the whole device, idle power and other processes included, and steps every 20 to
100 ms: take it over a second or more.
"""

import time
from collections.abc import Callable
from importlib import import_module

import torch

from hitsr.measure.machine import gpu_uuid
from hitsr.records import Energy


def start_meter(device: torch.device) -> Callable[[], Energy | None]:
    """A function that tells what `device` consumed since now; None where nothing counts it.

    Nothing does without the package nvidia-ml-py, for other devices than NVIDIA's, for GPUs before
    Volta, and for a part of a GPU (MIG).
    """
    joules = _counter(device)
    if joules is None:
        return lambda: None
    first, started = joules(), time.perf_counter()
    return lambda: Energy(joules=joules() - first, seconds=time.perf_counter() - started)


def _counter(device: torch.device) -> Callable[[], float] | None:
    """Joules since some moment in the past."""
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
