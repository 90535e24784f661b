import copy
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from hitsr.models.fused import backend
from hitsr.models.fused.cuda import choice
from hitsr.models.fused.cuda.kernels.neighbours import context_of
from hitsr.models.ngram import NgramContext


def _module(c: int, heads: int, device: torch.device) -> NgramContext:
    """A context whose every part shows in the result."""
    torch.manual_seed(0)
    module = NgramContext(c, heads, 8, 2, False, "paper")
    for layer in (module.qkv, module.proj, module.merge):
        layer.weight.data = 2 * c**-0.5 * torch.randn(layer.weight.shape)
        layer.bias.data = torch.randn(layer.bias.shape)
    module.bias_table.data = torch.randn(module.bias_table.shape)
    return module.to(device)


@pytest.mark.parametrize(
    ("c", "heads", "shape"),
    [
        (60, 6, (2, 3, 4)),
        (60, 5, (1, 1, 1)),
        (60, 3, (3, 1, 5)),
        (36, 9, (1, 4, 1)),
        (12, 1, (2, 2, 2)),
    ],
)
def test_context_and_its_gradients_are_those_of_float64(
    c: int, heads: int, shape: tuple[int, ...], device: torch.device
):
    module = _module(c, heads, device)
    wide = copy.deepcopy(module).double()
    x = torch.randn(*shape, c // 2, device=device, requires_grad=True)
    wide_x = x.detach().double().requires_grad_()
    grad = torch.randn(*shape, c, device=device)
    exact, found = wide.context_of(wide_x), context_of(module, x)
    torch.testing.assert_close(found.double(), exact, rtol=1e-5, atol=1e-5)
    exact.backward(grad.double())
    found.backward(grad)
    torch.testing.assert_close(x.grad.double(), wide_x.grad, rtol=2e-5, atol=5e-5)
    pairs = zip(module.named_parameters(), wide.parameters(), strict=True)
    for (name, one), other in pairs:
        if not name.startswith("embed"):
            torch.testing.assert_close(one.grad.double(), other.grad, rtol=2e-5, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_rounds_between_layers_alone(dtype: torch.dtype, device: torch.device):
    module = _module(60, 6, device).to(dtype)
    wide = copy.deepcopy(module).double()
    x = torch.randn(2, 3, 3, 30, device=device).to(dtype).requires_grad_()
    wide_x = x.detach().double().requires_grad_()
    exact, found = wide.context_of(wide_x), context_of(module, x)
    exact.sum().backward()
    found.sum().backward()
    assert found.dtype == x.grad.dtype == dtype
    for one, other in ((found, exact), (x.grad, wide_x.grad)):
        assert (one - other).abs().max() < 8 * torch.finfo(dtype).eps * other.abs().max()


def test_trainings_go_through_the_kernels(device: torch.device):
    module = _module(12, 2, device)
    module.formulation = "fused"
    wide = copy.deepcopy(module).double()
    wide.formulation = "paper"
    x = torch.randn(1, 16, 8, 12, device=device, requires_grad=True)
    wide_x = x.detach().double().requires_grad_()
    with backend.forced("cuda"), choice.only("kernel"):
        found = module(x)
    assert {"_AttendedBackward", "_UnigramsBackward"} <= set(_steps(found.grad_fn))
    exact = wide(wide_x)
    torch.testing.assert_close(found.double(), exact, rtol=1e-5, atol=1e-5)
    found.sum().backward()
    exact.sum().backward()
    torch.testing.assert_close(x.grad.double(), wide_x.grad, rtol=2e-5, atol=5e-5)


def _steps(step: Any) -> Iterator[str]:
    """Names of a gradient's steps."""
    yield step.name()
    for before, _ in step.next_functions:
        if before is not None:
            yield from _steps(before)
