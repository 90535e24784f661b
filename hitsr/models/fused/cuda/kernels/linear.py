"""A linear layer of rows of channels, with a norm before it and an activation after it.

Shapes: r rows, c input channels, o output channels.
"""

from typing import Literal

import torch
import triton
import triton.language as tl
from torch import Tensor, nn

from hitsr.models.fused.cuda.kernels.common import (
    TYPES,
    channels,
    gelu,
    leaky_relu,
    normed,
    transposed,
)
from hitsr.models.fused.cuda.kernels.launch import fits, launch, product_of

Activation = Literal["none", "gelu", "leaky_relu"]

MOST_INPUTS = 64
MOST_OUTPUTS = 256
_OUTPUTS = 32  # of one product: more of them spill registers
_FEW = 512  # programs that leave parts of a GPU idle, if each has 64 rows


@triton.jit(do_not_specialize=["rows"])
def _linear(
    x_p, weight_p, bias_p, norm_weight_p, norm_bias_p, y_p, rows, eps,
    C: tl.constexpr, CP: tl.constexpr, OUT: tl.constexpr, OP: tl.constexpr, R: tl.constexpr,
    NORMED: tl.constexpr, ACTIVATION: tl.constexpr, DT: tl.constexpr, PREC: tl.constexpr,
):  # fmt: skip
    """R rows, OP of their outputs at a time; x is read and normed once."""
    r = tl.program_id(0) * R + tl.arange(0, R)
    c, o = tl.arange(0, CP), tl.arange(0, OP)
    real = (r < rows)[:, None] & (c < C)[None, :]
    x = tl.load(x_p + r[:, None] * C + c[None, :], mask=real, other=0.0)
    if NORMED:
        scale, offset = channels(norm_weight_p, C, CP), channels(norm_bias_p, C, CP)
        x = normed(x.to(tl.float32), c < C, scale, offset, eps, C)
    x = x.to(DT)
    for first in tl.static_range(0, OUT, OP):
        weight = transposed(weight_p + first * C, C, OUT - first, CP, OP).to(DT)
        y = (
            tl.dot(x, weight, input_precision=PREC)
            + channels(bias_p + first, OUT - first, OP)[None, :]
        )
        if ACTIVATION == "gelu":
            y = gelu(y)
        if ACTIVATION == "leaky_relu":
            y = leaky_relu(y)
        at = r[:, None] * OUT + (first + o)[None, :]
        real = (r < rows)[:, None] & (first + o < OUT)[None, :]
        tl.store(y_p + at, y.to(y_p.dtype.element_ty), mask=real)


def why_not(x: Tensor, outputs: int) -> str | None:
    """Why the kernel cannot take rows x (..., c) to `outputs` channels; None if it can.

    Limits: 64 input and 256 output channels, fewer than 2**31 values.
    """
    c = x.shape[-1]
    if c > MOST_INPUTS:
        return f"{c} input channels, more than {MOST_INPUTS}"
    if outputs > MOST_OUTPUTS:
        return f"{outputs} output channels, more than {MOST_OUTPUTS}"
    if not fits(x.numel(), x.numel() // c * outputs):
        return "more values than 32 bits count"
    return None


def linear(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    *,
    norm: nn.LayerNorm | None = None,
    activation: Activation = "none",
    dtype: torch.dtype,
    out: torch.dtype | None = None,
) -> Tensor:
    """`activation(F.linear(norm(x), weight, bias))` of x (..., c): (..., o), in the type `out`.

    `dtype` is that of products, and of the result by default. weight: (o, c), bias: (o); the norm
    is over all c channels. The slope of leaky_relu is 0.2. Any tensor may have any of
    `launch.DTYPES`; sizes must be those that `why_not` allows. Not differentiable.
    """
    x = x.contiguous()
    outputs, c = weight.shape
    rows = x.numel() // c
    y = torch.empty(*x.shape[:-1], outputs, dtype=out or dtype, device=x.device)
    block = 64
    while block > 16 and triton.cdiv(rows, block) < _FEW:
        block //= 2
    scale, offset, eps = (None, None, 0.0) if norm is None else (norm.weight, norm.bias, norm.eps)
    launch(
        _linear,
        (triton.cdiv(rows, block),),
        (x, weight.contiguous(), bias, scale, offset, y),
        (rows, eps),
        C=c,
        CP=max(16, triton.next_power_of_2(c)),
        OUT=outputs,
        OP=_OUTPUTS,
        R=block,
        NORMED=norm is not None,
        ACTIVATION=activation,
        DT=TYPES[dtype],
        PREC=product_of(dtype),
    )
    return y
