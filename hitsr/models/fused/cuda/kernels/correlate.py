"""HiT's correlation of given queries and values, with gradients: each direction in two passes.

S-SC is `q G + bias v↓`, where v↓ are values of the base cells and G is v↓ᵀ v↓ / d within each head;
C-SC is `v Aᵀ`, where A is qᵀ v / t. So the first pass over the pixels sums what a window has in
common: its cells and A. The second one makes each pixel's result. All of it is linear in each
argument, so the gradient has the same two passes: one sums gradients of G and A, the other makes
those of queries and values. The position bias belongs to all windows at once: between
the passes, `bias v↓` and its gradients are matrix products with a head's channels of all windows as
rows, so that heads of few channels, here 5, waste nothing and the bias is read few times.

In trained networks results reach 1e14, so everything between input and output is float32.

Shapes: b pictures, h height, w width, c channels of q or of v, o channels of the result, n windows
of all pictures, t tokens of a window, s base cells of a window, m heads, d channels of a head, r
ratio: pixels of a cell's side. A tile is one pixel (dy, dx) of every cell of a window: s tokens.
"""

from math import isqrt
from typing import Any, NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable

from hitsr.models.fused.cuda.kernels.common import channels
from hitsr.models.fused.cuda.kernels.launch import Product, fits, launch, product_of

MOST_CHANNELS = 32  # of queries, and of values
MOST_OUTPUTS = 64
MOST_SIDE = 64
_SIDES = (4, 8)  # of base windows, in cells
_ROWS = 32  # channels of windows that a program of the bias holds at once
_SUMMED = 32  # tokens that programs hold at once, at most, where they also hold sums of weights
_PROGRAMS = 256  # of sums for parameters, each of which has its share of the tokens


