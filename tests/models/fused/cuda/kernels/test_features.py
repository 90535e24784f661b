"""The oracle is the paper formulation in float64, and its autograd."""

import copy

import pytest
import torch
from torch import Tensor

from hitsr.models.correlation import DualFeatures
from hitsr.models.fused.cuda.kernels import features as kernels
from hitsr.models.fused.cuda.kernels.features import dual_features, why_not

DTYPES = (torch.float32, torch.float16, torch.bfloat16)
ROUNDING = {torch.float32: 1e-5, torch.float16: 4e-3, torch.bfloat16: 3e-2}


def _module(width: int, device: torch.device) -> DualFeatures:
    """Biases matter, and half of the leaky values are below zero."""
    torch.manual_seed(0)
    module = DualFeatures(width, "dual", "paper")
    with torch.no_grad():
        for parameter in module.parameters():
            fan_in = parameter[0].numel() if parameter.dim() > 1 else 4
            parameter.copy_(torch.randn_like(parameter) / fan_in**0.5)
    return module.to(device)


def _check(module: DualFeatures, x: Tensor, dtype: torch.dtype, tolerance: float) -> Tensor:
    """The result; it and all gradients are the paper's, to a part of the largest value of each."""
    wide, wide_x = copy.deepcopy(module).double(), x.double().requires_grad_()
    x = x.requires_grad_()
    found, exact = dual_features(x, module, dtype), wide(wide_x)
    assert _error(found, exact) < tolerance
    grad = torch.randn_like(found)
    names = ["x", *(name for name, _ in module.named_parameters())]
    inputs = [x, *module.parameters()]
    gradients = torch.autograd.grad(found, inputs, grad)
    assert [each.dtype for each in gradients] == [each.dtype for each in inputs]
    exact_gradients = torch.autograd.grad(exact, [wide_x, *wide.parameters()], grad.double())
    errors = {
        name: _error(*pair) for name, *pair in zip(names, gradients, exact_gradients, strict=True)
    }
    assert max(errors.values()) < tolerance, errors
    return found


def _error(found: Tensor, exact: Tensor) -> float:
    found, exact = found.detach().double(), exact.detach()
    return float((found - exact).abs().max() / exact.abs().max())


@pytest.mark.parametrize("width", [60, 64, 36, 10])
@pytest.mark.parametrize("shape", [(2, 9, 11), (1, 1, 5), (1, 8, 16)])
def test_result_and_gradients_are_the_papers(
    width: int, shape: tuple[int, ...], device: torch.device
):
    module = _module(width, device)
    x = torch.randn(*shape, width, device=device)
    assert why_not(module, x) is None
    _check(module, x, torch.float32, 1e-5)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("x_dtype", DTYPES)
@pytest.mark.parametrize("weight_dtype", DTYPES)
def test_each_tensor_may_have_its_own_dtype(
    x_dtype: torch.dtype, weight_dtype: torch.dtype, dtype: torch.dtype, device: torch.device
):
    module = _module(20, device)
    # Rounding must not move a value beyond zero, where the slope changes.
    with torch.no_grad():
        module.spatial.weight *= 0.2
        for layer in (module.squeeze, module.spatial):
            layer.bias.copy_(torch.tensor([4.0, -4.0, 5.0, -5.0]))
    module = module.to(weight_dtype)
    x = torch.randn(1, 5, 6, 20, device=device).to(x_dtype)
    tolerance = max(ROUNDING[each] for each in (dtype, x_dtype, weight_dtype))
    found = _check(module, x, dtype, tolerance)
    assert found.dtype == (torch.float32 if dtype == torch.float16 else dtype)


def test_programs_sum_shares_of_any_number_of_pixels(
    device: torch.device, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(kernels, "_PROGRAMS", 2)
    module = _module(20, device)
    _check(module, torch.randn(1, 13, 20, 20, device=device), torch.float32, 1e-5)


def test_features_beyond_float16_are_kept(device: torch.device):
    module = _module(20, device).half()
    x = 3000 * torch.randn(1, 4, 5, 20, device=device).half()
    exact = copy.deepcopy(module).double()(x.double())
    found = dual_features(x, module, torch.float16)
    assert exact.abs().max() > 1e6
    assert _error(found, exact) < 4e-3


@pytest.mark.parametrize(
    ("width", "kind", "reason"),
    [
        (60, "conv", "features of the conv branch alone"),
        (60, "linear", "features of the linear branch alone"),
        (180, "dual", "180 channels, more than 64"),
    ],
)
def test_limits_have_reasons(width: int, kind: str, reason: str):
    x = torch.empty(1, 4, 4, width, device="meta")
    assert why_not(DualFeatures(width, kind), x) == reason
