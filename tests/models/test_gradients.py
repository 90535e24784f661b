"""Gradients of the fused formulation: by finite differences, and beside the paper's."""

import pytest
import torch

import hitsr
from hitsr.models.block import Block

TINY = {"depths": [2], "width": 12, "mixer.heads": 2, "windows.base": 2, "windows.ratios": [1, 2]}


@pytest.mark.parametrize("name", hitsr.NETWORKS)
@pytest.mark.parametrize("index", [0, 1])
def test_a_blocks_gradients_are_those_of_finite_differences(name: str, index: int):
    torch.manual_seed(0)
    changes = TINY if name.startswith("hit") else {**TINY, "windows.ratios": [1, 1]}
    if name == "srformer_light":
        changes = {**changes, "windows.base": 4}  # of two cells a side
    block = Block(hitsr.NETWORKS[name].patch(changes), index, 0.0, "fused").double().eval()
    for parameter in block.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    x = torch.randn(1, 4, 8, 12, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: block(x).square().mean(), x)


@pytest.mark.parametrize("name", hitsr.NETWORKS)
def test_gradients_are_the_papers_to_a_ten_thousandth(name: str):
    """At width 60, all windows and real sizes, in float32."""
    torch.manual_seed(0)
    network = hitsr.NETWORKS[name].patch({"depths": [6]})
    paper, fused = (hitsr.create(network, 2, formulation=way).eval() for way in ("paper", "fused"))
    fused.load_state_dict(paper.state_dict())
    lr = torch.rand(1, 3, 48, 64)
    for model in (paper, fused):
        model(lr).square().mean().backward()
    # Some vanish but for rounding, as what a softmax makes of a bias of all keys.
    largest = max(parameter.grad.abs().max() for parameter in paper.parameters())
    for (key, a), b in zip(paper.named_parameters(), fused.parameters(), strict=True):
        scale = max(a.grad.abs().max(), 1e-3 * largest)
        assert (a.grad - b.grad).abs().max() < 1e-4 * scale, key
