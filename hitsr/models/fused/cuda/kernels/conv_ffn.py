"""The branch of a feed-forward network with a depthwise convolution, in two kernels.

The first writes hidden features, the second convolves and reduces them. A program has a tile of
ROWS rows of COLUMNS pixels. For each column of the convolution's kernel it reads each row of the
tile and its halo once, and adds it to the sums of all rows of the tile that it reaches.

For the gradients, hidden features are written again; then kernels go back through the second layer
and the convolution: what the convolution made gets its gradient in one, and the convolution's
transpose and the first layer are in the next. The weights' gradients are two more kernels, of which
each program sums its share in registers.

Shapes: b batch, h height, w width, c channels, e hidden features, k side of the kernel.
"""

from collections.abc import Sequence
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from hitsr.models.fused.cuda.kernels.common import (
    channels,
    gelu,
    gelu_slope,
    norm_gradient,
    normed,
    unit_rows,
)
from hitsr.models.fused.cuda.kernels.launch import fits, launch
from hitsr.models.fused.cuda.kernels.mlp import (
    constants_of,
    expanding,
    hidden_sum,
    misfit_of,
    reducing,
    some,
    typed,
    weight_gradients,
)

MOST_HIDDEN = 128
_BLOCK = 32  # hidden features of one step
_SHARES = 64  # of the tiles, each with its part of the gradients of the convolution's weight
_MOST_SPAN = 5  # sums for more columns of a kernel than this do not fit in registers
_ROWS = 4  # of a tile
_COLUMNS = 16  # of a tile: products have at least 16 rows


@triton.jit
def replaced(values, AT: tl.constexpr, value):
    """A tuple with another value at one place."""
    return values[:AT] + (value,) + values[AT + 1 :]  # noqa: RUF005 (Triton unpacks no tuples)


@triton.jit
def added(values, AT: tl.constexpr, value):
    """A tuple with more at one place."""
    return replaced(values, AT, values[AT] + value)


@triton.jit
def place_of(tile, down, across, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """Picture, first row and first column of a tile; there are down x across in a picture."""
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
def store_pixels(
    pointer, value, picture, y, x, height, width, c, CHANNELS: tl.constexpr, COLUMNS: tl.constexpr
):
    """Store what `pixels` loads, in the type of the memory."""
    column = x + tl.arange(0, COLUMNS)
    mask = ((column < width) & (y < height))[:, None] & (c < CHANNELS)[None, :]
    row = pointer + (picture * height + y) * width * CHANNELS
    place = row + column[:, None] * CHANNELS + c[None, :]
    tl.store(place, value.to(pointer.dtype.element_ty), mask=mask)


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
                    sums = added(sums, out, part * weight[None, :])
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
    y_p, out_p, height, width, down, across, eps,
    C: tl.constexpr, CP: tl.constexpr, HIDDEN: tl.constexpr, E: tl.constexpr, K: tl.constexpr,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, AFTER: tl.constexpr, RESIDUAL: tl.constexpr,
    KEEP: tl.constexpr, DT: tl.constexpr, PREC: tl.constexpr,
):  # fmt: skip
    picture, top, left = place_of(tl.program_id(0), down, across, ROWS, COLUMNS)
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
            reduced = own.to(tl.float32) + gelu(mixed[row] + bias[None, :])
            total = tl.dot(reduced.to(DT), weight, sums[row], input_precision=PREC)
            sums = replaced(sums, row, total)
    c = tl.arange(0, CP)
    norm_weight, norm_bias = channels(norm_weight_p, C, CP), channels(norm_bias_p, C, CP)
    for row in tl.static_range(ROWS):
        out, y = sums[row], top + row
        if KEEP:
            store_pixels(out_p, out, picture, y, left, height, width, c, C, COLUMNS)
        if AFTER:
            out = normed(out, c < C, norm_weight, norm_bias, eps, C)
        if RESIDUAL:
            x = pixels(x_p, picture, y, left, height, width, c, C, COLUMNS)
            out += x.to(tl.float32)
        store_pixels(y_p, out, picture, y, left, height, width, c, C, COLUMNS)


