from collections.abc import Callable
from copy import deepcopy
from functools import partial

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hitsr.models.fused.cuda.kernels import mlp
from hitsr.models.fused.cuda.kernels.mlp import mlp_branch, why_not

DTYPES = (torch.float32, torch.float16, torch.bfloat16)


def _layers(c: int, hidden: int, device: torch.device, dtype: torch.dtype = torch.float32):
    """A norm and two layers whose branch weighs as much as the residual."""
    torch.manual_seed(0)
    norm, expand, reduce = nn.LayerNorm(c), nn.Linear(c, hidden), nn.Linear(hidden, c)
    with torch.no_grad():
        norm.weight.copy_(1 + 0.3 * torch.randn(c))
        norm.bias.copy_(0.3 * torch.randn(c))
        for layer in (expand, reduce):
            layer.weight.copy_(1.5 * torch.randn_like(layer.weight) / layer.in_features**0.5)
            layer.bias.copy_(0.5 * torch.randn_like(layer.bias))
    return [each.to(device, dtype) for each in (norm, expand, reduce)]


def _exact(x: Tensor, layers: list[nn.Module], norm_after: bool, residual: bool = True) -> Tensor:
    norm, expand, reduce = (deepcopy(each).double() for each in layers)
    return _branch(x.double(), norm, expand, reduce, norm_after, residual)


def _branch(x, norm, expand, reduce, norm_after, residual=True) -> Tensor:
    taken = x if norm_after else norm(x)
    out = reduce(F.gelu(expand(taken)))
    out = norm(out) if norm_after else out
    return x + out if residual else out


@pytest.mark.parametrize("norm_after", [False, True])
@pytest.mark.parametrize(
    ("c", "ratio", "shape"),
    [(60, 2, (1, 9, 8)), (64, 2, (3,)), (48, 4, (2, 5, 7)), (36, 2, (33,)), (60, 4, (1,))],
)
def test_branch_is_the_papers_in_float32(
    c: int, ratio: int, shape: tuple[int, ...], norm_after: bool, device: torch.device
):
    layers = _layers(c, c * ratio, device)
    x = torch.randn(*shape, c, device=device)
    found = mlp_branch(x, *layers, norm_after=norm_after)
    torch.testing.assert_close(found.double(), _exact(x, layers, norm_after), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("norm_after", [False, True])
@pytest.mark.parametrize("x_dtype", DTYPES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_features_and_products_may_have_their_own_dtypes(
    x_dtype: torch.dtype, dtype: torch.dtype, norm_after: bool, device: torch.device
):
    layers = _layers(60, 120, device, dtype)
    x = torch.randn(2, 3, 60, device=device).to(x_dtype)
    found = mlp_branch(x, *layers, norm_after=norm_after, residual=False, dtype=dtype)
    assert found.dtype == x_dtype
    error = max(torch.finfo(each).eps for each in (dtype, x_dtype))
    exact = _exact(x, layers, norm_after, residual=False)
    torch.testing.assert_close(found.double(), exact, rtol=error, atol=max(1e-5, 4 * error))


@pytest.mark.parametrize("norm_after", [False, True])
@pytest.mark.parametrize(
    ("c", "ratio", "rows", "residual"), [(60, 2, 70, True), (36, 4, 33, False), (16, 1, 1, True)]
)
def test_gradients_are_those_of_float64(
    c: int,
    ratio: int,
    rows: int,
    residual: bool,
    norm_after: bool,
    device: torch.device,
    monkeypatch: pytest.MonkeyPatch,
    with_exact_gradients: Callable,
):
    monkeypatch.setattr(mlp, "_PROGRAMS", 2)  # so that a program has several blocks of rows
    monkeypatch.setattr(mlp, "_SHARES", 2)
    layers = _layers(c, c * ratio, device)
    x = torch.randn(rows, c, device=device).requires_grad_()
    grad = torch.randn(rows, c, device=device)
    mlp_branch(x, *layers, norm_after=norm_after, residual=residual).backward(grad)
    branch = partial(_branch, norm_after=norm_after, residual=residual)
    for found, exact in with_exact_gradients(branch, x, layers, grad):
        torch.testing.assert_close(found.double(), exact, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("norm_after", [False, True])
@pytest.mark.parametrize(
    ("x_dtype", "parameters", "dtype"),
    [
        (torch.float32, torch.float32, torch.bfloat16),  # autocast
        (torch.bfloat16, torch.bfloat16, torch.bfloat16),
        (torch.float16, torch.float16, torch.float16),
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
    layers = _layers(60, 120, device, parameters)
    x = torch.randn(40, 60, device=device).to(x_dtype).requires_grad_()
    grad = torch.randn(40, 60, device=device).to(x_dtype)
    mlp_branch(x, *layers, norm_after=norm_after, dtype=dtype).backward(grad)
    branch = partial(_branch, norm_after=norm_after)
    wanted = [x_dtype] + [parameters] * 6
    pairs = with_exact_gradients(branch, x, layers, grad)
    for (found, exact), type_ in zip(pairs, wanted, strict=True):
        assert found.dtype == type_
        error = (found.double() - exact).norm() / exact.norm()
        assert error < 2 * torch.finfo(dtype).eps


def test_frozen_parameters_have_no_gradients(device: torch.device):
    layers = _layers(60, 120, device)
    for layer in layers:
        layer.requires_grad_(False)
    x = torch.randn(5, 60, device=device).requires_grad_()
    mlp_branch(x, *layers, norm_after=False).sum().backward()
    assert x.grad is not None
    assert all(each.grad is None for layer in layers for each in layer.parameters())


def test_limits_have_reasons(device: torch.device):
    x = torch.zeros(2, 60, device=device)
    assert why_not(x, *_layers(60, 240, device)) is None
    assert why_not(x, *_layers(60, 300, device)) == "300 hidden features, more than 256"
    wide = torch.zeros(2, 66, device=device)
    assert why_not(wide, *_layers(66, 132, device)) == "66 channels, more than 64"
    unbiased = nn.Linear(60, 120, bias=False)
    norm, _, reduce = _layers(60, 120, device)
    assert why_not(x, norm, unbiased, reduce) == "layers without biases"
