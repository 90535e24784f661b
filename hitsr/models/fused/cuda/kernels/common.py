"""Parts that kernels share: functions on blocks of values, compiled into each kernel.

Blocks have rows of tokens and columns of channels; columns beyond the real ones are zero.
"""

import torch
import triton
import triton.language as tl

TYPES = {torch.float32: tl.float32, torch.float16: tl.float16, torch.bfloat16: tl.bfloat16}
LOG2E = tl.constexpr(1.4426950408889634)
SEPARATE2 = tl.constexpr(-100.0 * 1.4426950408889634)  # `windows.SEPARATE`, for a softmax in base 2


@triton.jit
def unit_rows(x, inside, eps, C: tl.constexpr):
    """Rows of C real channels with mean 0 and variance 1, and what they were multiplied by.

    x: (rows, columns) float32, zero beyond the real columns, which `inside` (columns) marks.
    """
    centred = tl.where(inside[None, :], x - (tl.sum(x, 1) / C)[:, None], 0.0)
    scale = 1.0 / tl.sqrt(tl.sum(centred * centred, 1) / C + eps)
    return centred * scale[:, None], scale


@triton.jit
def normed(x, inside, weight, bias, eps, C: tl.constexpr):
    """Layer norm of `unit_rows`' x; weight and bias (columns) are zero beyond the real ones."""
    unit, _ = unit_rows(x, inside, eps, C)
    return unit * weight[None, :] + bias[None, :]


@triton.jit
def norm_gradient(scaled, unit, scale, C: tl.constexpr):
    """The gradient of `unit_rows`' x: `scaled` is that of its rows, 0 beyond C columns as they."""
    along = tl.sum(scaled * unit, 1) / C
    return (scaled - (tl.sum(scaled, 1) / C)[:, None] - unit * along[:, None]) * scale[:, None]


@triton.jit
def gelu(x):
    """The exact GELU of float32 values."""
    return 0.5 * x * (1.0 + tl.erf(x * 0.7071067811865476))


@triton.jit
def gelu_slope(x):
    """The derivative of the exact GELU."""
    density = 0.3989422804014327 * tl.exp(-0.5 * x * x)
    return 0.5 * (1.0 + tl.erf(x * 0.7071067811865476)) + x * density


@triton.jit
def leaky_relu(x):
    """With a slope of 0.2 below zero."""
    return tl.where(x > 0, x, 0.2 * x)


@triton.jit
def channels(pointer, C: tl.constexpr, COLUMNS: tl.constexpr):
    """A vector of C parameters as float32: (COLUMNS), zero beyond."""
    c = tl.arange(0, COLUMNS)
    return tl.load(pointer + c, mask=c < C, other=0.0).to(tl.float32)


@triton.jit
def transposed(
    pointer, INPUTS: tl.constexpr, OUTPUTS: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr
):
    """The weight (OUTPUTS, INPUTS) of a linear layer as a block (ROWS, COLUMNS), zero beyond."""
    i = tl.arange(0, ROWS)
    o = tl.arange(0, COLUMNS)
    real = (i < INPUTS)[:, None] & (o < OUTPUTS)[None, :]
    return tl.load(pointer + o[None, :] * INPUTS + i[:, None], mask=real, other=0.0)


SPREAD = tl.constexpr(2048.0)  # 2^11: float16 has 11 bits, counting the first


@triton.jit
def rounded(x, SPLIT: tl.constexpr, DT: tl.constexpr):
    """x in the type DT of products, and with SPLIT also what rounding left, times SPREAD.

    SPLIT has float32 values as two of float16, 22 bits: x below 65504 becomes high + low / SPREAD,
    exact to 2^-22 of itself. Tensor cores take float16 twice as fast as TF32, which has as many
    bits, and in half the registers.
    """
    high = x.to(DT)
    low = ((x - high.to(tl.float32)) * SPREAD).to(DT) if SPLIT else high
    return high, low


@triton.jit
def product(a_high, a_low, b_high, b_low, sums, SPLIT: tl.constexpr):
    """sums + a @ b of values from `rounded`: float32. Products of two remainders are left out."""
    if SPLIT:
        small = tl.dot(a_high, b_low)
        small = tl.dot(a_low, b_high, small)
        sums += small * (1 / SPREAD)
    return tl.dot(a_high, b_high, sums)


@triton.jit
def rows_of(
    pointer, STRIDE: tl.constexpr, M: tl.constexpr, N: tl.constexpr,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """M rows and N columns of a matrix, STRIDE apart, as a block (ROWS, COLUMNS), zero beyond."""
    r = tl.arange(0, ROWS)
    c = tl.arange(0, COLUMNS)
    real = (r < M)[:, None] & (c < N)[None, :]
    return tl.load(pointer + r[:, None] * STRIDE + c[None, :], mask=real, other=0.0)
