from typing import get_args

import pytest
import torch
from torch.nn import functional as F

from hitsr.models.ffn import FeedForward
from hitsr.specs.network import Formulation


@pytest.mark.parametrize("formulation", get_args(Formulation))
def test_without_a_kernel_tokens_are_alone(formulation: Formulation):
    ffn = FeedForward(4, 2, None, formulation)
    x = torch.randn(1, 3, 3, 4)
    expected = F.gelu(x @ ffn.expand.weight.t() + ffn.expand.bias) @ ffn.reduce.weight.t()
    torch.testing.assert_close(ffn(x), expected + ffn.reduce.bias)


@pytest.mark.parametrize("formulation", get_args(Formulation))
def test_a_kernel_adds_each_channels_neighbourhood(formulation: Formulation):
    torch.manual_seed(0)
    ffn = FeedForward(2, 2, 5, formulation)
    x = torch.randn(1, 6, 7, 2)
    hidden = F.gelu(x @ ffn.expand.weight.t() + ffn.expand.bias)
    padded = F.pad(hidden, (0, 0, 2, 2, 2, 2))
    around = torch.zeros_like(hidden)
    for dy in range(5):
        for dx in range(5):
            weight = ffn.depthwise.weight[:, 0, dy, dx]
            around = around + weight * padded[:, dy : dy + 6, dx : dx + 7]
    hidden = hidden + F.gelu(around + ffn.depthwise.bias)
    torch.testing.assert_close(ffn(x), hidden @ ffn.reduce.weight.t() + ffn.reduce.bias)
