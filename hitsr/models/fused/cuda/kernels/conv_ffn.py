"""The branch of a feed-forward network with a depthwise convolution, in two kernels.

The first writes hidden features, the second convolves and reduces them. A program has a tile of
ROWS rows of COLUMNS pixels, and reads each row of its tile and halo once for each column of the
convolution's kernel.

Shapes: b batch, h height, w width, c channels, e hidden features, k side of the kernel.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor, nn

from hitsr.models.fused.cuda.kernels.common import channels, gelu, normed
from hitsr.models.fused.cuda.kernels.launch import fits, launch, product_of
from hitsr.models.fused.cuda.kernels.mlp import TYPES, hidden_sum, reducing, some

MOST_CHANNELS = 64
MOST_HIDDEN = 128
_TILE = {"ROWS": 4, "COLUMNS": 16}  # products have at least 16 rows, so a row has 16 pixels


@triton.jit
def replaced(values, AT: tl.constexpr, value):
    """A tuple with another value at one place."""
    return values[:AT] + (value,) + values[AT + 1 :]  # noqa: RUF005 (Triton unpacks no tuples)


@triton.jit
def tile_of(down, across, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """Picture, first row and first column of this program's tile."""
    tile = tl.program_id(0)
    within = tile % (down * across)
    return tile // (down * across), within // across * ROWS, within % across * COLUMNS


@triton.jit
def pixels(pointer, picture, y, x, height, width, c, CHANNELS: tl.constexpr, COLUMNS: tl.constexpr):
    """Channels c of COLUMNS pixels from (y, x) on, zero beyond the picture: (COLUMNS, channels)."""
    column = x + tl.arange(0, COLUMNS)
    inside = (column >= 0) & (column < width) & (y >= 0) & (y < height)
    row = pointer + (picture * height + y) * width * CHANNELS
    mask = inside[:, None] & (c < CHANNELS)[None, :]
    return tl.load(row + column[:, None] * CHANNELS + c[None, :], mask=mask, other=0.0)


@triton.jit
def convolved(
    pointer, taps_p, picture, top, left, height, width, e,
    HIDDEN: tl.constexpr, E: tl.constexpr, K: tl.constexpr, ROWS: tl.constexpr,
    COLUMNS: tl.constexpr, FLIPPED: tl.constexpr,
):  # fmt: skip
    """Depthwise convolution of a tile's channels e, without bias: ROWS blocks (COLUMNS, E)."""
    sums = (tl.zeros((COLUMNS, E), tl.float32),) * ROWS
    for dx in tl.range(0, K, loop_unroll_factor=1):
        for row in tl.static_range(ROWS + K - 1):
            y, x = top + row - K // 2, left + dx - K // 2
            part = pixels(pointer, picture, y, x, height, width, e, HIDDEN, COLUMNS).to(tl.float32)
            for out in tl.static_range(ROWS):
                if row - out >= 0 and row - out < K:
                    tap = (row - out) * K + dx
                    if FLIPPED:
                        tap = K * K - 1 - tap
                    weight = some(taps_p + tap * HIDDEN, e, HIDDEN)
                    sums = replaced(sums, out, sums[out] + part * weight[None, :])
    return sums


@triton.jit
def write_taps(weight_p, taps_p, HIDDEN: tl.constexpr, HP: tl.constexpr, TAPS: tl.constexpr):
    """Transpose a convolution's weight, a tap a program: programs read all channels of a tap."""
    e = tl.arange(0, HP)
    for tap in range(tl.program_id(0), TAPS, tl.num_programs(0)):
        weight = tl.load(weight_p + e * TAPS + tap, mask=e < HIDDEN, other=0.0)
        tl.store(taps_p + tap * HIDDEN + e, weight.to(tl.float32), mask=e < HIDDEN)


@triton.jit(do_not_specialize=["rows"])
def _expand(
    x_p, norm_weight_p, norm_bias_p, expand_p, expand_bias_p, depthwise_p, hidden_p, taps_p,
    rows, eps,
    C: tl.constexpr, CP: tl.constexpr, HIDDEN: tl.constexpr, HP: tl.constexpr, E: tl.constexpr,
    R: tl.constexpr, TAPS: tl.constexpr, AFTER: tl.constexpr, DT: tl.constexpr, PREC: tl.constexpr,
):  # fmt: skip
    r = tl.program_id(0) * R + tl.arange(0, R)
    c = tl.arange(0, CP)
    real = (r < rows)[:, None] & (c < C)[None, :]
    x = tl.load(x_p + r[:, None] * C + c[None, :], mask=real, other=0.0)
    if AFTER:
        taken = x.to(DT)
    else:
        weight, bias = channels(norm_weight_p, C, CP), channels(norm_bias_p, C, CP)
        taken = normed(x.to(tl.float32), c < C, weight, bias, eps, C).to(DT)
    for first in tl.range(0, HIDDEN, E, loop_unroll_factor=1):
        e = first + tl.arange(0, E)
        hidden = gelu(hidden_sum(taken, expand_p, expand_bias_p, e, C, HIDDEN, CP, DT, PREC))
        mask = (r < rows)[:, None] & (e < HIDDEN)[None, :]
        tl.store(hidden_p + r[:, None] * HIDDEN + e[None, :], hidden.to(DT), mask=mask)
    write_taps(depthwise_p, taps_p, HIDDEN, HP, TAPS)


