import pytest
import torch

from hitsr.base.errors import SpecError
from hitsr.runtime.devices import pick_device


def test_the_cpu_is_always_available():
    assert pick_device("cpu") == torch.device("cpu")


def test_auto_takes_cuda_if_available(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    assert str(pick_device("auto")) == "cuda:0"


def test_cuda_asked_for_and_absent_is_an_error(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert pick_device("auto") == torch.device("cpu")
    with pytest.raises(SpecError, match="use 'cpu'"):
        pick_device("cuda")


def test_a_gpu_is_picked_by_its_number(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert str(pick_device("cuda:1")) == "cuda:1"
    with pytest.raises(SpecError, match="finds GPUs 0 to 1"):
        pick_device("cuda:2")
