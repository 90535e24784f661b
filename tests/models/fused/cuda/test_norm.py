from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from hitsr.models.fused.cuda.norm import layer_norm
from hitsr.runtime import trials
from hitsr.runtime.trials import fastest


def _norm(dtype: torch.dtype) -> nn.LayerNorm:
    torch.manual_seed(0)
    norm = nn.LayerNorm(60)
    for parameter in norm.parameters():
        nn.init.normal_(parameter)
    return norm.to(dtype)


@pytest.fixture(autouse=True)
def _by_reductions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "hitsr.models.fused.cuda.norm.fastest", lambda _, ways, __: ways["reductions"]
    )


@pytest.mark.parametrize(("mean", "spread"), [(0, 1), (1000, 1), (0, 1e-4), (0, 1e12)])
def test_reductions_are_pytorchs_norm_to_rounding(mean: float, spread: float):
    norm = _norm(torch.float32)
    x = mean + spread * torch.randn(2, 5, 7, 60)
    exact = F.layer_norm(x.double(), (60,), norm.weight.double(), norm.bias.double())
    error, own = ((found - exact).abs().max() for found in (layer_norm(norm, x), norm(x)))
    assert error < 3 * own


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize(("mean", "spread"), [(0, 1), (100, 0.5), (0, 1000)])
def test_statistics_of_half_precision_are_float32(mean: float, spread: float, dtype: torch.dtype):
    """In float16, squares of 1000 are infinite; at a mean of 100 its steps are 0.06."""
    norm = _norm(dtype)
    x = (mean + spread * torch.randn(64, 60)).to(dtype)
    exact = F.layer_norm(x.double(), (60,), norm.weight.double(), norm.bias.double())
    found = layer_norm(norm, x)
    assert found.dtype == dtype
    torch.testing.assert_close(found, exact.to(dtype), rtol=torch.finfo(dtype).eps, atol=1e-4)


def test_features_wider_than_the_weights_come_back_in_the_dtype_of_these():
    norm = _norm(torch.float16)
    x = 1e12 * torch.randn(8, 60)
    found = layer_norm(norm, x)
    assert found.dtype == torch.float16
    torch.testing.assert_close(found.float(), norm.float()(x), rtol=2e-3, atol=2e-3)


def test_gradients_are_those_of_finite_differences():
    norm = nn.LayerNorm(6).double()
    for parameter in norm.parameters():
        nn.init.normal_(parameter)
    x = torch.randn(3, 2, 6, dtype=torch.float64, requires_grad=True)
    inputs = (x, norm.weight, norm.bias)

    def normed(x: torch.Tensor, *_: torch.Tensor) -> torch.Tensor:
        return layer_norm(norm, x)

    assert torch.autograd.gradcheck(normed, inputs)


def test_gradients_in_bfloat16_are_float32s_rounded():
    norm = _norm(torch.float32)
    x = torch.randn(512, 60).bfloat16()
    found = []
    for dtype in (torch.float32, torch.bfloat16):
        norm.to(dtype).zero_grad()
        given = x.to(dtype).requires_grad_()
        layer_norm(norm, given).float().square().sum().backward()
        found.append([grad.float() for grad in (given.grad, norm.weight.grad, norm.bias.grad)])
    for wide, narrow in zip(*found, strict=True):
        assert (wide - narrow).abs().max() < 0.03 * wide.abs().max()


def test_each_of_the_nested_choices_is_tried_once(monkeypatch: pytest.MonkeyPatch):
    """Of a kernel and PyTorch's operators; and of the two ways that these have."""
    kernels = pytest.importorskip("hitsr.models.fused.cuda.kernels.norm")
    launched: list[int] = []

    def slow(x: torch.Tensor, *rest: torch.Tensor, eps: float, dtype: torch.dtype) -> torch.Tensor:
        launched.append(1)
        return F.layer_norm(x, x.shape[-1:], *rest, eps).to(dtype)

    timed: list[int] = []

    def timer(run: Callable[[], object], _: torch.device) -> float:
        before = len(launched)
        run()
        timed.append(1)
        return 2.0 if len(launched) > before else 1.0

    monkeypatch.setattr(kernels, "layer_norm", slow)
    monkeypatch.setattr(trials, "_chosen", {})
    monkeypatch.setattr(trials, "_misfits", {})
    monkeypatch.setattr("hitsr.models.fused.cuda.choice.why_not", lambda _: None)
    for module in ("choice", "norm"):
        chosen_by = partial(fastest, timer=timer)
        monkeypatch.setattr(f"hitsr.models.fused.cuda.{module}.fastest", chosen_by)
    norm, x = _norm(torch.float32), torch.randn(8, 60)
    with torch.inference_mode():
        layer_norm(norm, x)
        tried, made = len(timed), len(launched)
        layer_norm(norm, x)
    assert (len(timed), len(launched)) == (tried, made)
    assert {*trials.chosen(x.device).values()} >= {"without this kernel"}
