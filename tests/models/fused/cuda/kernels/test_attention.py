import pytest
import torch
from torch import Tensor, nn

from hitsr.models.attention import Attention
from hitsr.models.fused.cuda.kernels import attention, attention_gradient
from hitsr.models.fused.cuda.kernels.attention import (
    attend_and_project,
    why_not,
    window_attention,
)
from hitsr.models.position import table_bias

DTYPES = (torch.float32, torch.float16, torch.bfloat16)
# c, heads, window, shift, fold; then b, h, w
CASES = {
    "one-wide heads": ((4, 4, 4, 1, 1), (1, 8, 4)),
    "SwinIR-Light": ((60, 6, 8, 4, 1), (1, 8, 8)),
    "7x7 cells": ((36, 6, 7, 0, 1), (2, 7, 14)),
    "SwinIR-M's heads": ((60, 2, 8, 0, 1), (1, 8, 8)),
    "5x5 cells, odd shift": ((24, 2, 10, 3, 2), (2, 10, 10)),
    "SRFormer-Light": ((60, 6, 16, 8, 2), (1, 16, 16)),
    "9x9 cells of 2x2": ((8, 1, 18, 9, 2), (1, 18, 18)),
    "cells of 4x4": ((32, 2, 8, 3, 4), (1, 8, 8)),
    "64-wide heads, 12x12 cells": ((64, 1, 12, 6, 1), (1, 12, 12)),
    "16x16 cells": ((10, 1, 16, 8, 1), (1, 16, 16)),
}


IN_EACH_TYPE = ("one-wide heads", "5x5 cells, odd shift", "SwinIR-M's heads")
INPUTS = [
    *((case, torch.float32) for case in CASES),
    *((case, dtype) for case in IN_EACH_TYPE for dtype in DTYPES[1:]),
]


def _mixer(c: int, heads: int, window: int, shift: int, fold: int, positions: bool) -> Attention:
    """Attention of qkv features that were made already, and without a projection, in float64."""
    mixer = Attention(c, heads, window, shift, fold, None, "paper", positions).double()
    mixer.qkv, mixer.proj = nn.Identity(), nn.Identity()
    if positions:
        nn.init.normal_(mixer.bias_table)
    return mixer


def _inputs(case: str, dtype: torch.dtype, device: torch.device) -> tuple[Attention, Tensor]:
    """The mixer of a case, and qkv; both rounded to dtype, but float64."""
    sizes, (b, h, w) = CASES[case]
    torch.manual_seed(0)
    mixer = _mixer(*sizes, positions=True).to(device)
    mixer.bias_table.data = mixer.bias_table.data.to(dtype).double()
    qkv = 1.5 * torch.randn(b, h, w, sum(mixer.widths))
    return mixer, qkv.to(device, dtype).double()


