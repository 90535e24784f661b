import weakref
from concurrent.futures import ProcessPoolExecutor
from importlib import import_module
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from hitsr.base.errors import SpecError
from hitsr.measure import fresh
from hitsr.measure.forwards import Work
from hitsr.measure.fresh import peak_in_fresh_process, peak_memory
from hitsr.records import PeakMemory

SMALL = Work((17, 9), torch.device("cpu"))
# The fresh process imports the networks by name, which it cannot of a test.
NETWORKS = """
import os

import torch
from torch import nn

class Hungry(nn.Module):
    def forward(self, x):
        assert torch.is_inference_mode_enabled()
        assert torch.get_num_threads() == 1
        return x.new_ones(256 * 2**18)[:1] + x.mean()

class Unable(nn.Module):
    def forward(self, x):
        raise torch.OutOfMemoryError

class Killed(nn.Module):
    def forward(self, x):
        os._exit(9)
"""


@pytest.fixture
def networks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    (tmp_path / "networks_of_a_test.py").write_text(NETWORKS)
    monkeypatch.syspath_prepend(tmp_path)
    return import_module("networks_of_a_test")


def test_peak_memory_is_that_of_the_forward_whatever_this_process_held(networks: Any):
    here = torch.ones(512 * 2**18)
    del here
    found = peak_in_fresh_process(networks.Hungry, SMALL, threads=1)
    assert found.memory_kind == "resident_set"
    assert 250 <= found.peak_memory_bytes / 2**20 < 320


def test_a_fork_of_the_server_finds_what_a_new_process_finds(networks: Any):
    with ProcessPoolExecutor(1, get_context("spawn")) as process:
        anew = process.submit(fresh._peak, networks.Hungry, SMALL, 1).result()
    found = peak_in_fresh_process(networks.Hungry, SMALL, threads=1)
    assert abs(found.peak_memory_bytes - anew.peak_memory_bytes) < 8 * 2**20


@pytest.mark.parametrize(
    ("network", "told"), [("Killed", "memory ran out"), ("Unable", "17x9 .* out of memory")]
)
def test_too_little_memory_is_told_in_a_sentence(networks: Any, network: str, told: str):
    with pytest.raises(SpecError, match=told):
        peak_in_fresh_process(getattr(networks, network), SMALL, threads=1)


@pytest.mark.parametrize("fails", [False, True])
def test_on_cuda_no_other_process_opens_the_gpu(monkeypatch: pytest.MonkeyPatch, fails: bool):
    """With a stand-in for the forward; memory of one that failed is not held by its error."""
    work = Work((8, 8), torch.device("cuda"))
    held: list[weakref.ref[torch.Tensor]] = []

    def peak(*_: object) -> PeakMemory:
        tensor = torch.ones(1)
        held.append(weakref.ref(tensor))
        if fails:
            raise SpecError("out of memory")
        return PeakMemory(peak_memory_bytes=5, memory_kind="cuda_allocator")

    monkeypatch.setattr(fresh, "_peak", peak)
    monkeypatch.setattr(fresh, "ProcessPoolExecutor", None)
    if fails:
        with pytest.raises(SpecError, match="out of memory") as told:
            peak_memory(nn.Identity, work, threads=1)
        assert told.value.__context__ is None
    else:
        assert peak_memory(nn.Identity, work, threads=1).peak_memory_bytes == 5
    assert [reference() for reference in held] == [None]