@triton.jit(do_not_specialize=["height", "width", "down", "across"])
def _to_convolved(
    grad_p, out_p, hidden_p, taps_p, depthwise_bias_p, reduce_p, norm_weight_p,
    to_convolved_p, reduced_p, to_out_p, parts_p, height, width, down, across, eps,
    C: tl.constexpr, CP: tl.constexpr, HIDDEN: tl.constexpr, E: tl.constexpr, K: tl.constexpr,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, AFTER: tl.constexpr, DT: tl.constexpr,
    PREC: tl.constexpr,
):  # fmt: skip
    """Gradient of what the convolution made; what was reduced, and the gradient of its result."""
    picture, top, left = place_of(tl.program_id(0), down, across, ROWS, COLUMNS)
    c = tl.arange(0, CP)
    norm_weight = channels(norm_weight_p, C, CP)
    to_weight = tl.zeros((CP,), tl.float32)
    to_bias = tl.zeros((CP,), tl.float32)
    to_reduce_bias = tl.zeros((CP,), tl.float32)
    outs = (tl.zeros((COLUMNS, CP), DT),) * ROWS
    for row in tl.static_range(ROWS):
        y = top + row
        grad = pixels(grad_p, picture, y, left, height, width, c, C, COLUMNS).to(tl.float32)
        if AFTER:
            out = pixels(out_p, picture, y, left, height, width, c, C, COLUMNS).to(tl.float32)
            unit, scale = unit_rows(out, c < C, eps, C)
            to_weight += tl.sum(grad * unit, 0)
            to_bias += tl.sum(grad, 0)
            grad = norm_gradient(grad * norm_weight[None, :], unit, scale, C)
            store_pixels(to_out_p, grad, picture, y, left, height, width, c, C, COLUMNS)
        to_reduce_bias += tl.sum(grad, 0)
        outs = replaced(outs, row, grad.to(DT))
    place = parts_p + tl.program_id(0) * 3 * CP + c
    tl.store(place, to_weight)
    tl.store(place + CP, to_bias)
    tl.store(place + 2 * CP, to_reduce_bias)
    for first in tl.range(0, HIDDEN, E, loop_unroll_factor=1):
        e = first + tl.arange(0, E)
        mixed = convolved(
            hidden_p, taps_p, picture, top, left, height, width, e,
            HIDDEN, E, K, ROWS, COLUMNS, False,
        )  # fmt: skip
        bias = some(depthwise_bias_p, e, HIDDEN)
        weight = tl.trans(reducing(reduce_p, e, C, HIDDEN, CP, DT))
        for row in tl.static_range(ROWS):
            y = top + row
            own = pixels(hidden_p, picture, y, left, height, width, e, HIDDEN, COLUMNS)
            made = mixed[row] + bias[None, :]
            reduced = own.to(tl.float32) + gelu(made)
            store_pixels(reduced_p, reduced, picture, y, left, height, width, e, HIDDEN, COLUMNS)
            to_made = tl.dot(outs[row], weight, input_precision=PREC) * gelu_slope(made)
            store_pixels(
                to_convolved_p, to_made, picture, y, left, height, width, e, HIDDEN, COLUMNS
            )


