import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from hitsr.models.fused.cuda.kernels.norm import layer_norm

DTYPES = (torch.float32, torch.float16, torch.bfloat16)
EPS = 1e-5


def _inputs(c: int, device: torch.device, *shape: int, mean: float = 0.0) -> tuple[Tensor, ...]:
    torch.manual_seed(0)
    x = mean + torch.randn(*shape, c)
    return tuple(each.to(device) for each in (x, 1 + 0.3 * torch.randn(c), torch.randn(c)))


@pytest.mark.parametrize("mean", [0.0, 1000.0])
@pytest.mark.parametrize("shape", [(1,), (3, 5), (2, 7, 9)])
@pytest.mark.parametrize("c", [6, 60, 64, 180])
def test_norm_is_pytorchs_to_rounding(
    c: int, shape: tuple[int, ...], mean: float, device: torch.device
):
    x, weight, bias = _inputs(c, device, *shape, mean=mean)
    exact = F.layer_norm(x.double(), (c,), weight.double(), bias.double(), EPS)
    found = layer_norm(x, weight, bias, EPS)
    own = (F.layer_norm(x, (c,), weight, bias, EPS) - exact).abs().max()
    of_mean = 2 * torch.finfo(torch.float32).eps * mean  # means are rounded to float32
    assert (found - exact).abs().max() < 3 * own + of_mean + 1e-6


@pytest.mark.parametrize("x_dtype", DTYPES)
@pytest.mark.parametrize("weight_dtype", DTYPES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_each_tensor_may_have_its_own_dtype(
    x_dtype: torch.dtype, weight_dtype: torch.dtype, dtype: torch.dtype, device: torch.device
):
    x, weight, bias = _inputs(60, device, 4, 3)
    x, weight, bias = x.to(x_dtype), weight.to(weight_dtype), bias.to(weight_dtype)
    exact = F.layer_norm(x.double(), (60,), weight.double(), bias.double(), EPS)
    found = layer_norm(x, weight, bias, EPS, dtype)
    assert found.dtype == dtype
    torch.testing.assert_close(found, exact.to(dtype), rtol=torch.finfo(dtype).eps, atol=1e-5)


@pytest.mark.parametrize(("c", "rows"), [(60, 70), (6, 1)])
def test_gradients_are_those_of_float64(c: int, rows: int, device: torch.device):
    inputs = [each.requires_grad_() for each in _inputs(c, device, rows)]
    wide = [each.detach().double().requires_grad_() for each in inputs]
    grad = torch.randn(rows, c, device=device)
    F.layer_norm(wide[0], (c,), *wide[1:], EPS).backward(grad.double())
    layer_norm(*inputs, EPS).backward(grad)
    for found, exact in zip(inputs, wide, strict=True):
        torch.testing.assert_close(found.grad.double(), exact.grad, rtol=1e-5, atol=2e-5)


def test_gradients_have_the_types_of_what_they_are_for(device: torch.device):
    x, weight, bias = (each.requires_grad_() for each in _inputs(60, device, 5))
    half = x.detach().bfloat16().requires_grad_()
    layer_norm(half, weight, bias, EPS, torch.bfloat16).float().sum().backward()
    assert half.grad.dtype == torch.bfloat16
    assert weight.grad.dtype == bias.grad.dtype == torch.float32
