"""Ask the platform for its clocks and driver: what a latency depends on and code does not show.

Linux tells of the CPU under /proc and /sys, NVIDIA's driver of the GPU through nvidia-smi. What
nobody tells is None.
"""

import subprocess
from pathlib import Path
from statistics import mean

import torch

from hitsr.records import MachineState

_CPUINFO = Path("/proc/cpuinfo")
_CPUS = Path("/sys/devices/system/cpu")
_GPU_QUERIES = {
    "gpu_driver": "driver_version",
    "gpu_mhz": "clocks.sm",
    "gpu_max_mhz": "clocks.max.sm",
    "gpu_memory_mhz": "clocks.mem",
    "gpu_temperature_c": "temperature.gpu",
    "gpu_power_limit_w": "power.limit",
}


def machine_state(device: torch.device) -> MachineState:
    """Clocks of the CPU, and of `device` where it is an NVIDIA GPU, as they are now."""
    state = {"cpu_mhz": _cpu_mhz(), "cpu_governor": _cpu_governor()}
    gpu = _gpu(device) if device.type == "cuda" else {}
    return MachineState.model_validate({**state, **gpu})


def gpu_uuid(device: torch.device) -> str:
    """How NVIDIA's tools name a CUDA device, whatever CUDA_VISIBLE_DEVICES renumbers."""
    return f"GPU-{torch.cuda.get_device_properties(device).uuid}"


def _cpu_mhz() -> float | None:
    """Mean over logical processors."""
    lines = _text(_CPUINFO).splitlines()
    found = [float(line.partition(":")[2]) for line in lines if line.startswith("cpu MHz")]
    if not found:  # ARM
        files = _CPUS.glob("cpu[0-9]*/cpufreq/scaling_cur_freq")
        found = [float(khz) / 1000 for khz in map(_text, files) if khz]
    return mean(found) if found else None


def _cpu_governor() -> str | None:
    files = _CPUS.glob("cpu[0-9]*/cpufreq/scaling_governor")
    return ", ".join(sorted({_text(file).strip() for file in files})) or None


def _gpu(device: torch.device) -> dict[str, str]:
    command = [
        "nvidia-smi",
        f"--id={gpu_uuid(device)}",
        f"--query-gpu={','.join(_GPU_QUERIES.values())}",
        "--format=csv,noheader,nounits",
    ]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return {}
    answers = (answer.strip() for answer in done.stdout.split(","))
    told = zip(_GPU_QUERIES, answers, strict=False)
    # Elsewhere it says "[N/A]", "[Not Supported]" or "[Unknown Error]".
    return {name: answer for name, answer in told if answer[:1].isdecimal()}


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
