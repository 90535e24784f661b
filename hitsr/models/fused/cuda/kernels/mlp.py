"""The branch of a feed-forward network: layer norm, expand, GELU, reduce, residual, in one kernel.

Hidden features exist only in registers, a block of them at a time.

Shapes: r rows, c channels, e hidden features.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor, nn

from hitsr.models.fused.cuda.kernels.common import channels, gelu, normed
from hitsr.models.fused.cuda.kernels.launch import fits, launch, product_of

TYPES = {torch.float32: tl.float32, torch.float16: tl.float16, torch.bfloat16: tl.bfloat16}
MOST_CHANNELS = 64
MOST_HIDDEN = 256
_FEW_ROWS = 64 * 132  # fewer leave some multiprocessors of a GPU without a tile of 64


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


def why_not(x: Tensor, norm: nn.LayerNorm, expand: nn.Linear, reduce: nn.Linear) -> str | None:
    """Why `mlp_branch` cannot take these features and layers; None if it can.

    It takes at most 64 channels and 256 hidden features, and at most 2^31 - 1 elements of x.
    """
    c, hidden = x.shape[-1], expand.out_features
    if c > MOST_CHANNELS:
        return f"{c} channels, more than {MOST_CHANNELS}"
    if hidden > MOST_HIDDEN:
        return f"{hidden} hidden features, more than {MOST_HIDDEN}"
    if any(len([*layer.parameters()]) < 2 for layer in (norm, expand, reduce)):
        return "layers without biases"
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
    else is float32. x and each parameter may have any type of `launch.DTYPES`.
    """
    x = x.contiguous()
    y = torch.empty_like(x)
    tensors = (x, norm.weight, norm.bias, expand.weight, expand.bias, reduce.weight, reduce.bias, y)
    c = x.shape[-1]
    rows = x.numel() // c
    block = 32 if rows < _FEW_ROWS else 64
    dtype = dtype or x.dtype
    # More columns, or loads ahead, take more registers than sm_80 has for three products in TF32.
    wide = dtype == torch.float32
    launch(
        _mlp,
        (triton.cdiv(rows, block),),
        tensors,
        (rows, norm.eps),
        stages=1 if wide else 2,
        C=c,
        CP=max(16, triton.next_power_of_2(c)),
        HIDDEN=expand.out_features,
        E=16 if wide and norm_after else 32,
        R=block,
        AFTER=norm_after,
        RESIDUAL=residual,
        DT=TYPES[dtype],
        PREC=product_of(dtype),
    )
    return y
