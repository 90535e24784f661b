import json
import subprocess
import sys
import time

import pytest
import torch
from torch.nn import functional

from hitsr.runtime import memory
from hitsr.runtime.memory import CudaWatch, PollingWatch, Watch, watching

CPU = torch.device("cpu")
MIB = 2**20
REPEATED = """
import json, torch
from hitsr.runtime.memory import watching

def work():
    held = [torch.ones(8 * 2**20, dtype=torch.uint8) for _ in range(16)]
    del held

peaks = []
for _ in range(3):
    with watching(torch.device("cpu")) as watch:
        work()
        peaks.append(watch.peak_bytes / 2**20)
print(json.dumps(peaks))
"""


def _hold(mib: int) -> None:
    held = torch.ones(mib * MIB, dtype=torch.uint8)
    time.sleep(0.05)
    del held


def _peak_mib(watch: Watch) -> float:
    return watch.peak_bytes / MIB


def test_the_peak_includes_memory_that_was_freed_again():
    with watching(CPU) as watch:
        _hold(256)
        assert watch.kind == "resident_set"
        assert 250 <= _peak_mib(watch) < 320


def test_earlier_peaks_do_not_count():
    _hold(512)
    with watching(CPU) as watch:
        _hold(128)
        assert 125 <= _peak_mib(watch) < 192


def test_repeated_work_has_the_same_peak():
    """In a process of its own: earlier tests leave freed memory, whose reuse raises no peak."""
    done = subprocess.run(
        [sys.executable, "-c", REPEATED], capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == pytest.approx([128] * 3, abs=8)


def test_a_thread_polls_where_the_kernel_records_no_peak(monkeypatch: pytest.MonkeyPatch, tmp_path):
    monkeypatch.setattr(memory, "_PROCESS", tmp_path / "absent")
    with watching(CPU) as watch:
        assert isinstance(watch, PollingWatch)
        _hold(256)
        assert 250 <= _peak_mib(watch) < 320
    assert not watch._thread.is_alive()


def test_a_thread_polls_apples_gpu(monkeypatch: pytest.MonkeyPatch):
    held = iter([100, *[900] * 3, *[200] * 10_000])
    monkeypatch.setattr(torch.mps, "current_allocated_memory", lambda: next(held))
    with watching(torch.device("mps")) as watch:
        time.sleep(0.2)
        assert watch.kind == "mps_allocator"
        assert watch.peak_bytes == 800


def test_on_cuda_what_libraries_keep_counts_as_at_rest(monkeypatch: pytest.MonkeyPatch):
    """With a stand-in for the allocator's counts: the first product takes a workspace."""
    counts = {"now": 10, "peak": 90}
    product = functional.linear

    def linear(*factors: torch.Tensor) -> torch.Tensor:
        counts["now"] = counts["peak"] = 50
        return product(*factors)

    def reset(_: torch.device) -> None:
        counts["peak"] = counts["now"]

    monkeypatch.setattr(functional, "linear", linear)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda _: None)
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", reset)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda _: counts["peak"])
    watch = CudaWatch(CPU)
    counts["peak"] = 57
    assert watch.peak_bytes == 7