@triton.jit(do_not_specialize=["height", "width", "down", "across"])
def _reduce(
    x_p, hidden_p, taps_p, depthwise_bias_p, reduce_p, reduce_bias_p, norm_weight_p, norm_bias_p,
    y_p, height, width, down, across, eps,
    C: tl.constexpr, CP: tl.constexpr, HIDDEN: tl.constexpr, E: tl.constexpr, K: tl.constexpr,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, AFTER: tl.constexpr, RESIDUAL: tl.constexpr,
    DT: tl.constexpr, PREC: tl.constexpr,
):  # fmt: skip
    picture, top, left = tile_of(down, across, ROWS, COLUMNS)
    zeros = tl.zeros((COLUMNS, CP), tl.float32)
    sums = (zeros + channels(reduce_bias_p, C, CP)[None, :],) * ROWS
    for first in tl.range(0, HIDDEN, E, loop_unroll_factor=1):
        e = first + tl.arange(0, E)
        mixed = convolved(
            hidden_p, taps_p, picture, top, left, height, width, e,
            HIDDEN, E, K, ROWS, COLUMNS, False,
        )  # fmt: skip
        bias = some(depthwise_bias_p, e, HIDDEN)
        weight = reducing(reduce_p, e, C, HIDDEN, CP, DT)
        for row in tl.static_range(ROWS):
            own = pixels(hidden_p, picture, top + row, left, height, width, e, HIDDEN, COLUMNS)
            z = own.to(tl.float32) + gelu(mixed[row] + bias[None, :])
            total = tl.dot(z.to(DT), weight, sums[row], input_precision=PREC)
            sums = replaced(sums, row, total)
    c = tl.arange(0, CP)
    norm_weight, norm_bias = channels(norm_weight_p, C, CP), channels(norm_bias_p, C, CP)
    column = left + tl.arange(0, COLUMNS)
    for row in tl.static_range(ROWS):
        out = sums[row]
        if AFTER:
            out = normed(out, c < C, norm_weight, norm_bias, eps, C)
        if RESIDUAL:
            x = pixels(x_p, picture, top + row, left, height, width, c, C, COLUMNS)
            out += x.to(tl.float32)
        at = ((picture * height + top + row) * width + column) * C
        real = ((column < width) & (top + row < height))[:, None] & (c < C)[None, :]
        tl.store(y_p + at[:, None] + c[None, :], out.to(y_p.dtype.element_ty), mask=real)


def why_not(
    x_bhwc: Tensor, norm: nn.LayerNorm, expand: nn.Linear, depthwise: nn.Conv2d, reduce: nn.Linear
) -> str | None:
    """Why `conv_branch` cannot take these features and layers; None if it can.

    It takes at most 64 channels and 128 hidden features, at most 2^31 - 1 of the latter in all
    pixels together, and a square kernel with an odd side and zeros around the picture.
    """
    c, hidden = x_bhwc.shape[-1], expand.out_features
    if c > MOST_CHANNELS:
        return f"{c} channels, more than {MOST_CHANNELS}"
    if hidden > MOST_HIDDEN:
        return f"{hidden} hidden features, more than {MOST_HIDDEN}"
    if any(len([*layer.parameters()]) < 2 for layer in (norm, expand, depthwise, reduce)):
        return "layers without biases"
    k = depthwise.kernel_size[0]
    settings = (depthwise.kernel_size, depthwise.padding, depthwise.padding_mode, depthwise.groups)
    steps = (*depthwise.stride, *depthwise.dilation)
    if settings != ((k, k), (k // 2, k // 2), "zeros", hidden) or steps != (1,) * 4 or k % 2 == 0:
        return "a convolution that is not depthwise, or not over a padded odd square"
    if not fits(x_bhwc.numel() // c * hidden):
        return f"{x_bhwc.numel() // c:,} pixels, more than kernels can count"
    return None


def conv_branch(
    x_bhwc: Tensor,
    norm: nn.LayerNorm,
    expand: nn.Linear,
    depthwise: nn.Conv2d,
    reduce: nn.Linear,
    *,
    norm_after: bool,
    residual: bool = True,
    dtype: torch.dtype | None = None,
) -> Tensor:
    """x + reduce(mix(gelu(expand(norm(x))))), or x + norm(reduce(mix(gelu(expand(x))))), as x.

    mix(x) is x + gelu(depthwise(x)). Without `residual`, the sum lacks x. Products and hidden
    features have `dtype`, by default that of x; everything else is float32. x and each parameter
    may have any type of `launch.DTYPES`.
    """
    x = x_bhwc.contiguous()
    b, h, w, c = x.shape
    dtype = dtype or x.dtype
    hidden, k, rows = expand.out_features, depthwise.kernel_size[0], b * h * w
    features = torch.empty(rows, hidden, dtype=dtype, device=x.device)
    taps = torch.empty(k * k, hidden, dtype=torch.float32, device=x.device)
    constants = {
        "C": c,
        "CP": max(16, triton.next_power_of_2(c)),
        "HIDDEN": hidden,
        "AFTER": norm_after,
        "DT": TYPES[dtype],
        "PREC": product_of(dtype),
    }
    launch(
        _expand,
        (triton.cdiv(rows, 64),),
        (
            x,
            norm.weight,
            norm.bias,
            expand.weight,
            expand.bias,
            depthwise.weight,
            features,
            taps,
        ),
        (rows, norm.eps),
        E=32,
        R=64,
        HP=triton.next_power_of_2(hidden),
        TAPS=k * k,
        **constants,
    )
    y = torch.empty_like(x)
    down, across = triton.cdiv(h, _TILE["ROWS"]), triton.cdiv(w, _TILE["COLUMNS"])
    launch(
        _reduce,
        (b * down * across,),
        (
            x,
            features,
            taps,
            depthwise.bias,
            reduce.weight,
            reduce.bias,
            norm.weight,
            norm.bias,
            y,
        ),
        (h, w, down, across, norm.eps),
        stages=1,
        E=32 if dtype == torch.float32 else 64,
        K=k,
        RESIDUAL=residual,
        **_TILE,
        **constants,
    )
    return y
