import pytest
import torch
from torch.nn import functional as F

from hitsr.models.fused.cpu.depthwise import depthwise_convolution


@pytest.mark.parametrize("size", [(3, 4), (1, 1), (6, 5)])
def test_the_depthwise_gradient_is_a_derivative(size: tuple[int, int]):
    torch.manual_seed(0)
    sides = [(2, 3, *size), (3, 1, 5, 5), (3,)]
    inputs = [torch.randn(side, dtype=torch.float64, requires_grad=True) for side in sides]
    assert torch.autograd.gradcheck(depthwise_convolution, inputs)
    expected = F.conv2d(*inputs, padding=2, groups=3)
    torch.testing.assert_close(depthwise_convolution(*inputs), expected)


def test_the_depthwise_gradient_is_of_what_is_asked_for():
    x, weight = torch.randn(1, 2, 4, 4, requires_grad=True), torch.randn(2, 1, 3, 3)
    depthwise_convolution(x, weight, torch.zeros(2)).sum().backward()
    assert x.grad is not None
    assert weight.grad is None
