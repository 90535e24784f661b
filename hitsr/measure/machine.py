"""Clock rates, driver and temperature of the machine, which influence latencies.

Read from /proc and /sys on Linux, and from nvidia-smi for NVIDIA GPUs. Unknown values are None.
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
    """The current state of the CPU, and of `device` if it is an NVIDIA GPU."""
    state = {"cpu_mhz": _cpu_mhz(), "cpu_governor": _cpu_governor()}
    gpu = _gpu(device) if device.type == "cuda" else {}
    return MachineState.model_validate({**state, **gpu})


def gpu_uuid(device: torch.device) -> str:
    """The name of a CUDA device in NVIDIA's tools, independent of CUDA_VISIBLE_DEVICES."""
    return f"GPU-{torch.cuda.get_device_properties(device).uuid}"


def _cpu_mhz() -> float | None:
    """Mean clock of the logical processors."""
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
    """Fields of MachineState about a GPU; empty if nvidia-smi fails."""
    command = [
        "nvidia-smi",
        f"--id={gpu_uuid(device)}",
        f"--query-gpu={','.join(_GPU_QUERIES.values())}",
        "--format=csv,noheader,nounits",
    ]
    try:
        done = subprocess.run(
            command, capture_output=True, encoding="utf-8", errors="replace", timeout=30, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return {}
    values = zip(_GPU_QUERIES, map(str.strip, done.stdout.split(",")), strict=False)
    # Unknown values are "[N/A]", "[Not Supported]" or "[Unknown Error]".
    return {name: value for name, value in values if value[:1].isdecimal()}


def _text(path: Path) -> str:
    """A file's text; empty if it cannot be read."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""