@triton.jit(do_not_specialize=["height", "width", "down", "across"])
def _to_pixels(
    x_p, grad_p, to_out_p, to_convolved_p, taps_p, norm_weight_p, norm_bias_p,
    expand_p, expand_bias_p, reduce_p, to_x_p, to_hidden_p, parts_p,
    height, width, down, across, eps,
    C: tl.constexpr, CP: tl.constexpr, HIDDEN: tl.constexpr, E: tl.constexpr, K: tl.constexpr,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, AFTER: tl.constexpr, RESIDUAL: tl.constexpr,
    DT: tl.constexpr, PREC: tl.constexpr,
):  # fmt: skip
    """Gradients of what the first layer made, of x, and of a norm before the layers."""
    picture, top, left = place_of(tl.program_id(0), down, across, ROWS, COLUMNS)
    c = tl.arange(0, CP)
    norm_weight, norm_bias = channels(norm_weight_p, C, CP), channels(norm_bias_p, C, CP)
    zeros = tl.zeros((COLUMNS, CP), tl.float32)
    inputs = (zeros.to(DT),) * ROWS
    outs = (zeros.to(DT),) * ROWS
    to_inputs = (zeros,) * ROWS
    for row in tl.static_range(ROWS):
        y = top + row
        x = pixels(x_p, picture, y, left, height, width, c, C, COLUMNS)
        if AFTER:
            inputs = replaced(inputs, row, x.to(DT))
        else:
            taken = normed(x.to(tl.float32), c < C, norm_weight, norm_bias, eps, C)
            inputs = replaced(inputs, row, taken.to(DT))
        to_out = pixels(to_out_p, picture, y, left, height, width, c, C, COLUMNS)
        outs = replaced(outs, row, to_out.to(DT))
    for first in tl.range(0, HIDDEN, E, loop_unroll_factor=1):
        e = first + tl.arange(0, E)
        mixed = convolved(
            to_convolved_p, taps_p, picture, top, left, height, width, e,
            HIDDEN, E, K, ROWS, COLUMNS, True,
        )  # fmt: skip
        reduce = tl.trans(reducing(reduce_p, e, C, HIDDEN, CP, DT))
        expand = tl.trans(expanding(expand_p, e, C, HIDDEN, CP, DT))
        for row in tl.static_range(ROWS):
            made = hidden_sum(inputs[row], expand_p, expand_bias_p, e, C, HIDDEN, CP, DT, PREC)
            to_hidden = tl.dot(outs[row], reduce, input_precision=PREC) + mixed[row]
            to_made = (to_hidden * gelu_slope(made)).to(DT)
            store_pixels(
                to_hidden_p, to_made, picture, top + row, left, height, width, e, HIDDEN, COLUMNS
            )
            total = tl.dot(to_made, expand, to_inputs[row], input_precision=PREC)
            to_inputs = replaced(to_inputs, row, total)
    to_weight = tl.zeros((CP,), tl.float32)
    to_bias = tl.zeros((CP,), tl.float32)
    for row in tl.static_range(ROWS):
        y = top + row
        to_x = to_inputs[row]
        if not AFTER:
            # The convolution reaches beyond the picture.
            inside = (left + tl.arange(0, COLUMNS) < width) & (y < height)
            to_x = tl.where(inside[:, None], to_x, 0.0)
            x = pixels(x_p, picture, y, left, height, width, c, C, COLUMNS)
            unit, scale = unit_rows(x.to(tl.float32), c < C, eps, C)
            to_weight += tl.sum(to_x * unit, 0)
            to_bias += tl.sum(to_x, 0)
            to_x = norm_gradient(to_x * norm_weight[None, :], unit, scale, C)
        if RESIDUAL:
            grad = pixels(grad_p, picture, y, left, height, width, c, C, COLUMNS)
            to_x += grad.to(tl.float32)
        store_pixels(to_x_p, to_x, picture, y, left, height, width, c, C, COLUMNS)
    place = parts_p + tl.program_id(0) * 2 * CP + c
    tl.store(place, to_weight)
    tl.store(place + CP, to_bias)


