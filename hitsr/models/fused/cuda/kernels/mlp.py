"""The branch of a feed-forward network: layer norm, expand, GELU, reduce, residual, in one kernel.

Hidden features exist only in registers, a block of them at a time, and are computed again for the
gradients. These have two kernels. One, for x, takes all hidden features of a few rows. The other,
for the layers' weights, takes a few hidden features of many rows and sums in registers; sums for
all of them would leave no registers for anything else. Writing hidden features and their gradients
for PyTorch's matrix products would move more bytes: for a ratio of 2, writes and reads of four
times each what x has. The second kernel reads x and the gradient of y, again for each block of
hidden features, but from the cache.

Shapes: r rows, c channels, e hidden features.
"""

from collections.abc import Iterable
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from hitsr.models.fused.cuda.kernels.common import (
    TYPES,
    channels,
    gelu,
    gelu_slope,
    norm_gradient,
    normed,
    unit_rows,
)
from hitsr.models.fused.cuda.kernels.launch import fits, launch, product_of

MOST_CHANNELS = 64
MOST_HIDDEN = 256
# Rows, and hidden features, of one step. More of them, or loads ahead, take more registers than
# there are, above all for products of float32.
_BLOCK = 32
_FEW_ROWS = 64 * 132  # fewer leave some multiprocessors of a GPU without a tile of 64
_PROGRAMS = 512  # of the gradient of x, each of which sums its rows' share of three vectors
_SHARES = 64  # of the rows, each with its part of the weights' gradients


@triton.jit
def expanding(
    pointer, e, C: tl.constexpr, HIDDEN: tl.constexpr, CP: tl.constexpr, DT: tl.constexpr
):
    """Columns e of the transposed weight (HIDDEN, C) of the first layer: (CP, columns)."""
    c = tl.arange(0, CP)
    real = (c < C)[:, None] & (e < HIDDEN)[None, :]
    return tl.load(pointer + e[None, :] * C + c[:, None], mask=real, other=0.0).to(DT)


@triton.jit
def reducing(pointer, e, C: tl.constexpr, HIDDEN: tl.constexpr, CP: tl.constexpr, DT: tl.constexpr):
    """Rows e of the transposed weight (C, HIDDEN) of the second layer: (rows, CP)."""
    c = tl.arange(0, CP)
    real = (e < HIDDEN)[:, None] & (c < C)[None, :]
    return tl.load(pointer + c[None, :] * HIDDEN + e[:, None], mask=real, other=0.0).to(DT)


@triton.jit
def some(pointer, e, N: tl.constexpr):
    """Parameters e of a vector of N, as float32: zero beyond."""
    return tl.load(pointer + e, mask=e < N, other=0.0).to(tl.float32)


@triton.jit
def hidden_sum(
    x, expand_p, expand_bias_p, e, C: tl.constexpr, HIDDEN: tl.constexpr, CP: tl.constexpr,
    DT: tl.constexpr, PREC: tl.constexpr,
):  # fmt: skip
    """What the first layer makes of x (rows, CP): its outputs e, before GELU, in float32."""
    weight = expanding(expand_p, e, C, HIDDEN, CP, DT)
    return tl.dot(x, weight, input_precision=PREC) + some(expand_bias_p, e, HIDDEN)[None, :]


@triton.jit(do_not_specialize=["rows"])
def _mlp(
    x_p, norm_weight_p, norm_bias_p, expand_p, expand_bias_p, reduce_p, reduce_bias_p, y_p,
    rows, eps,
    C: tl.constexpr, CP: tl.constexpr, HIDDEN: tl.constexpr, E: tl.constexpr, R: tl.constexpr,
    AFTER: tl.constexpr, RESIDUAL: tl.constexpr, DT: tl.constexpr, PREC: tl.constexpr,
):  # fmt: skip
    r = tl.program_id(0) * R + tl.arange(0, R)
    c = tl.arange(0, CP)
    real = (r < rows)[:, None] & (c < C)[None, :]
    at = r[:, None] * C + c[None, :]
    x = tl.load(x_p + at, mask=real, other=0.0)
    norm_weight = channels(norm_weight_p, C, CP)
    norm_bias = channels(norm_bias_p, C, CP)
    if AFTER:
        taken = x.to(DT)
    else:
        taken = normed(x.to(tl.float32), c < C, norm_weight, norm_bias, eps, C).to(DT)
    out = tl.zeros((R, CP), tl.float32) + channels(reduce_bias_p, C, CP)[None, :]
    for first in tl.range(0, HIDDEN, E, loop_unroll_factor=1):
        e = first + tl.arange(0, E)
        hidden = hidden_sum(taken, expand_p, expand_bias_p, e, C, HIDDEN, CP, DT, PREC)
        weight = reducing(reduce_p, e, C, HIDDEN, CP, DT)
        out = tl.dot(gelu(hidden).to(DT), weight, out, input_precision=PREC)
    if AFTER:
        out = normed(out, c < C, norm_weight, norm_bias, eps, C)
    if RESIDUAL:
        out += x.to(tl.float32)
    tl.store(y_p + at, out.to(y_p.dtype.element_ty), mask=real)