def _bias(mixer: Attention, dtype: torch.dtype) -> Tensor:
    return table_bias(mixer.bias_table, mixer.window // mixer.fold, 1).to(dtype)


def _attended(mixer: Attention, qkv: Tensor, bias: Tensor | None) -> Tensor:
    sizes = {"window": mixer.window, "shift": mixer.shift, "fold": mixer.fold}
    return window_attention(qkv, bias, heads=mixer.heads, **sizes)


def _error(dtype: torch.dtype, qkv: Tensor) -> float:
    """Of mixed values: weights and sums are rounded to dtype, and scores are inexact too."""
    return (2 * torch.finfo(dtype).eps + 2e-6) * float(qkv.abs().max())


@torch.no_grad()
@pytest.mark.parametrize(("case", "dtype"), INPUTS)
def test_attention_is_that_of_the_paper(case: str, dtype: torch.dtype, device: torch.device):
    mixer, qkv = _inputs(case, dtype, device)
    found = _attended(mixer, qkv.to(dtype), _bias(mixer, dtype))
    assert found.dtype == dtype
    assert (found - mixer(qkv)).abs().max() < _error(dtype, qkv)


@torch.no_grad()
@pytest.mark.parametrize("fold", [1, 2])
def test_positions_may_be_missing_or_of_another_type(fold: int, device: torch.device):
    torch.manual_seed(0)
    without = _mixer(16, 2, 8, 2, fold, positions=False)
    qkv = torch.randn(1, 8, 8, sum(without.widths))
    found = _attended(without.to(device), qkv.to(device), None)
    assert (found - without(qkv.to(device).double())).abs().max() < _error(torch.float32, qkv)
    mixer = _mixer(16, 2, 8, 2, fold, positions=True).to(device)
    half = qkv.to(device).bfloat16()
    found = _attended(mixer, half, _bias(mixer, torch.float32))
    assert (found - mixer(half.double())).abs().max() < _error(torch.bfloat16, qkv)


@torch.no_grad()
@pytest.mark.parametrize(
    ("case", "dtype", "x_dtype"),
    [
        *(("one-wide heads", dtype, x_dtype) for dtype in DTYPES for x_dtype in DTYPES),
        ("5x5 cells, odd shift", torch.float16, torch.float32),
        ("SRFormer-Light", torch.float32, torch.float32),
    ],
)
def test_projection_and_residual_are_pytorchs(
    case: str, dtype: torch.dtype, x_dtype: torch.dtype, device: torch.device
):
    mixer, qkv = _inputs(case, dtype, device)
    proj = nn.Linear(mixer.widths[0], mixer.widths[0], device=device)
    x = torch.randn(*qkv.shape[:3], mixer.widths[0], device=device).to(x_dtype)
    sizes = {"window": mixer.window, "shift": mixer.shift, "fold": mixer.fold}
    found = attend_and_project(
        qkv.to(dtype), _bias(mixer, dtype), proj, x, heads=mixer.heads, **sizes, dtype=dtype
    )
    exact = x.double() + proj.double()(mixer(qkv))
    assert found.dtype == x_dtype
    # Weights of a fresh layer are below 1 / sqrt(c), and errors of c channels add up at random.
    tolerance = 2 * _error(dtype, qkv) + torch.finfo(x_dtype).eps * float(exact.abs().max())
    assert (found - exact).abs().max() < tolerance


def _check_gradients(mixer: Attention, qkv: Tensor, dtype: torch.dtype) -> None:
    """Those of qkv, and of biases if there are any, against float64 ones."""
    wide, narrow = qkv.clone().requires_grad_(), qkv.to(dtype).requires_grad_()
    grad = torch.randn(*qkv.shape[:3], mixer.widths[0], device=qkv.device).to(dtype)
    mixer(wide).backward(grad.double())
    # Scores of a token that is separate from all keys, near -100, are exact to 4e-6.
    tolerance = 3 * torch.finfo(dtype).eps + 5e-6
    bias = None
    if mixer.bias_table is not None:
        bias = _bias(mixer, dtype).detach().requires_grad_()
    _attended(mixer, narrow, bias).backward(grad)
    assert narrow.grad.dtype == dtype
    for part, exact in zip(narrow.grad.split(mixer.widths, -1), wide.grad.split(mixer.widths, -1)):
        assert (part - exact).norm() < tolerance * exact.norm()
    if bias is not None:
        assert bias.grad.dtype == dtype
        table = torch.zeros_like(mixer.bias_table).requires_grad_()
        table_bias(table, mixer.window // mixer.fold, 1).backward(bias.grad.double())
        exact = mixer.bias_table.grad
        assert (table.grad - exact).norm() < tolerance * exact.norm()


@pytest.mark.parametrize(("case", "dtype"), INPUTS)
def test_gradients_are_those_of_the_paper(case: str, dtype: torch.dtype, device: torch.device):
    _check_gradients(*_inputs(case, dtype, device), dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("many", [True, False])
def test_programs_may_share_any_number_of_windows_and_heads(
    many: bool, dtype: torch.dtype, device: torch.device, monkeypatch: pytest.MonkeyPatch
):
    """A large picture has programs that take all heads, or windows in turn, the last one fewer."""
    monkeypatch.setattr(attention, "_MANY", 1)
    monkeypatch.setattr(attention_gradient, "_PROGRAMS", 4 if many else 1)
    torch.manual_seed(0)
    mixer = _mixer(12, 2, 4, 2, 1, positions=True).to(device)
    mixer.bias_table.data = mixer.bias_table.data.to(dtype).double()
    qkv = torch.randn(1, 4, 12, 36, device=device).to(dtype).double()
    _check_gradients(mixer, qkv, dtype)


def test_gradients_need_no_positions_and_are_of_what_is_asked_for(device: torch.device):
    torch.manual_seed(0)
    qkv = torch.randn(1, 8, 8, 24, device=device, dtype=torch.float64)
    _check_gradients(_mixer(16, 2, 8, 2, 2, positions=False).to(device), qkv, torch.float32)
    mixer = _mixer(16, 2, 8, 2, 2, positions=True).to(device)
    x, bias = qkv.float().requires_grad_(), _bias(mixer, torch.float32).detach().requires_grad_()
    both = torch.autograd.grad(_attended(mixer, x, bias).square().sum(), (x, bias))
    (of_x,) = torch.autograd.grad(_attended(mixer, x, bias.detach()).square().sum(), x)
    (of_bias,) = torch.autograd.grad(_attended(mixer, x.detach(), bias).square().sum(), bias)
    torch.testing.assert_close((of_x, of_bias), both)


@pytest.mark.parametrize(
    ("c", "sizes", "reason"),
    [
        (60, {"heads": 6, "window": 8}, None),
        (180, {"heads": 6, "window": 24, "fold": 2}, None),
        (60, {"heads": 6, "window": 32}, "windows of 32x32 cells, more than 16x16"),
        (130, {"heads": 2, "window": 8}, "65 channels of a head, more than 64"),
        (180, {"heads": 6, "window": 8, "projected": True}, "180 channels, more than 64"),
    ],
)
def test_sizes_beyond_the_limits_are_named(c: int, sizes: dict, reason: str | None):
    assert why_not(torch.empty(1, 96, 96, c, device="meta"), **sizes) == reason


def test_places_beyond_32_bits_are_named():
    x = torch.empty(8, 1280, 2**12, 60, device="meta")
    assert why_not(x, heads=6, window=8) == "more values than 32 bits count"
    assert why_not(x[:4, :640], heads=6, window=8) is None
