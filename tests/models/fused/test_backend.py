import pytest
import torch

from hitsr.models.fused.backend import backend_of


@pytest.mark.parametrize(
    ("device", "dtype", "backend"),
    [
        ("cpu", torch.float32, "cpu"),
        ("cpu", torch.float64, "cpu"),
        ("cpu", torch.bfloat16, "torch"),
        ("meta", torch.float32, "torch"),
    ],
)
def test_plain_floats_on_a_cpu_have_their_own_backend(device: str, dtype, backend: str):
    assert backend_of(torch.empty(1, dtype=dtype, device=device)) == backend


def test_autocast_leaves_it_to_torch():
    with torch.autocast("cpu", torch.bfloat16):
        assert backend_of(torch.empty(1)) == "torch"
