from pathlib import Path

import pytest
import torch

from hitsr.measure import machine
from hitsr.measure.machine import machine_state
from hitsr.records import MachineState

CPU, CUDA = torch.device("cpu"), torch.device("cuda", 0)


@pytest.fixture(autouse=True)
def no_cpu_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A platform without /proc/cpuinfo and /sys."""
    monkeypatch.setattr(machine, "_CPUINFO", tmp_path / "cpuinfo")
    monkeypatch.setattr(machine, "_CPUS", tmp_path / "cpus")


def _nvidia_smi(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    program = folder / "bin" / "nvidia-smi"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    monkeypatch.setattr(machine, "gpu_uuid", lambda _: "GPU-1-2")


def test_unknown_values_are_none(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(machine, "gpu_uuid", lambda _: "GPU-1-2")
    assert machine_state(CPU) == machine_state(CUDA) == MachineState()


def test_cpu_clock_and_governor_are_read_on_linux(tmp_path: Path):
    (tmp_path / "cpuinfo").write_text("cpu MHz\t\t: 2000.5\nother : 1\ncpu MHz\t\t: 3000.5\n")
    for number, governor in ((0, "performance"), (1, "powersave"), (2, "performance")):
        folder = tmp_path / "cpus" / f"cpu{number}" / "cpufreq"
        folder.mkdir(parents=True)
        (folder / "scaling_governor").write_text(f"{governor}\n")
        (folder / "scaling_cur_freq").write_text("1500000\n")
    assert machine_state(CPU) == MachineState(cpu_mhz=2500.5, cpu_governor="performance, powersave")
    (tmp_path / "cpuinfo").unlink()
    assert machine_state(CPU).cpu_mhz == 1500


def test_nvidia_smi_is_asked_for_the_right_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    _nvidia_smi(
        tmp_path,
        monkeypatch,
        '[ "$1" = --id=GPU-1-2 ] && echo "580.65.06, 1410, 1980, 2619, 41, [N/A]"',
    )
    assert machine_state(CUDA) == MachineState(
        gpu_driver="580.65.06", gpu_mhz=1410, gpu_max_mhz=1980,
        gpu_memory_mhz=2619, gpu_temperature_c=41,
    )  # fmt: skip


def test_a_failing_nvidia_smi_gives_no_values(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    _nvidia_smi(tmp_path, monkeypatch, "echo 'Failed to initialize NVML'; exit 9")
    assert machine_state(CUDA) == MachineState()
