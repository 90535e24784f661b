"""Clocks, load and temperature of the machine, and who else uses it, which influence latencies.

Read from /proc and /sys on Linux, and from nvidia-smi for NVIDIA GPUs. Unknown values are None.
"""

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from statistics import mean

import psutil
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
# What nvidia-smi calls the reasons for lower clocks: since driver 535, and before.
_REASONS = ("clocks_event_reasons.active", "clocks_throttle_reasons.active")
# Bits of the answer (nvml.h). Left out: idle, clocks that a user set, those of displays.
_HELD_DOWN = {
    0x04: "power limit",
    0x08: "hardware slowdown",
    0x10: "kept in step with another GPU",
    0x20: "heat, as the driver found",
    0x40: "heat, as the hardware found",
    0x80: "power brake",
}


def machine_state(device: torch.device) -> MachineState:
    """The current state of the CPU, and of `device` if it is an NVIDIA GPU."""
    state = {"cpu_mhz": _cpu_mhz(), "cpu_governor": _cpu_governor(), "cpu_load": _cpu_load()}
    gpu = _gpu(device) if device.type == "cuda" else {}
    return MachineState.model_validate({**state, "cpus": os.cpu_count(), **gpu})


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


def _cpu_load() -> float | None:
    """Processes that ran or waited for a processor, averaged over the last minute."""
    try:
        return os.getloadavg()[0]
    except OSError:
        return None


def _gpu(device: torch.device) -> dict[str, object]:
    """Fields of MachineState about a GPU; empty if nvidia-smi fails."""
    uuid = gpu_uuid(device)
    rows = _nvidia_smi(uuid, f"--query-gpu={','.join(_GPU_QUERIES.values())}")
    if not rows:
        return {}
    found: dict[str, object] = {
        name: value for name, value in zip(_GPU_QUERIES, rows[0], strict=False) if _is_known(value)
    }
    # One call for each name: nvidia-smi refuses all fields of a call if it does not know one.
    reasons = (_nvidia_smi(uuid, f"--query-gpu={name}") for name in _REASONS)
    if answer := next(filter(None, reasons), None):
        found["gpu_held_down_by"] = _reasons(answer[0][0])
    users = _nvidia_smi(uuid, "--query-compute-apps=pid,used_memory")
    if users is not None:
        others = _others(users)
        found["gpu_other_processes"] = len(others)
        found["gpu_other_memory_mb"] = _megabytes([row[1] for row in others])
    return found


def _nvidia_smi(uuid: str, query: str) -> list[list[str]] | None:
    """Rows of the answer about one GPU, as cells; None if nvidia-smi fails."""
    command = ["nvidia-smi", f"--id={uuid}", query, "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(
            command, capture_output=True, encoding="utf-8", errors="replace", timeout=30, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return [[cell.strip() for cell in line.split(",")] for line in done.stdout.splitlines() if line]


def _is_known(value: str) -> bool:
    """Unknown values are "[N/A]", "[Not Supported]" or "[Unknown Error]"."""
    return value[:1].isdecimal()


def _reasons(mask: str) -> tuple[str, ...] | None:
    """The words for "0x0000000000000004"; None for an unknown value."""
    if not _is_known(mask):
        return None
    return tuple(words for bit, words in _HELD_DOWN.items() if int(mask, 16) & bit)


def _others(users: list[list[str]]) -> list[list[str]]:
    """The rows (pid, memory) of processes that are neither this one nor its children.

    In a container the ids may be those of the host. Then one of those that are unknown here is this
    process, if it uses the GPU.
    """
    rows = [row for row in users if len(row) == 2 and row[0].isdecimal()]
    here = psutil.Process()
    family = {here.pid, *(child.pid for child in here.children(recursive=True))}
    others = [row for row in rows if int(row[0]) not in family]
    if len(others) == len(rows) and torch.cuda.is_initialized():
        strange = [row for row in others if not psutil.pid_exists(int(row[0]))]
        others = [row for row in others if row not in strange[:1]]
    return others


def _megabytes(mebibytes: Sequence[str]) -> float | None:
    """The sum; None if there is nothing to sum, or something unknown."""
    if not mebibytes or not all(map(_is_known, mebibytes)):
        return None
    return sum(map(float, mebibytes)) * 2**20 / 1e6


def _text(path: Path) -> str:
    """A file's text; empty if it cannot be read."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""
