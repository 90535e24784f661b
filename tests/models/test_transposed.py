from collections.abc import Callable
from typing import get_args

import pytest
import torch
from torch import Tensor, nn

from hitsr.specs.network import Formulation

WIDTH, HEADS = 12, 3  # of the fixture `transposed`


@pytest.mark.parametrize("formulation", get_args(Formulation))
def test_one_window_by_the_definition(formulation: Formulation, transposed: Callable):
    """Channel by channel: the cosine of two channels over the tokens, as a weight of the second."""
    mixer = transposed(formulation, 4)
    x = torch.randn(4, 4, WIDTH, dtype=torch.float64)
    q, k, v = (x.flatten(0, 1) @ mixer.qkv.weight.t() + mixer.qkv.bias).chunk(3, -1)
    width = WIDTH // HEADS
    mixed = torch.empty(16, WIDTH, dtype=torch.float64)
    for head in range(HEADS):
        own = range(head * width, (head + 1) * width)
        for channel in own:
            weights: list[Tensor] = []
            for other in own:
                cosine = torch.cosine_similarity(q[:, channel], k[:, other], 0)
                weights.append((cosine * mixer.temperature[head]).exp())
            total = sum(weights)
            parts = (weight / total * v[:, other] for weight, other in zip(weights, own))
            mixed[:, channel] = sum(parts)
    expected = mixed @ mixer.proj.weight.t() + mixer.proj.bias
    torch.testing.assert_close(mixer(x[None])[0].flatten(0, 1), expected)


@pytest.mark.parametrize("formulation", get_args(Formulation))
def test_channels_of_zero_give_finite_results_and_gradients(
    formulation: Formulation, transposed: Callable
):
    """Features that are zero have a norm of zero, which must not divide."""
    mixer = transposed(formulation, 2)
    nn.init.zeros_(mixer.qkv.bias)
    x = torch.zeros(1, 2, 2, WIDTH, dtype=torch.float64, requires_grad=True)
    mixed = mixer(x)
    torch.testing.assert_close(mixed, mixer.proj.bias.expand(1, 2, 2, WIDTH))
    mixed.sum().backward()
    assert x.grad.isfinite().all()


@pytest.mark.parametrize("formulation", get_args(Formulation))
def test_a_token_reaches_its_own_window_alone(formulation: Formulation, transposed: Callable):
    mixer = transposed(formulation, 4)
    x = torch.randn(1, 8, 12, WIDTH, dtype=torch.float64)
    changed = x.clone()
    changed[0, 5, 6] += torch.randn(WIDTH, dtype=torch.float64)
    moved = (mixer(x) - mixer(changed))[0].abs().amax(-1)
    assert (moved[4:8, 4:8] > 1e-9).all()
    moved[4:8, 4:8] = 0
    assert (moved == 0).all()