@triton.jit(do_not_specialize=["rows", "blocks"])
def _to_features(
    x_p, grad_p, norm_weight_p, norm_bias_p, expand_p, expand_bias_p, reduce_p, reduce_bias_p,
    to_x_p, to_out_p, parts_p, rows, blocks, eps,
    C: tl.constexpr, CP: tl.constexpr, HIDDEN: tl.constexpr, E: tl.constexpr, R: tl.constexpr,
    AFTER: tl.constexpr, RESIDUAL: tl.constexpr, DT: tl.constexpr, PREC: tl.constexpr,
):  # fmt: skip
    """Gradients of x, of what the layers made (with a norm after them), and of three vectors."""
    c = tl.arange(0, CP)
    norm_weight, norm_bias = channels(norm_weight_p, C, CP), channels(norm_bias_p, C, CP)
    reduce_bias = channels(reduce_bias_p, C, CP)
    to_weight = tl.zeros((CP,), tl.float32)
    to_bias = tl.zeros((CP,), tl.float32)
    to_reduce_bias = tl.zeros((CP,), tl.float32)
    for block in tl.range(tl.program_id(0), blocks, tl.num_programs(0), num_stages=1):
        r = block * R + tl.arange(0, R)
        real = (r < rows)[:, None] & (c < C)[None, :]
        at = r[:, None] * C + c[None, :]
        x = tl.load(x_p + at, mask=real, other=0.0)
        grad = tl.load(grad_p + at, mask=real, other=0.0).to(tl.float32)
        if AFTER:
            taken = x.to(DT)
            out = tl.zeros((R, CP), tl.float32) + reduce_bias[None, :]
            for first in tl.range(0, HIDDEN, E, loop_unroll_factor=1):
                e = first + tl.arange(0, E)
                hidden = hidden_sum(taken, expand_p, expand_bias_p, e, C, HIDDEN, CP, DT, PREC)
                weight = reducing(reduce_p, e, C, HIDDEN, CP, DT)
                out = tl.dot(gelu(hidden).to(DT), weight, out, input_precision=PREC)
            unit, scale = unit_rows(out, c < C, eps, C)
            to_weight += tl.sum(grad * unit, 0)
            to_bias += tl.sum(grad, 0)
            to_out = norm_gradient(grad * norm_weight[None, :], unit, scale, C)
            tl.store(to_out_p + at, to_out.to(DT), mask=real)
        else:
            unit, scale = unit_rows(x.to(tl.float32), c < C, eps, C)
            taken = (unit * norm_weight[None, :] + norm_bias[None, :]).to(DT)
            to_out = grad
        to_reduce_bias += tl.sum(to_out, 0)
        to_taken = tl.zeros((R, CP), tl.float32)
        for first in tl.range(0, HIDDEN, E, loop_unroll_factor=1):
            e = first + tl.arange(0, E)
            hidden = hidden_sum(taken, expand_p, expand_bias_p, e, C, HIDDEN, CP, DT, PREC)
            weight = tl.trans(reducing(reduce_p, e, C, HIDDEN, CP, DT))
            to_hidden = tl.dot(to_out.to(DT), weight, input_precision=PREC) * gelu_slope(hidden)
            weight = tl.trans(expanding(expand_p, e, C, HIDDEN, CP, DT))
            to_taken = tl.dot(to_hidden.to(DT), weight, to_taken, input_precision=PREC)
        to_x = to_taken
        if not AFTER:
            to_weight += tl.sum(to_taken * unit, 0)
            to_bias += tl.sum(to_taken, 0)
            to_x = norm_gradient(to_taken * norm_weight[None, :], unit, scale, C)
        if RESIDUAL:
            to_x += grad
        tl.store(to_x_p + at, to_x.to(to_x_p.dtype.element_ty), mask=real)
    place = parts_p + tl.program_id(0) * 3 * CP + c
    tl.store(place, to_weight)
    tl.store(place + CP, to_bias)
    tl.store(place + 2 * CP, to_reduce_bias)