@triton.jit
def _first_pixel(n, columns, SIDE: tl.constexpr):
    """The first pixel of a window, among all pixels: pictures lie one below the other."""
    return (n // columns * SIDE * columns + n % columns) * SIDE


@triton.jit
def _pixels(n, i, columns, SIDE: tl.constexpr):
    """Where tokens i of a window, counted row by row, lie among all pixels."""
    return _first_pixel(n, columns, SIDE) + i // SIDE * columns * SIDE + i % SIDE


@triton.jit
def _by_head(n, windows, k, D: tl.constexpr, LENGTH: tl.constexpr):
    """Where channels k of a window begin in (m, n, d, LENGTH)."""
    return ((k // D * windows + n) * D + k % D) * LENGTH


@triton.jit
def _cells(
    cells_p, n, windows, C: tl.constexpr, CP: tl.constexpr, D: tl.constexpr, S: tl.constexpr
):
    """Values of a window's cells, or their gradients: (S, CP), zero beyond C."""
    k = tl.arange(0, CP)
    at = _by_head(n, windows, k, D, S)[None, :] + tl.arange(0, S)[:, None]
    return tl.load(cells_p + at, mask=(k < C)[None, :], other=0.0)


@triton.jit
def _within_heads(x, D: tl.constexpr, CP: tl.constexpr):
    """x (CP, CP) / D where two channels are of one head, else 0."""
    head = tl.arange(0, CP) // D
    return tl.where(head[:, None] == head[None, :], x * (1.0 / D), 0.0)


@triton.jit
def _block(x_p, rows, columns, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """The block of x at offsets of rows and columns as float32, zero beyond ROWS and COLUMNS."""
    i = tl.arange(0, rows.shape[0])
    j = tl.arange(0, columns.shape[0])
    real = (i < ROWS)[:, None] & (j < COLUMNS)[None, :]
    return tl.load(x_p + rows[:, None] + columns[None, :], mask=real, other=0.0).to(tl.float32)


@triton.jit
def _tokens(x_p, at, C: tl.constexpr, CP: tl.constexpr, STRIDE: tl.constexpr):
    """Channels of the pixels `at` as float32: (tokens, CP), zero beyond C."""
    k = tl.arange(0, CP)
    place = at[:, None] * STRIDE + k[None, :]
    return tl.load(x_p + place, mask=(k < C)[None, :], other=0.0).to(tl.float32)


@triton.jit
def _store_sums(
    cells_p, maps_p, cells, vq, n, windows,
    C: tl.constexpr, CP: tl.constexpr, D: tl.constexpr, S: tl.constexpr, TOKENS: tl.constexpr,
    PREC: tl.constexpr,
):  # fmt: skip
    """Store a window's cells, and both maps, which `vq` (CP, CP) is the second one's sum of."""
    k = tl.arange(0, CP)
    inside = (k < C)[None, :]
    at = _by_head(n, windows, k, D, S)[None, :] + tl.arange(0, S)[:, None]
    tl.store(cells_p + at, cells, mask=inside)
    gram = _within_heads(tl.dot(tl.trans(cells), cells, input_precision=PREC), D, CP)
    at = (2 * n * C + k[:, None]) * C + k[None, :]
    tl.store(maps_p + at, gram, mask=(k < C)[:, None] & inside)
    tl.store(maps_p + at + C * C, vq * (1.0 / TOKENS), mask=(k < C)[:, None] & inside)


@triton.jit(do_not_specialize=["windows", "columns"])
def _sum(
    qv_p, weight_p, bias_p, cells_p, maps_p, windows, columns,
    C: tl.constexpr, CP: tl.constexpr, D: tl.constexpr, CS: tl.constexpr, R: tl.constexpr,
    PREC: tl.constexpr,
):  # fmt: skip
    n = tl.program_id(0)
    dy = tl.program_id(1)
    S: tl.constexpr = CS * CS
    s = tl.arange(0, S)
    k = tl.arange(0, CP)
    at = _pixels(n, (s // CS * R + dy) * (CS * R) + s % CS * R, columns, CS * R)
    cells = tl.zeros((S, CP), tl.float32)
    vq = tl.zeros((CP, CP), tl.float32)
    for dx in range(R):
        q = _tokens(qv_p, at + dx, C, CP, 2 * C)
        v = _tokens(qv_p + C, at + dx, C, CP, 2 * C)
        cells += v * tl.load(weight_p + dy * R + dx).to(tl.float32)
        vq = tl.dot(tl.trans(v), q, vq, input_precision=PREC)
    if R == 1:
        cells = tl.where((k < C)[None, :], cells + tl.load(bias_p).to(tl.float32), 0.0)
        _store_sums(cells_p, maps_p, cells, vq, n, windows, C, CP, D, S, S, PREC)
    else:
        part = dy * windows + n
        tl.store(cells_p + (part * S + s[:, None]) * CP + k[None, :], cells)
        tl.store(maps_p + (part * CP + k[:, None]) * CP + k[None, :], vq)


@triton.jit(do_not_specialize=["windows"])
def _finish(
    cells_parts_p, vq_parts_p, bias_p, cells_p, maps_p, windows,
    C: tl.constexpr, CP: tl.constexpr, D: tl.constexpr, CS: tl.constexpr, R: tl.constexpr,
    PREC: tl.constexpr,
):  # fmt: skip
    n = tl.program_id(0)
    S: tl.constexpr = CS * CS
    s = tl.arange(0, S)
    k = tl.arange(0, CP)
    cells = tl.zeros((S, CP), tl.float32)
    vq = tl.zeros((CP, CP), tl.float32)
    for dy in range(R):
        part = dy * windows + n
        cells += tl.load(cells_parts_p + (part * S + s[:, None]) * CP + k[None, :])
        vq += tl.load(vq_parts_p + (part * CP + k[:, None]) * CP + k[None, :])
    cells = tl.where((k < C)[None, :], cells + tl.load(bias_p).to(tl.float32), 0.0)
    _store_sums(cells_p, maps_p, cells, vq, n, windows, C, CP, D, S, S * R * R, PREC)


@triton.jit(do_not_specialize=["windows", "columns"])
def _mix(
    qv_p, maps_p, biased_p, weight_p, bias_p, out_p, windows, columns,
    C: tl.constexpr, CP: tl.constexpr, OUT: tl.constexpr, OP: tl.constexpr, D: tl.constexpr,
    CS: tl.constexpr, R: tl.constexpr, T: tl.constexpr, BIASED: tl.constexpr, PREC: tl.constexpr,
):  # fmt: skip
    n = tl.program_id(0)
    SIDE: tl.constexpr = CS * R
    i = tl.program_id(1) * T + tl.arange(0, T)
    k = tl.arange(0, CP)
    o = tl.arange(0, OP)
    at = _pixels(n, i, columns, SIDE)
    square = maps_p + 2 * n * C * C
    mixed = tl.dot(
        _tokens(qv_p, at, C, CP, 2 * C), _block(square, k * C, k, C, C), input_precision=PREC
    )
    if BIASED:
        place = _by_head(n, windows, k, D, SIDE * SIDE)[None, :] + i[:, None]
        mixed += tl.load(biased_p + place, mask=(k < C)[None, :], other=0.0)
    weight = _block(weight_p, k, o * (2 * C), C, OUT)
    out = tl.dot(mixed, weight, input_precision=PREC)
    mixed = tl.dot(
        _tokens(qv_p + C, at, C, CP, 2 * C), _block(square + C * C, k * C, k, C, C),
        input_precision=PREC,
    )  # fmt: skip
    weight = _block(weight_p + C, k, o * (2 * C), C, OUT)
    out = tl.dot(mixed, weight, out, input_precision=PREC)
    out += channels(bias_p, OUT, OP)[None, :]
    place = at[:, None] * OUT + o[None, :]
    tl.store(out_p + place, out.to(out_p.dtype.element_ty), mask=(o < OUT)[None, :])


@triton.jit(do_not_specialize=["windows", "columns"])
def _biased_gradient(
    weight_p, grad_p, to_biased_p, windows, columns,
    C: tl.constexpr, CP: tl.constexpr, OUT: tl.constexpr, OP: tl.constexpr, D: tl.constexpr,
    CS: tl.constexpr, R: tl.constexpr, T: tl.constexpr, PREC: tl.constexpr,
):  # fmt: skip
    n = tl.program_id(0)
    SIDE: tl.constexpr = CS * R
    i = tl.program_id(1) * T + tl.arange(0, T)
    k = tl.arange(0, CP)
    o = tl.arange(0, OP)
    grad = _tokens(grad_p, _pixels(n, i, columns, SIDE), OUT, OP, OUT)
    weight = _block(weight_p, o * (2 * C), k, OUT, C)
    to_biased = tl.dot(grad, weight, input_precision=PREC)
    place = _by_head(n, windows, k, D, SIDE * SIDE)[None, :] + i[:, None]
    tl.store(to_biased_p + place, to_biased, mask=(k < C)[None, :])


@triton.jit(do_not_specialize=["windows", "columns"])
def _first_gradient(
    biased_p, grad_p, to_weight_p, windows, columns,
    C: tl.constexpr, CP: tl.constexpr, OUT: tl.constexpr, OP: tl.constexpr, D: tl.constexpr,
    CS: tl.constexpr, R: tl.constexpr, T: tl.constexpr, PREC: tl.constexpr,
):  # fmt: skip
    """Of the first half of the projection's weight, by way of biased values."""
    program = tl.program_id(0)
    SIDE: tl.constexpr = CS * R
    BLOCKS: tl.constexpr = SIDE * SIDE // T
    k = tl.arange(0, CP)
    o = tl.arange(0, OP)
    inside = (k < C)[None, :]
    to_weight = tl.zeros((OP, CP), tl.float32)
    for block in range(program, windows * BLOCKS, tl.num_programs(0)):
        n = block // BLOCKS
        i = block % BLOCKS * T + tl.arange(0, T)
        grad = _tokens(grad_p, _pixels(n, i, columns, SIDE), OUT, OP, OUT)
        place = _by_head(n, windows, k, D, SIDE * SIDE)[None, :] + i[:, None]
        biased = tl.load(biased_p + place, mask=inside, other=0.0)
        to_weight = tl.dot(tl.trans(grad), biased, to_weight, input_precision=PREC)
    place = to_weight_p + (program * OUT + o[:, None]) * C + k[None, :]
    tl.store(place, to_weight, mask=(o < OUT)[:, None] & inside)


@triton.jit(do_not_specialize=["windows", "columns"])
def _maps_gradient(
    qv_p, maps_p, weight_p, grad_p, to_maps_p, to_weight_p, windows, columns,
    C: tl.constexpr, CP: tl.constexpr, OUT: tl.constexpr, OP: tl.constexpr, CS: tl.constexpr,
    R: tl.constexpr, T: tl.constexpr, PARTS: tl.constexpr, BLOCKS: tl.constexpr,
    PREC: tl.constexpr,
):  # fmt: skip
    program = tl.program_id(0)
    branch = tl.program_id(1)
    k = tl.arange(0, CP)
    o = tl.arange(0, OP)
    to_weight = tl.zeros((OP, CP), tl.float32)
    for unit in range(program, windows * PARTS, tl.num_programs(0)):
        n = unit // PARTS
        along = tl.zeros((OP, CP), tl.float32)
        for block in range(BLOCKS):
            i = (unit % PARTS * BLOCKS + block) * T + tl.arange(0, T)
            at = _pixels(n, i, columns, CS * R)
            grad = _tokens(grad_p, at, OUT, OP, OUT)
            x = _tokens(qv_p + branch * C, at, C, CP, 2 * C)
            along = tl.dot(tl.trans(grad), x, along, input_precision=PREC)
        weight = _block(weight_p + branch * C, o * (2 * C), k, OUT, C)
        to_map = tl.dot(tl.trans(along), weight, input_precision=PREC)
        place = ((unit % PARTS * windows + n) * 2 + branch) * C * C
        place = to_maps_p + place + k[:, None] * C + k[None, :]
        tl.store(place, to_map, mask=(k < C)[:, None] & (k < C)[None, :])
        square = _block(maps_p + (2 * n + branch) * C * C, k * C, k, C, C)
        to_weight = tl.dot(along, square, to_weight, input_precision=PREC)
    place = to_weight_p + (program * OUT + o[:, None]) * (2 * C) + branch * C + k[None, :]
    tl.store(place, to_weight, mask=(o < OUT)[:, None] & (k < C)[None, :])


@triton.jit(do_not_specialize=["windows", "columns"])
def _qv_gradient(
    qv_p, cells_p, maps_p, base_p, weight_p, grad_p, to_maps_p, to_cells_p, to_qv_p, to_base_p,
    to_bias_p, windows, columns,
    C: tl.constexpr, CP: tl.constexpr, OUT: tl.constexpr, OP: tl.constexpr, D: tl.constexpr,
    CS: tl.constexpr, R: tl.constexpr, BIASED: tl.constexpr, PREC: tl.constexpr,
):  # fmt: skip
    n = tl.program_id(0)
    dy = tl.program_id(1)
    branch = tl.program_id(2)
    SIDE: tl.constexpr = CS * R
    s = tl.arange(0, CS * CS)
    k = tl.arange(0, CP)
    o = tl.arange(0, OP)
    at = _pixels(n, (s // CS * R + dy) * SIDE + s % CS * R, columns, SIDE)
    # G depends on the cells twice, and the other map on queries and values.
    square = to_maps_p + 2 * n * C * C
    to_gram = _block(square, k * C, k, C, C) + _block(square, k, k * C, C, C)
    cells = _cells(cells_p, n, windows, C, CP, D, CS * CS)
    to_cells = tl.dot(cells, _within_heads(to_gram, D, CP), input_precision=PREC)
    if BIASED:
        to_cells += _cells(to_cells_p, n, windows, C, CP, D, CS * CS)
    square += C * C
    down, right = tl.where(branch == 0, C, 1), tl.where(branch == 0, 1, C)
    other = _block(square, k * down, k * right, C, C) * (1.0 / (SIDE * SIDE))
    across = _block(maps_p + (2 * n + branch) * C * C, k, k * C, C, C)  # transposed
    weight = _block(weight_p + branch * C, o * (2 * C), k, OUT, C)
    weight = tl.dot(weight, across, input_precision=PREC)
    to_base = to_base_p + ((branch * tl.num_programs(0) + n) * R + dy) * (R + 1)
    to_bias = tl.zeros((OP,), tl.float32)
    for dx in range(R):
        grad = _tokens(grad_p, at + dx, OUT, OP, OUT)
        to_bias += tl.sum(grad, 0)
        to_x = tl.dot(grad, weight, input_precision=PREC)
        x = _tokens(qv_p + (1 - branch) * C, at + dx, C, CP, 2 * C)
        to_x = tl.dot(x, other, to_x, input_precision=PREC)
        to_x += to_cells * (tl.load(base_p + dy * R + dx).to(tl.float32) * branch)
        tl.store(to_base + dx, tl.sum(tl.sum(to_cells * x, 1), 0))  # of branch 0, whose x is v
        place = to_qv_p + (at + dx)[:, None] * (2 * C) + branch * C + k[None, :]
        tl.store(place, to_x.to(to_qv_p.dtype.element_ty), mask=(k < C)[None, :])
    tl.store(to_base + R, tl.sum(tl.sum(to_cells, 1), 0))
    tl.store(to_bias_p + (n * R + dy) * OUT + o, to_bias, mask=(o < OUT) & (branch == 0))


@triton.jit(do_not_specialize=["rows"])
def _bias(
    cells_p, bias_p, biased_p, rows,
    S: tl.constexpr, TOKENS: tl.constexpr, T: tl.constexpr, M: tl.constexpr, PREC: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0) * M + tl.arange(0, M)
    i = tl.program_id(1) * T + tl.arange(0, T)
    head = tl.program_id(2)
    s = tl.arange(0, S)
    real = (row < rows)[:, None]
    row += head * rows
    cells = tl.load(cells_p + row[:, None] * S + s[None, :], mask=real, other=0.0)
    bias = tl.load(bias_p + (head * TOKENS + i[:, None]) * S + s[None, :]).to(tl.float32)
    biased = tl.dot(cells, tl.trans(bias), input_precision=PREC)
    tl.store(biased_p + row[:, None] * TOKENS + i[None, :], biased, mask=real)


@triton.jit(do_not_specialize=["rows"])
def _bias_to_cells(
    to_biased_p, bias_p, to_cells_p, rows,
    S: tl.constexpr, TOKENS: tl.constexpr, T: tl.constexpr, M: tl.constexpr, PARTS: tl.constexpr,
    PREC: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0) * M + tl.arange(0, M)
    part = tl.program_id(1)
    head = tl.program_id(2)
    s = tl.arange(0, S)
    real = (row < rows)[:, None]
    row += head * rows
    to_cells = tl.zeros((M, S), tl.float32)
    for block in range(PARTS):
        i = (part * PARTS + block) * T + tl.arange(0, T)
        place = row[:, None] * TOKENS + i[None, :]
        to_biased = tl.load(to_biased_p + place, mask=real, other=0.0)
        bias = tl.load(bias_p + (head * TOKENS + i[:, None]) * S + s[None, :]).to(tl.float32)
        to_cells = tl.dot(to_biased, bias, to_cells, input_precision=PREC)
    place = (part * tl.num_programs(2) * rows + row[:, None]) * S + s[None, :]
    tl.store(to_cells_p + place, to_cells, mask=real)


@triton.jit(do_not_specialize=["rows", "blocks"])
def _bias_gradient(
    to_biased_p, cells_p, to_bias_p, rows, blocks,
    S: tl.constexpr, TOKENS: tl.constexpr, T: tl.constexpr, M: tl.constexpr, PREC: tl.constexpr,
):  # fmt: skip
    i = tl.program_id(0) * T + tl.arange(0, T)
    part = tl.program_id(1)
    head = tl.program_id(2)
    s = tl.arange(0, S)
    to_bias = tl.zeros((T, S), tl.float32)
    for block in range(part, blocks, tl.num_programs(1)):
        row = block * M + tl.arange(0, M)
        real = (row < rows)[:, None]
        row += head * rows
        place = row[:, None] * TOKENS + i[None, :]
        to_biased = tl.load(to_biased_p + place, mask=real, other=0.0)
        cells = tl.load(cells_p + row[:, None] * S + s[None, :], mask=real, other=0.0)
        to_bias = tl.dot(tl.trans(to_biased), cells, to_bias, input_precision=PREC)
    place = ((part * tl.num_programs(2) + head) * TOKENS + i[:, None]) * S + s[None, :]
    tl.store(to_bias_p + place, to_bias)


def why_not(qv_bhwc: Tensor, *, heads: int, window: int, ratio: int, outputs: int) -> str | None:
    """Why `correlate` cannot take queries and values of this shape; None if it can.

    It takes windows of 4 to 64 pixels a side, with 4x4 or 8x8 base cells, up to 32 channels of
    queries and of values in any number of heads, and up to 64 channels of the result.
    """
    b, h, w, both = qv_bhwc.shape
    c = both // 2
    if both % 2 or c % heads:
        return f"{both} channels of queries and values in {heads} heads"
    if c > MOST_CHANNELS:
        return f"{c} channels of queries, more than {MOST_CHANNELS}"
    if outputs > MOST_OUTPUTS:
        return f"{outputs} channels of the result, more than {MOST_OUTPUTS}"
    if window > MOST_SIDE or window % ratio or window // ratio not in _SIDES:
        return f"windows of {window} pixels with cells of {ratio}"
    if h % window or w % window:
        return f"{h}x{w} pixels, not whole windows of {window}"
    parts = _parts(window) * (b * h * w // window**2) * 2 * c**2
    if not fits(b * h * w * max(both, outputs), parts):
        return f"{b} pictures of {h}x{w} pixels, too many to count in 32 bits"
    return None


def correlate(
    qv_bhwc: Tensor,
    to_base_weight: Tensor,
    to_base_bias: Tensor,
    bias_mts: Tensor | None,
    proj_weight: Tensor,
    proj_bias: Tensor,
    *,
    heads: int,
    window: int,
    product: Product | None = None,
    dtype: torch.dtype | None = None,
) -> Tensor:
    """`Correlation._paper` of queries and values, without shift and context: (b, h, w, o).

    qv: queries and values, (b, h, w, 2c). to_base: weight (1, r²) and bias (1) of the projection to
    base cells. bias: of each token of a window, row by row, towards each of its base cells, (m, t,
    s). proj: weight (o, 2c) and bias (o). All may have any of the types of `launch.DTYPES`, each
    its own; `why_not` says which shapes there can be. Differentiable once, in all of them.

    product: how kernels multiply; by default, as a network in the dtype of qv does: "tf32" for 16
    bits, which has their exactness with the range of float32. dtype: of the result; by default that
    of qv, or float32 for float16, which may end below it.
    """
    if product is None:
        product = product_of(torch.float32) if qv_bhwc.dtype == torch.float32 else "tf32"
    if dtype is None:
        dtype = torch.float32 if qv_bhwc.dtype == torch.float16 else qv_bhwc.dtype
    out: Tensor = _Correlate.apply(
        qv_bhwc, to_base_weight, to_base_bias, bias_mts, proj_weight, proj_bias,
        _Sizes.of(qv_bhwc, to_base_weight, proj_weight, heads, window), product, dtype,
    )  # fmt: skip
    return out


class _Sizes(NamedTuple):
    windows: int
    columns: int  # of windows, in a picture
    heads: int
    window: int
    ratio: int
    c: int
    o: int

    @classmethod
    def of(
        cls, qv: Tensor, to_base_weight: Tensor, proj_weight: Tensor, heads: int, window: int
    ) -> "_Sizes":
        b, h, w, both = qv.shape
        ratio, columns = isqrt(to_base_weight.numel()), w // window
        windows = b * (h // window) * columns
        return cls(windows, columns, heads, window, ratio, both // 2, proj_weight.shape[0])

    @property
    def cells(self) -> int:
        return (self.window // self.ratio) ** 2

    @property
    def blocks(self) -> int:
        """Blocks of tokens of a window."""
        return self.window**2 // _tokens_of(self.window)

    @property
    def rows(self) -> int:
        """Channels of a head, of all windows."""
        return self.windows * self.c // self.heads

    @property
    def warps(self) -> int:
        """Of programs that hold one block of tokens."""
        return 4 if _tokens_of(self.window) == 64 else 2

    def numbers(self) -> tuple[int, int]:
        """What kernels of all windows are told."""
        return self.windows, self.columns

    def inputs(self) -> dict[str, int]:
        """What kernels that read queries and values are compiled for."""
        padded = max(16, triton.next_power_of_2(self.c))
        side, d = self.window // self.ratio, self.c // self.heads
        return {"C": self.c, "CP": padded, "D": d, "CS": side, "R": self.ratio}

    def outputs(self) -> dict[str, int]:
        """What kernels that project are compiled for, besides."""
        return {"OUT": self.o, "OP": max(16, triton.next_power_of_2(self.o))}

    def bias(self) -> dict[str, int]:
        """What kernels of the position bias are compiled for."""
        s, t, block = self.cells, self.window**2, _tokens_of(self.window)
        return {"S": s, "TOKENS": t, "T": block, "M": _ROWS, "warps": self.warps}


def _tokens_of(window: int) -> int:
    """Tokens that a program holds at once."""
    return 64 if window % 8 == 0 else 16


def _parts(window: int) -> int:
    """Parts of a window, each of so many blocks of tokens."""
    return isqrt(window**2 // _tokens_of(window))


class _Correlate(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, qv: Tensor, base_weight: Tensor, base_bias: Tensor, bias: Tensor | None,
        weight: Tensor, proj_bias: Tensor, sizes: _Sizes, product: Product, dtype: torch.dtype,
    ) -> Tensor:  # fmt: skip
        qv, weight, base_weight = (x.contiguous() for x in (qv, weight, base_weight))
        bias = None if bias is None else bias.contiguous()
        cells, maps = _sums(qv, base_weight, base_bias, sizes, product)
        out = qv.new_empty(*qv.shape[:3], sizes.o, dtype=dtype)
        biased = None if bias is None else _biased(cells, bias, sizes, product)
        launch(
            _mix, (sizes.windows, sizes.blocks), (qv, maps, biased, weight, proj_bias, out),
            sizes.numbers(), T=_tokens_of(sizes.window), BIASED=bias is not None, PREC=product,
            warps=sizes.warps, **sizes.inputs(), **sizes.outputs(),
        )  # fmt: skip
        ctx.save_for_backward(qv, base_weight, bias, weight, cells, maps)
        ctx.sizes, ctx.product = sizes, product
        ctx.dtypes = base_bias.dtype, proj_bias.dtype
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        qv, base_weight, bias, weight, cells, maps = ctx.saved_tensors
        sizes, product = ctx.sizes, ctx.product
        grad = grad.contiguous()
        to_maps, to_weight = _to_maps(qv, maps, weight, grad, sizes, product)
        to_cells = to_bias = None
        if bias is not None:
            biased = _biased(cells, bias, sizes, product)
            to_biased, to_first = _to_biased(biased, weight, grad, sizes, product)
            to_weight[:, : sizes.c] += to_first
            to_cells = _to_cells(to_biased, bias, sizes, product)
            if ctx.needs_input_grad[3]:
                to_bias = _to_bias(to_biased, cells, sizes, product).to(bias.dtype)
        to_qv, r = torch.empty_like(qv), sizes.ratio
        to_base = cells.new_empty(2, sizes.windows, r, r + 1)
        to_proj_bias = cells.new_empty(sizes.windows * r, sizes.o)
        launch(
            _qv_gradient, (sizes.windows, r, 2),
            (
                qv, cells, maps, base_weight, weight, grad, to_maps, to_cells, to_qv, to_base,
                to_proj_bias,
            ),
            sizes.numbers(), BIASED=bias is not None, PREC=product,
            **sizes.inputs(), **sizes.outputs(),
        )  # fmt: skip
        to_base = to_base[0].sum(0)
        base_bias_dtype, proj_bias_dtype = ctx.dtypes
        return (
            to_qv,
            to_base[:, :r].reshape(base_weight.shape).to(base_weight.dtype),
            to_base[0, r:].to(base_bias_dtype),
            to_bias,
            to_weight.to(weight.dtype),
            to_proj_bias.sum(0).to(proj_bias_dtype),
            None, None, None,
        )  # fmt: skip


def _sums(
    qv: Tensor, weight: Tensor, bias: Tensor, sizes: _Sizes, product: Product
) -> tuple[Tensor, Tensor]:
    """Values of base cells, (m, n d, s), and the maps of windows, (n, 2, c, c)."""
    n, c, r = sizes.windows, sizes.c, sizes.ratio
    constants = sizes.inputs()
    cells = qv.new_empty(sizes.heads, sizes.rows, sizes.cells, dtype=torch.float32)
    maps = qv.new_empty(n, 2, c, c, dtype=torch.float32)
    sums = cells, maps
    if r > 1:
        columns = constants["CP"]
        sums = cells.new_empty(r, n, sizes.cells, columns), maps.new_empty(r, n, columns, columns)
    tensors = (qv, weight, bias, *sums)
    launch(_sum, (n, r), tensors, sizes.numbers(), PREC=product, warps=sizes.warps, **constants)
    if r > 1:
        tensors = (*sums, bias, cells, maps)
        launch(_finish, (n,), tensors, (n,), PREC=product, warps=sizes.warps, **constants)
    return cells, maps


def _to_maps(
    qv: Tensor, maps: Tensor, weight: Tensor, grad: Tensor, sizes: _Sizes, product: Product
) -> tuple[Tensor, Tensor]:
    """Gradients of maps, (n, 2, c, c), and of the projection's weight by way of them."""
    parts, n, c, o = _parts(sizes.window), sizes.windows, sizes.c, sizes.o
    programs, block = min(n * parts, _PROGRAMS), min(_SUMMED, _tokens_of(sizes.window))
    to_maps = maps.new_empty(parts, n, 2, c, c)
    to_weight = maps.new_empty(programs, o, 2 * c)
    constants = sizes.inputs() | sizes.outputs()
    del constants["D"]
    launch(
        _maps_gradient, (programs, 2), (qv, maps, weight, grad, to_maps, to_weight),
        sizes.numbers(), T=block, PARTS=parts, BLOCKS=sizes.window**2 // (parts * block),
        PREC=product, stages=1, **constants,
    )  # fmt: skip
    return _summed(to_maps), to_weight.sum(0)


def _to_biased(
    biased: Tensor, weight: Tensor, grad: Tensor, sizes: _Sizes, product: Product
) -> tuple[Tensor, Tensor]:
    """Gradients of `_biased`, and of the projection's weight by way of it, (o, c)."""
    block = min(_SUMMED, _tokens_of(sizes.window))
    programs = min(sizes.windows * sizes.window**2 // block, _PROGRAMS)
    to_biased, to_first = torch.empty_like(biased), biased.new_empty(programs, sizes.o, sizes.c)
    numbers, constants = sizes.numbers(), sizes.inputs() | sizes.outputs()
    tensors = (biased, grad, to_first)
    launch(_first_gradient, (programs,), tensors, numbers, T=block, PREC=product, **constants)
    launch(
        _biased_gradient, (sizes.windows, sizes.blocks), (weight, grad, to_biased), numbers,
        T=_tokens_of(sizes.window), PREC=product, **constants,
    )  # fmt: skip
    return to_biased, to_first.sum(0)


def _biased(cells: Tensor, bias: Tensor, sizes: _Sizes, product: Product) -> Tensor:
    """`bias v↓`: (m, n d, s), (m, t, s) -> (m, n d, t)."""
    biased = cells.new_empty(*cells.shape[:2], sizes.window**2)
    grid = (triton.cdiv(sizes.rows, _ROWS), sizes.blocks, sizes.heads)
    launch(_bias, grid, (cells, bias, biased), (sizes.rows,), PREC=product, **sizes.bias())
    return biased


def _to_cells(to_biased: Tensor, bias: Tensor, sizes: _Sizes, product: Product) -> Tensor:
    """The gradient of cells by way of `_biased`: (m, n d, t), (m, t, s) -> (m, n d, s)."""
    parts = _parts(sizes.window)
    to_cells = to_biased.new_empty(parts, *to_biased.shape[:2], sizes.cells)
    grid = (triton.cdiv(sizes.rows, _ROWS), parts, sizes.heads)
    tensors, constants = (to_biased, bias, to_cells), sizes.bias() | {"PARTS": parts}
    launch(_bias_to_cells, grid, tensors, (sizes.rows,), PREC=product, **constants)
    return _summed(to_cells)


def _to_bias(to_biased: Tensor, cells: Tensor, sizes: _Sizes, product: Product) -> Tensor:
    """The gradient of the bias: (m, n d, t), (m, n d, s) -> (m, t, s)."""
    blocks = triton.cdiv(sizes.rows, _ROWS)
    parts = max(1, min(blocks, _PROGRAMS // (sizes.blocks * sizes.heads)))
    to_bias = cells.new_empty(parts, sizes.heads, sizes.window**2, sizes.cells)
    grid, numbers = (sizes.blocks, parts, sizes.heads), (sizes.rows, blocks)
    tensors = (to_biased, cells, to_bias)
    launch(_bias_gradient, grid, tensors, numbers, PREC=product, **sizes.bias())
    return _summed(to_bias)


def _summed(parts: Tensor) -> Tensor:
    return parts[0] if len(parts) == 1 else parts.sum(0)