@triton.jit(do_not_specialize=["height", "width", "down", "across", "tiles"])
def _to_taps(
    hidden_p, to_convolved_p, parts_p, height, width, down, across, tiles,
    HIDDEN: tl.constexpr, E: tl.constexpr, K: tl.constexpr, SPAN: tl.constexpr,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """Gradients of the convolution's weight and bias, for a share of the tiles.

    A program has a block of hidden features and SPAN columns of the convolution's kernel.
    """
    e = tl.program_id(1) * E + tl.arange(0, E)
    start = tl.program_id(2) * SPAN
    to_bias = tl.zeros((COLUMNS, E), tl.float32)
    to_taps = (tl.zeros((COLUMNS, E), tl.float32),) * (K * SPAN)
    for tile in tl.range(tl.program_id(0), tiles, tl.num_programs(0), num_stages=1):
        picture, top, left = place_of(tile, down, across, ROWS, COLUMNS)
        grads = (tl.zeros((COLUMNS, E), tl.float32),) * ROWS
        for row in tl.static_range(ROWS):
            grad = pixels(
                to_convolved_p, picture, top + row, left, height, width, e, HIDDEN, COLUMNS
            ).to(tl.float32)
            to_bias += grad
            grads = replaced(grads, row, grad)
        for dx in tl.static_range(SPAN):
            x = left + start + dx - K // 2
            for row in tl.static_range(ROWS + K - 1):
                y = top + row - K // 2
                part = pixels(hidden_p, picture, y, x, height, width, e, HIDDEN, COLUMNS)
                for out in tl.static_range(ROWS):
                    if row - out >= 0 and row - out < K:
                        product = part.to(tl.float32) * grads[out]
                        to_taps = added(to_taps, (row - out) * SPAN + dx, product)
    place = parts_p + tl.program_id(0) * (K * K + 1) * HIDDEN + e
    for dy in tl.static_range(K):
        for dx in tl.static_range(SPAN):
            total = tl.sum(to_taps[dy * SPAN + dx], 0)
            tl.store(place + (dy * K + start + dx) * HIDDEN, total, mask=e < HIDDEN)
    tl.store(place + K * K * HIDDEN, tl.sum(to_bias, 0), mask=(e < HIDDEN) & (start == 0))


def why_not(
    x_bhwc: Tensor, norm: nn.LayerNorm, expand: nn.Linear, depthwise: nn.Conv2d, reduce: nn.Linear
) -> str | None:
    """Why `conv_branch` cannot take these features and layers; None if it can.

    It takes at most 64 channels and 128 hidden features, at most 2^31 - 1 of the latter in all
    pixels together, and a square kernel with an odd side and zeros around the picture.
    """
    if misfit := misfit_of(expand, MOST_HIDDEN, norm, depthwise, reduce):
        return misfit
    c, hidden = expand.in_features, expand.out_features
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
    layers = (norm, expand, depthwise, reduce)
    parameters = [each for layer in layers for each in (layer.weight, layer.bias)]
    wanted = any(each is not None and each.requires_grad for each in (x_bhwc, *parameters))
    keep = torch.is_grad_enabled() and wanted
    out: Tensor = _ConvFfn.apply(
        x_bhwc, *parameters, norm.eps, norm_after, residual, dtype or x_bhwc.dtype, keep
    )
    return out


class _ConvFfn(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, *arguments: Any) -> Tensor:
        *parameters, eps, norm_after, residual, dtype, keep = arguments
        keep = keep and norm_after
        x = x.contiguous()
        hidden, taps = _expanded(x, parameters, eps, norm_after, dtype)
        y = torch.empty_like(x)
        out = torch.empty_like(x, dtype=dtype) if keep else None
        depthwise, reduce = parameters[4:6], parameters[6:]
        tiles, sizes = _tiles(x, _ROWS)
        launch(
            _reduce,
            (tiles,),
            (x, hidden, taps, depthwise[1], *reduce, *parameters[:2], y, out),
            (*sizes, eps),
            stages=1,
            E=_BLOCK if dtype == torch.float32 else 2 * _BLOCK,
            K=depthwise[0].shape[-1],
            ROWS=_ROWS,
            COLUMNS=_COLUMNS,
            RESIDUAL=residual,
            KEEP=keep,
            **constants_of(x, parameters[2], norm_after, dtype),
        )
        ctx.save_for_backward(x, out, *parameters)
        ctx.eps, ctx.norm_after, ctx.residual, ctx.dtype = eps, norm_after, residual, dtype
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, out, *parameters = ctx.saved_tensors
        norm, expand, depthwise, reduce = (parameters[i : i + 2] for i in range(0, 8, 2))
        grad = grad.contiguous()
        c, k = x.shape[-1], depthwise[0].shape[-1]
        constants = constants_of(x, expand[0], ctx.norm_after, ctx.dtype)
        hidden, taps = _expanded(x, parameters, ctx.eps, ctx.norm_after, ctx.dtype)
        to_convolved, reduced, to_hidden = (torch.empty_like(hidden) for _ in range(3))
        to_out = torch.empty_like(x, dtype=ctx.dtype) if ctx.norm_after else grad
        to_x = torch.empty_like(x)
        tiles, sizes = _tiles(x, _ROWS)
        after = x.new_empty(tiles, 3, constants["CP"], dtype=torch.float32)
        launch(
            _to_convolved,
            (tiles,),
            (grad, out, hidden, taps, depthwise[1], reduce[0], norm[0],
             to_convolved, reduced, to_out, after),
            (*sizes, ctx.eps),
            stages=1,
            E=_BLOCK,
            K=k,
            ROWS=_ROWS,
            COLUMNS=_COLUMNS,
            **constants,
        )  # fmt: skip
        # Fewer rows, and in float32 fewer hidden features, for want of registers.
        exact = ctx.dtype == torch.float32
        rows = 2 if exact else 3
        tiles, sizes = _tiles(x, rows)
        before = x.new_empty(tiles, 2, constants["CP"], dtype=torch.float32)
        launch(
            _to_pixels,
            (tiles,),
            (x, grad, to_out, to_convolved, taps, *norm, *expand, reduce[0],
             to_x, to_hidden, before),
            (*sizes, ctx.eps),
            stages=1,
            E=_BLOCK // 2 if exact else _BLOCK,
            K=k,
            ROWS=rows,
            COLUMNS=_COLUMNS,
            RESIDUAL=ctx.residual,
            **constants,
        )  # fmt: skip
        sums = after.sum(0)[:, :c]
        to_norm = sums[:2] if ctx.norm_after else before.sum(0)[:, :c]
        to_expand: Sequence[Tensor | None] = (None, None)
        to_depthwise: Sequence[Tensor | None] = (None, None)
        to_reduce = None
        if any(ctx.needs_input_grad[3:8]):
            to_depthwise = _depthwise_gradients(hidden, to_convolved, k)
            layers = [*norm, *expand, *reduce]
            *to_expand, to_reduce = weight_gradients(
                x, to_out, layers, (reduced, to_hidden), ctx.eps, constants
            )
        gradients = (*to_norm, *to_expand, *to_depthwise, to_reduce, sums[2])
        return to_x, *typed(gradients, parameters), None, None, None, None, None


def _expanded(
    x: Tensor, parameters: list[Tensor], eps: float, norm_after: bool, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """Hidden features (b, h, w, e), and the weights of the convolution's taps (k * k, e)."""
    *layers, depthwise = parameters[:5]
    e, k = len(depthwise), depthwise.shape[-1]
    rows = x.numel() // x.shape[-1]
    hidden = x.new_empty(*x.shape[:-1], e, dtype=dtype)
    taps = x.new_empty(k * k, e, dtype=torch.float32)
    launch(
        _expand,
        (triton.cdiv(rows, 64),),
        (x, *layers, depthwise, hidden, taps),
        (rows, eps),
        E=_BLOCK,
        R=64,
        HP=triton.next_power_of_2(e),
        TAPS=k * k,
        **constants_of(x, layers[2], norm_after, dtype),
    )
    return hidden, taps


def _tiles(x_bhwc: Tensor, rows: int) -> tuple[int, tuple[int, int, int, int]]:
    """How many tiles all pictures have; height, width, and tiles down and across a picture."""
    b, h, w, _ = x_bhwc.shape
    down, across = triton.cdiv(h, rows), triton.cdiv(w, _COLUMNS)
    return b * down * across, (h, w, down, across)


def _depthwise_gradients(hidden: Tensor, to_convolved: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Gradients in float32 of the convolution's weight (e, 1, k, k) and bias (e)."""
    e = hidden.shape[-1]
    tiles, sizes = _tiles(hidden, _ROWS)
    span = k if k <= _MOST_SPAN else 1
    parts = hidden.new_empty(min(tiles, _SHARES), k * k + 1, e, dtype=torch.float32)
    launch(
        _to_taps,
        (len(parts), triton.cdiv(e, _BLOCK), k // span),
        (hidden, to_convolved, parts),
        (*sizes, tiles),
        stages=1,
        HIDDEN=e,
        E=_BLOCK,
        K=k,
        SPAN=span,
        ROWS=_ROWS,
        COLUMNS=_COLUMNS,
    )
    summed = parts.sum(0)
    return summed[:-1].t().reshape(e, 1, k, k), summed[-1]
