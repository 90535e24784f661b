"""What compares the fused formulation with the paper's."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn


@pytest.fixture
def outputs_agree() -> Callable[..., None]:
    """Checks both formulations in training, in eval mode, and twice without gradients.

    Differences are absolute for outputs up to one, else relative to the largest.
    """

    def check(make: Callable[[str], nn.Module], inputs: list[Tensor], within: float) -> None:
        paper, fused = make("paper"), make("fused")
        for training in (True, False):
            paper.train(training)
            fused.train(training)
            for x in inputs:
                expected = paper(x)
                most = within * max(1, expected.abs().max())
                assert (expected - fused(x)).abs().max() < most
                with torch.inference_mode():
                    for _ in range(2):  # the second time with values from the cache
                        assert (expected - fused(x)).abs().max() < most

    return check


@pytest.fixture
def gradients_agree() -> Callable[..., None]:
    """Checks gradients of the input and of every parameter, in float64."""

    def check(make: Callable[[str], nn.Module], x: Tensor) -> None:
        x = x.requires_grad_()
        weight = torch.randn_like(x)
        found = []
        for module in (make("paper"), make("fused")):
            mixed = module(x)
            inputs = [x, *module.parameters()]
            found.append([mixed, *torch.autograd.grad((mixed * weight).sum(), inputs)])
        for by_paper, by_fused in zip(*found, strict=True):
            torch.testing.assert_close(by_fused, by_paper, rtol=1e-9, atol=1e-9)

    return check
