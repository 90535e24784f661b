"""Layer norm of rows of channels, and its gradient; statistics in float32.

Shapes: r rows, c channels.
"""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable

from hitsr.models.fused.cuda.kernels.common import (
    channels,
    norm_gradient,
    normed,
    unit_rows,
)
from hitsr.models.fused.cuda.kernels.launch import launch

MOST_CHANNELS = 1024
_VALUES = 1024  # rows x channels of one program
_PROGRAMS = 512  # of the gradient, each of which sums its rows' share of the parameters' gradients


@triton.jit(do_not_specialize=["rows"])
def _norm(
    x_p, weight_p, bias_p, y_p, rows, eps, C: tl.constexpr, CP: tl.constexpr, R: tl.constexpr
):
    r = tl.program_id(0) * R + tl.arange(0, R)
    c = tl.arange(0, CP)
    real = (r < rows)[:, None] & (c < C)[None, :]
    at = r[:, None] * C + c[None, :]
    x = tl.load(x_p + at, mask=real, other=0.0).to(tl.float32)
    y = normed(x, c < C, channels(weight_p, C, CP), channels(bias_p, C, CP), eps, C)
    tl.store(y_p + at, y.to(y_p.dtype.element_ty), mask=real)


@triton.jit(do_not_specialize=["rows", "blocks"])
def _norm_gradient(
    x_p, weight_p, grad_p, to_x_p, to_parameters_p, rows, blocks, eps,
    C: tl.constexpr, CP: tl.constexpr, R: tl.constexpr,
):  # fmt: skip
    program = tl.program_id(0)
    c = tl.arange(0, CP)
    weight = channels(weight_p, C, CP)
    to_weight = tl.zeros((CP,), tl.float32)
    to_bias = tl.zeros((CP,), tl.float32)
    for block in range(program, blocks, tl.num_programs(0)):
        r = block * R + tl.arange(0, R)
        real = (r < rows)[:, None] & (c < C)[None, :]
        at = r[:, None] * C + c[None, :]
        x = tl.load(x_p + at, mask=real, other=0.0).to(tl.float32)
        grad = tl.load(grad_p + at, mask=real, other=0.0).to(tl.float32)
        unit, scale = unit_rows(x, c < C, eps, C)
        to_x = norm_gradient(grad * weight[None, :], unit, scale, C)
        tl.store(to_x_p + at, to_x.to(to_x_p.dtype.element_ty), mask=real)
        to_weight += tl.sum(grad * unit, 0)
        to_bias += tl.sum(grad, 0)
    place = to_parameters_p + program * 2 * CP + c
    tl.store(place, to_weight)
    tl.store(place + CP, to_bias)


def layer_norm(
    x: Tensor, weight: Tensor, bias: Tensor, eps: float, dtype: torch.dtype | None = None
) -> Tensor:
    """`F.layer_norm` over the last dimension, at most 1024 channels: (..., c), in `dtype`.

    x and the parameters may have any of the types of `launch.DTYPES`, each its own. Differentiable.
    """
    out: Tensor = _Norm.apply(x, weight, bias, eps, dtype or x.dtype)
    return out


def _sizes(x: Tensor) -> tuple[int, int, dict[str, int]]:
    """Rows, blocks of rows, and the kernels' constants."""
    c = x.shape[-1]
    columns = max(16, triton.next_power_of_2(c))
    block = max(1, _VALUES // columns)
    rows = x.numel() // c
    return rows, triton.cdiv(rows, block), {"C": c, "CP": columns, "R": block}


class _Norm(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float, dtype: torch.dtype
    ) -> Tensor:
        x = x.contiguous()
        ctx.save_for_backward(x, weight)
        ctx.eps, ctx.bias_dtype = eps, bias.dtype
        y = torch.empty_like(x, dtype=dtype)
        rows, blocks, constants = _sizes(x)
        launch(_norm, (blocks,), (x, weight, bias, y), (rows, eps), **constants)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        to_x = torch.empty_like(x)
        rows, blocks, constants = _sizes(x)
        programs = min(blocks, _PROGRAMS)
        parts = torch.empty(programs, 2, constants["CP"], dtype=torch.float32, device=x.device)
        tensors = (x, weight, grad.contiguous(), to_x, parts)
        launch(_norm_gradient, (programs,), tensors, (rows, blocks, ctx.eps), **constants)
        to_weight, to_bias = parts.sum(0)[:, : x.shape[-1]]
        return to_x, to_weight.to(weight.dtype), to_bias.to(ctx.bias_dtype), None, None
