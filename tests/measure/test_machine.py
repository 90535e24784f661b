import os
import subprocess
from pathlib import Path

import pytest
import torch

from hitsr.measure import machine
from hitsr.measure.machine import machine_state
from hitsr.records import MachineState

CPU, CUDA = torch.device("cpu"), torch.device("cuda", 0)
NOTHING = MachineState(cpu_load=1.5, cpus=8)  # of clocks and GPUs
# What nvidia-smi says of other fields than the first, which it does not know.
UNKNOWN = "echo 'Field is not a valid field to query.'; exit 2"


@pytest.fixture(autouse=True)
def no_cpu_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A platform without /proc/cpuinfo and /sys."""
    monkeypatch.setattr(machine, "_CPUINFO", tmp_path / "cpuinfo")
    monkeypatch.setattr(machine, "_CPUS", tmp_path / "cpus")
    monkeypatch.setattr(machine.os, "getloadavg", lambda: (1.5, 0.0, 0.0))
    monkeypatch.setattr(machine.os, "cpu_count", lambda: 8)


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
    assert machine_state(CPU) == machine_state(CUDA) == NOTHING


def test_cpu_clock_and_governor_are_read_on_linux(tmp_path: Path):
    (tmp_path / "cpuinfo").write_text("cpu MHz\t\t: 2000.5\nother : 1\ncpu MHz\t\t: 3000.5\n")
    for number, governor in ((0, "performance"), (1, "powersave"), (2, "performance")):
        folder = tmp_path / "cpus" / f"cpu{number}" / "cpufreq"
        folder.mkdir(parents=True)
        (folder / "scaling_governor").write_text(f"{governor}\n")
        (folder / "scaling_cur_freq").write_text("1500000\n")
    assert machine_state(CPU) == NOTHING.model_copy(
        update={"cpu_mhz": 2500.5, "cpu_governor": "performance, powersave"}
    )
    (tmp_path / "cpuinfo").unlink()
    assert machine_state(CPU).cpu_mhz == 1500


def _answers(
    clocks: str = "1980, 1980", reasons: str = UNKNOWN, old_reasons: str = UNKNOWN, users: str = ""
) -> str:
    """A script that answers the queries of one GPU."""
    return f"""
[ "$1" = --id=GPU-1-2 ] && [ "$3" = --format=csv,noheader,nounits ] || exit 1
case "$2" in
  --query-gpu=driver*) echo "580.65.06, {clocks}, 2619, 41, [N/A]" ;;
  --query-gpu=clocks_event_reasons.active) {reasons} ;;
  --query-gpu=clocks_throttle_reasons.active) {old_reasons} ;;
  --query-compute-apps=pid,used_memory) printf '{users}' ;;
  *) exit 1 ;;
esac"""


def test_nvidia_smi_is_asked_for_the_right_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    _nvidia_smi(tmp_path, monkeypatch, _answers("1410, 1980"))
    assert machine_state(CUDA) == NOTHING.model_copy(
        update={
            "gpu_driver": "580.65.06", "gpu_mhz": 1410, "gpu_max_mhz": 1980,
            "gpu_memory_mhz": 2619, "gpu_temperature_c": 41, "gpu_other_processes": 0,
        }
    )  # fmt: skip


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        # Drivers since 535 know both names, or the new one alone; older ones the old one alone.
        ({"reasons": "echo 0x0000000000000004"}, ("power limit",)),
        (
            {"old_reasons": "echo 0x0000000000000048"},
            ("hardware slowdown", "heat, as the hardware"),
        ),
        ({"reasons": "echo 0x0000000000000001", "old_reasons": "exit 1"}, ()),  # idle
        ({"reasons": "echo 0x0000000000000102"}, ()),  # clocks that a user set
        ({"reasons": "echo '[N/A]'"}, None),
        ({"reasons": "echo '[Not Supported]'"}, None),
        ({}, None),
    ],
)
def test_reasons_for_lower_clocks_have_two_names(
    answers, words, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    _nvidia_smi(tmp_path, monkeypatch, _answers(**answers))
    found = machine_state(CUDA).gpu_held_down_by
    if words is None:
        assert found is None
    else:
        assert len(found) == len(words)
        assert all(each.startswith(word) for each, word in zip(found, words, strict=True))


def test_other_processes_are_counted_without_this_one_and_its_children(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    child = subprocess.Popen(["sleep", "60"])
    try:
        users = f"{os.getpid()}, 500\\n{child.pid}, 300\\n{os.getppid()}, 70\\n1, 30\\n"
        _nvidia_smi(tmp_path, monkeypatch, _answers(users=users))
        found = machine_state(CUDA)
    finally:
        child.kill()
        child.wait()
    assert (found.gpu_other_processes, found.gpu_other_memory_mb) == (2, 104.8576)


@pytest.mark.parametrize(
    ("users", "others", "memory_mb"),
    [
        ("", 0, None),
        ("No running processes found\\n", 0, None),
        ("1, [N/A]\\n", 1, None),
        ("1, [Not Supported]\\n999999999, 20\\n", 1, None),
        ("999999999, 20\\n", 0, None),  # this process, by its number outside of the container
        ("999999998, 20\\n999999999, 20\\n", 1, 20.97152),
    ],
)
def test_in_a_container_one_process_that_is_not_there_is_this_one(
    users: str, others: int, memory_mb, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    _nvidia_smi(tmp_path, monkeypatch, _answers(users=users))
    found = machine_state(CUDA)
    assert (found.gpu_other_processes, found.gpu_other_memory_mb) == (others, memory_mb)


def test_a_failing_nvidia_smi_gives_no_values(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    _nvidia_smi(tmp_path, monkeypatch, "echo 'Failed to initialize NVML'; exit 9")
    assert machine_state(CUDA) == NOTHING
