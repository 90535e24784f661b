import pytest
import torch
from torch.nn import functional as F

from hitsr.models import tiles


@pytest.mark.parametrize("biased", [True, False])
@pytest.mark.parametrize("scores", [1, 100, 2**18])
def test_tiles_are_attention_and_its_gradients(
    biased: bool, scores: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(tiles, "_SCORES", scores)
    torch.manual_seed(0)
    q = torch.randn(5, 2, 9, 3, dtype=torch.float64, requires_grad=True)
    k, v = (torch.randn(5, 2, 4, 3, dtype=torch.float64, requires_grad=True) for _ in range(2))
    bias = torch.randn(2, 9, 4, dtype=torch.float64, requires_grad=True) if biased else None
    found = tiles.attend_in_tiles(q, k, v, bias)
    expected = F.scaled_dot_product_attention(q, k, v, bias)
    assert found.shape == expected.shape
    assert (found - expected).abs().max() < 1e-12
    inputs = [q, k, v] if bias is None else [q, k, v, bias]
    weights = torch.randn_like(expected)
    for a, b in zip(
        torch.autograd.grad(found, inputs, weights), torch.autograd.grad(expected, inputs, weights)
    ):
        assert (a - b).abs().max() < 1e-12
