import pytest
import torch
from torch.nn import functional as F

from hitsr.models.ffn import FeedForward, _Depthwise


def test_without_a_kernel_tokens_are_alone():
    ffn = FeedForward(4, 2, None)
    x = torch.randn(1, 3, 3, 4)
    expected = F.gelu(x @ ffn.expand.weight.t() + ffn.expand.bias) @ ffn.reduce.weight.t()
    torch.testing.assert_close(ffn(x), expected + ffn.reduce.bias)


def test_a_kernel_adds_each_channels_neighbourhood():
    torch.manual_seed(0)
    ffn = FeedForward(2, 2, 5)
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


@pytest.mark.parametrize("kernel", [None, 3, 5])
def test_what_is_done_in_place_changes_nothing(kernel: int | None):
    torch.manual_seed(0)
    fused, paper = (FeedForward(4, 2, kernel, side) for side in ("fused", "paper"))
    paper.load_state_dict(fused.state_dict())
    x = torch.randn(2, 6, 7, 4)
    given = x.clone()
    with torch.inference_mode():
        torch.testing.assert_close(fused(x), paper(x))
    assert torch.equal(x, given)


@pytest.mark.parametrize("size", [(3, 4), (1, 1), (6, 5)])
def test_the_depthwise_gradient_is_a_derivative(size: tuple[int, int]):
    torch.manual_seed(0)
    sides = [(2, 3, *size), (3, 1, 5, 5), (3,)]
    inputs = [torch.randn(side, dtype=torch.float64, requires_grad=True) for side in sides]
    assert torch.autograd.gradcheck(_Depthwise.apply, inputs)
    expected = F.conv2d(*inputs, padding=2, groups=3)
    torch.testing.assert_close(_Depthwise.apply(*inputs), expected)


def test_the_depthwise_gradient_is_of_what_is_asked_for():
    x, weight = torch.randn(1, 2, 4, 4, requires_grad=True), torch.randn(2, 1, 3, 3)
    _Depthwise.apply(x, weight, torch.zeros(2)).sum().backward()
    assert x.grad is not None
    assert weight.grad is None
