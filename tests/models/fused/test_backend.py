from types import SimpleNamespace

import pytest
import torch

from hitsr.models.fused.backend import backend_of, forced


@pytest.mark.parametrize(
    ("device", "dtype", "backend"),
    [
        ("cpu", torch.float32, "cpu"),
        ("cpu", torch.float64, "cpu"),
        ("cpu", torch.bfloat16, "torch"),
        ("meta", torch.float32, "torch"),
        ("cuda", torch.float32, "cuda"),
        ("cuda", torch.float16, "cuda"),
    ],
)
def test_cpus_and_cuda_devices_have_their_own_backends(device: str, dtype, backend: str):
    x = SimpleNamespace(device=torch.device(device), dtype=dtype)  # where no such device is
    assert backend_of(x) == backend


def test_autocast_leaves_it_to_torch():
    with torch.autocast("cpu", torch.bfloat16):
        assert backend_of(torch.empty(1)) == "torch"


def test_the_compiler_gets_pytorchs_own_operators(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    for device in ("cpu", "cuda"):
        x = SimpleNamespace(device=torch.device(device), dtype=torch.float32)
        assert backend_of(x) == "torch"


def test_a_backend_can_be_forced():
    with forced("cuda"):
        assert backend_of(torch.empty(1)) == "cuda"
        with forced("torch"):
            assert backend_of(torch.empty(1)) == "torch"
    assert backend_of(torch.empty(1)) == "cpu"