@triton.jit(do_not_specialize=["rows", "blocks"])
def _to_weights(
    x_p, to_out_p, norm_weight_p, norm_bias_p, expand_p, expand_bias_p, reduce_p,
    reduced_p, to_hidden_p, parts_p, rows, blocks, eps,
    C: tl.constexpr, CP: tl.constexpr, HIDDEN: tl.constexpr, E: tl.constexpr, R: tl.constexpr,
    AFTER: tl.constexpr, STORED: tl.constexpr, DT: tl.constexpr, PREC: tl.constexpr,
):  # fmt: skip
    """Gradients of the layers' weights for a share of the rows and a block of hidden features.

    STORED: what the second layer reduced, and the gradient of what the first made, are in memory.
    """
    c = tl.arange(0, CP)
    e = tl.program_id(1) * E + tl.arange(0, E)
    norm_weight, norm_bias = channels(norm_weight_p, C, CP), channels(norm_bias_p, C, CP)
    expand = expanding(expand_p, e, C, HIDDEN, CP, DT)
    expand_bias = some(expand_bias_p, e, HIDDEN)
    reduce = tl.trans(reducing(reduce_p, e, C, HIDDEN, CP, DT))
    to_expand = tl.zeros((E, CP), tl.float32)
    to_reduce = tl.zeros((E, CP), tl.float32)
    to_expand_bias = tl.zeros((E,), tl.float32)
    for block in tl.range(tl.program_id(0), blocks, tl.num_programs(0), num_stages=1):
        r = block * R + tl.arange(0, R)
        real = (r < rows)[:, None] & (c < C)[None, :]
        at = r[:, None] * C + c[None, :]
        x = tl.load(x_p + at, mask=real, other=0.0)
        to_out = tl.load(to_out_p + at, mask=real, other=0.0).to(DT)
        if AFTER:
            taken = x.to(DT)
        else:
            taken = normed(x.to(tl.float32), c < C, norm_weight, norm_bias, eps, C).to(DT)
        if STORED:
            mask = (r < rows)[:, None] & (e < HIDDEN)[None, :]
            place = r[:, None] * HIDDEN + e[None, :]
            reduced = tl.load(reduced_p + place, mask=mask, other=0.0)
            to_hidden = tl.load(to_hidden_p + place, mask=mask, other=0.0).to(tl.float32)
        else:
            hidden = tl.dot(taken, expand, input_precision=PREC) + expand_bias[None, :]
            reduced = gelu(hidden)
            to_hidden = tl.dot(to_out, reduce, input_precision=PREC) * gelu_slope(hidden)
        to_expand_bias += tl.sum(to_hidden, 0)
        transposed = tl.trans(to_hidden.to(DT))
        to_expand = tl.dot(transposed, taken, to_expand, input_precision=PREC)
        transposed = tl.trans(reduced.to(DT))
        to_reduce = tl.dot(transposed, to_out, to_reduce, input_precision=PREC)
    real = (e < HIDDEN)[:, None] & (c < C)[None, :]
    place = parts_p + tl.program_id(0) * (2 * C + 1) * HIDDEN
    at = e[:, None] * C + c[None, :]
    tl.store(place + at, to_expand, mask=real)
    tl.store(place + HIDDEN * C + at, to_reduce, mask=real)
    tl.store(place + 2 * HIDDEN * C + e, to_expand_bias, mask=e < HIDDEN)


def misfit_of(expand: nn.Linear, most_hidden: int, *others: nn.Module) -> str | None:
    """Why layers are too wide for kernels of feed-forward networks, or lack biases; else None."""
    c, hidden = expand.in_features, expand.out_features
    if c > MOST_CHANNELS:
        return f"{c} channels, more than {MOST_CHANNELS}"
    if hidden > most_hidden:
        return f"{hidden} hidden features, more than {most_hidden}"
    if any(len([*layer.parameters()]) < 2 for layer in (expand, *others)):
        return "layers without biases"
    return None


def why_not(x: Tensor, norm: nn.LayerNorm, expand: nn.Linear, reduce: nn.Linear) -> str | None:
    """Why `mlp_branch` cannot take these features and layers; None if it can.

    It takes at most 64 channels and 256 hidden features, and at most 2^31 - 1 elements of x.
    """
    if misfit := misfit_of(expand, MOST_HIDDEN, norm, reduce):
        return misfit
    if not fits(x.numel()):
        return f"{x.numel():,} elements, more than kernels can count"
    return None


def mlp_branch(
    x: Tensor,
    norm: nn.LayerNorm,
    expand: nn.Linear,
    reduce: nn.Linear,
    *,
    norm_after: bool,
    residual: bool = True,
    dtype: torch.dtype | None = None,
) -> Tensor:
    """x + reduce(gelu(expand(norm(x)))), or x + norm(reduce(gelu(expand(x)))): (..., c), as x.

    Without `residual`, the sum lacks x. Products have `dtype`, by default that of x; everything
    else is float32. x and each parameter may have any type of `launch.DTYPES`. Differentiable; what
    autograd keeps is x.
    """
    out: Tensor = _Mlp.apply(
        x,
        norm.weight,
        norm.bias,
        expand.weight,
        expand.bias,
        reduce.weight,
        reduce.bias,
        norm.eps,
        norm_after,
        residual,
        dtype or x.dtype,
    )
    return out


