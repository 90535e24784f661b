from collections.abc import Callable
from copy import deepcopy
from functools import partial

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hitsr.models.fused.cuda.kernels import conv_ffn
from hitsr.models.fused.cuda.kernels.conv_ffn import conv_branch, why_not

DTYPES = (torch.float32, torch.float16, torch.bfloat16)


def _layers(
    c: int, hidden: int, k: int, device: torch.device, dtype: torch.dtype = torch.float32
) -> list[nn.Module]:
    """A norm and three layers whose branch weighs as much as the residual."""
    torch.manual_seed(0)
    norm, expand, reduce = nn.LayerNorm(c), nn.Linear(c, hidden), nn.Linear(hidden, c)
    depthwise = nn.Conv2d(hidden, hidden, k, padding=k // 2, groups=hidden)
    with torch.no_grad():
        norm.weight.copy_(1 + 0.3 * torch.randn(c))
        norm.bias.copy_(0.3 * torch.randn(c))
        for layer, inputs in ((expand, c), (depthwise, k * k), (reduce, hidden)):
            layer.weight.copy_(1.5 * torch.randn_like(layer.weight) / inputs**0.5)
            layer.bias.copy_(0.5 * torch.randn_like(layer.bias))
    return [each.to(device, dtype) for each in (norm, expand, depthwise, reduce)]


def _exact(x: Tensor, layers: list[nn.Module], norm_after: bool, residual: bool = True) -> Tensor:
    return _branch(x.double(), *(deepcopy(each).double() for each in layers), norm_after, residual)


def _branch(x, norm, expand, depthwise, reduce, norm_after, residual=True) -> Tensor:
    hidden = F.gelu(expand(x if norm_after else norm(x)))
    convolved = depthwise(hidden.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
    out = reduce(hidden + F.gelu(convolved))
    out = norm(out) if norm_after else out
    return x + out if residual else out


@pytest.mark.parametrize("norm_after", [False, True])
@pytest.mark.parametrize(
    ("c", "ratio", "k", "shape"),
    [(60, 2, 5, (1, 5, 3)), (36, 2, 3, (2, 1, 17)), (48, 1, 7, (1, 4, 2)), (64, 2, 1, (1, 1, 1))],
)
def test_branch_is_the_papers_in_float32(
    c: int, ratio: int, k: int, shape: tuple[int, ...], norm_after: bool, device: torch.device
):
    layers = _layers(c, c * ratio, k, device)
    x = torch.randn(*shape, c, device=device)
    found = conv_branch(x, *layers, norm_after=norm_after)
    torch.testing.assert_close(found.double(), _exact(x, layers, norm_after), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("x_dtype", "dtype", "norm_after"),
    [
        (torch.float16, torch.float16, False),
        (torch.bfloat16, torch.bfloat16, True),
        (torch.float32, torch.bfloat16, False),  # autocast
    ],
)
def test_features_and_products_may_have_their_own_dtypes(
    x_dtype: torch.dtype, dtype: torch.dtype, norm_after: bool, device: torch.device
):
    layers = _layers(60, 120, 5, device)
    x = torch.randn(1, 3, 4, 60, device=device).to(x_dtype)
    found = conv_branch(x, *layers, norm_after=norm_after, residual=False, dtype=dtype)
    assert found.dtype == x_dtype
    exact = _exact(x, layers, norm_after, residual=False)
    error = torch.finfo(dtype).eps
    torch.testing.assert_close(found.double(), exact, rtol=error, atol=5 * error)


@pytest.mark.parametrize("norm_after", [False, True])
@pytest.mark.parametrize(
    ("c", "ratio", "k", "shape", "residual"),
    [(36, 1, 5, (1, 5, 3), True), (16, 1, 7, (1, 1, 17), False), (60, 1, 3, (2, 2, 2), True)],
)
def test_gradients_are_those_of_float64(
    c: int,
    ratio: int,
    k: int,
    shape: tuple[int, ...],
    residual: bool,
    norm_after: bool,
    device: torch.device,
    monkeypatch: pytest.MonkeyPatch,
    with_exact_gradients: Callable,
):
    monkeypatch.setattr(conv_ffn, "_SHARES", 1)  # so that programs have several tiles
    layers = _layers(c, c * ratio, k, device)
    x = torch.randn(*shape, c, device=device).requires_grad_()
    grad = torch.randn(*shape, c, device=device)
    conv_branch(x, *layers, norm_after=norm_after, residual=residual).backward(grad)
    branch = partial(_branch, norm_after=norm_after, residual=residual)
    for found, exact in with_exact_gradients(branch, x, layers, grad):
        torch.testing.assert_close(found.double(), exact, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("x_dtype", "parameters", "dtype", "norm_after"),
    [
        (torch.float32, torch.float32, torch.bfloat16, True),  # autocast
        (torch.float16, torch.float16, torch.float16, False),
    ],
)
def test_gradients_have_the_types_of_what_they_are_for(
    x_dtype: torch.dtype,
    parameters: torch.dtype,
    dtype: torch.dtype,
    norm_after: bool,
    device: torch.device,
    with_exact_gradients: Callable,
):
    layers = _layers(60, 120, 5, device, parameters)
    x = torch.randn(1, 4, 5, 60, device=device).to(x_dtype).requires_grad_()
    grad = torch.randn(1, 4, 5, 60, device=device).to(x_dtype)
    conv_branch(x, *layers, norm_after=norm_after, dtype=dtype).backward(grad)
    branch = partial(_branch, norm_after=norm_after)
    wanted = [x_dtype] + [parameters] * 8
    pairs = with_exact_gradients(branch, x, layers, grad)
    for (found, exact), type_ in zip(pairs, wanted, strict=True):
        assert found.dtype == type_
        error = (found.double() - exact).norm() / exact.norm()
        assert error < 2 * torch.finfo(dtype).eps


def test_frozen_parameters_have_no_gradients(device: torch.device):
    layers = _layers(16, 16, 3, device)
    for layer in layers:
        layer.requires_grad_(False)
    x = torch.randn(1, 2, 2, 16, device=device).requires_grad_()
    conv_branch(x, *layers, norm_after=True).sum().backward()
    assert x.grad is not None
    assert all(each.grad is None for layer in layers for each in layer.parameters())


def test_limits_have_reasons(device: torch.device):
    x = torch.zeros(1, 2, 2, 60, device=device)
    norm, expand, depthwise, reduce = _layers(60, 120, 5, device)
    assert why_not(x, norm, expand, depthwise, reduce) is None
    layers = _layers(60, 240, 5, device)
    assert why_not(x, *layers) == "240 hidden features, more than 128"
    wide = torch.zeros(1, 2, 2, 66, device=device)
    assert why_not(wide, *_layers(66, 66, 5, device)) == "66 channels, more than 64"
    for other in (
        nn.Conv2d(120, 120, 5, groups=120),
        nn.Conv2d(120, 120, 5, padding=2, groups=60),
        nn.Conv2d(120, 120, 5, padding=4, dilation=2, groups=120),
        nn.Conv2d(120, 120, 4, padding=2, groups=120),
        nn.Conv2d(120, 120, (5, 3), padding=(2, 1), groups=120),
        nn.Conv2d(120, 120, 5, padding=2, groups=120, padding_mode="reflect"),
    ):
        reason = why_not(x, norm, expand, other, reduce)
        assert reason == "a convolution that is not depthwise, or not over a padded odd square"
