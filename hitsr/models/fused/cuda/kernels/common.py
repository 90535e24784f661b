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
def normal(x):
    """Density of the normal distribution at float32 x, and its share beyond |x| to 7.5e-8.

    Abramowitz and Stegun, 26.2.17. Triton's erf compiles to more instructions, and GELU's
    derivative would need an exponential besides.
    """
    density = 0.3989422804014327 * tl.exp2(x * x * (-0.5 * LOG2E))
    t = 1.0 / (1.0 + 0.2316419 * tl.abs(x))
    series = ((1.330274429 * t - 1.821255978) * t + 1.781477937) * t - 0.356563782
    return density, density * t * (series * t + 0.319381530)


@triton.jit
def gelu(x):
    """GELU, the one with erf, of float32 values: to 5e-7."""
    _, beyond = normal(x)
    return tl.maximum(x, 0.0) - tl.abs(x) * beyond


@triton.jit
def gelu_slope(x):
    """The derivative of GELU."""
    density, beyond = normal(x)
    return tl.where(x > 0, 1.0 - beyond, beyond) + x * density


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


@triton.jit
def reflected(i, length):
    """The sample that stands at place i of a line of `length`, as numpy's `reflect` pads it."""
    period = tl.maximum(2 * (length - 1), 1)
    i = tl.abs(i) % period
    return tl.minimum(i, period - i)