class _Mlp(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, *arguments: Any) -> Tensor:
        *parameters, eps, norm_after, residual, dtype = arguments
        x = x.contiguous()
        ctx.save_for_backward(x, *parameters)
        ctx.eps, ctx.norm_after, ctx.residual, ctx.dtype = eps, norm_after, residual, dtype
        y = torch.empty_like(x)
        rows = x.numel() // x.shape[-1]
        block = _BLOCK if rows < _FEW_ROWS else 2 * _BLOCK
        launch(
            _mlp,
            (triton.cdiv(rows, block),),
            (x, *parameters, y),
            (rows, eps),
            stages=1 if dtype == torch.float32 else 2,
            E=_features_of_step(norm_after, dtype),
            R=block,
            RESIDUAL=residual,
            **constants_of(x, parameters[2], norm_after, dtype),
        )
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, *parameters = ctx.saved_tensors
        grad = grad.contiguous()
        c = x.shape[-1]
        rows = x.numel() // c
        blocks = triton.cdiv(rows, _BLOCK)
        numbers = (rows, blocks, ctx.eps)
        constants = constants_of(x, parameters[2], ctx.norm_after, ctx.dtype)
        to_x = torch.empty_like(x)
        to_out = torch.empty_like(x, dtype=ctx.dtype) if ctx.norm_after else grad
        parts = x.new_empty(min(blocks, _PROGRAMS), 3, constants["CP"], dtype=torch.float32)
        launch(
            _to_features,
            (len(parts),),
            (x, grad, *parameters, to_x, to_out, parts),
            numbers,
            warps=8 if ctx.norm_after and ctx.dtype == torch.float32 else 4,
            stages=1,
            E=_features_of_step(ctx.norm_after, ctx.dtype),
            R=_BLOCK,
            RESIDUAL=ctx.residual,
            **constants,
        )
        to_norm_weight, to_norm_bias, to_reduce_bias = parts.sum(0)[:, :c]
        to_expand, to_expand_bias, to_reduce = None, None, None
        if any(ctx.needs_input_grad[3:6]):
            to_expand, to_expand_bias, to_reduce = weight_gradients(
                x, to_out, parameters, None, ctx.eps, constants
            )
        gradients = (
            to_norm_weight,
            to_norm_bias,
            to_expand,
            to_expand_bias,
            to_reduce,
            to_reduce_bias,
        )
        return to_x, *typed(gradients, parameters), None, None, None, None


def weight_gradients(
    x: Tensor,
    to_out: Tensor,
    parameters: list[Tensor],
    stored: tuple[Tensor, Tensor] | None,
    eps: float,
    constants: dict[str, Any],
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients in float32 of the first layer's weight and bias, and of the second one's weight.

    to_out: the gradient of what the second layer made. parameters: of the norm and the two layers.
    stored: what the second layer reduced, and the gradient of what the first made, each
    (..., e); None to compute them as an MLP does.
    """
    c, hidden = constants["C"], constants["HIDDEN"]
    rows = x.numel() // c
    blocks = triton.cdiv(rows, _BLOCK)
    parts = x.new_empty(min(blocks, _SHARES), (2 * c + 1) * hidden, dtype=torch.float32)
    launch(
        _to_weights,
        (len(parts), triton.cdiv(hidden, _BLOCK)),
        (x, to_out, *parameters[:5], *(stored or (None, None)), parts),
        (rows, blocks, eps),
        warps=8 if constants["DT"] == tl.float32 else 4,
        stages=1,
        E=_BLOCK,
        R=_BLOCK,
        STORED=stored is not None,
        **constants,
    )
    to_expand, to_reduce, to_bias = parts.sum(0).split([c * hidden, c * hidden, hidden])
    return to_expand.view(hidden, c), to_bias, to_reduce.view(hidden, c).t()


def typed(gradients: Iterable[Tensor | None], parameters: list[Tensor]) -> list[Tensor | None]:
    """Each gradient in the type of its parameter."""
    pairs = zip(gradients, parameters, strict=True)
    return [None if gradient is None else gradient.to(each.dtype) for gradient, each in pairs]


def _features_of_step(norm_after: bool, dtype: torch.dtype) -> int:
    """Hidden features that a program computes at a time from all channels of its rows."""
    return _BLOCK // 2 if norm_after and dtype == torch.float32 else _BLOCK


def constants_of(x: Tensor, expand: Tensor, norm_after: bool, dtype: torch.dtype) -> dict[str, Any]:
    """Constants that all kernels have."""
    c = x.shape[-1]
    return {
        "C": c,
        "CP": max(16, triton.next_power_of_2(c)),
        "HIDDEN": len(expand),
        "AFTER": norm_after,
        "DT": TYPES[dtype],
        "PREC": product_of(dtype),
    }
