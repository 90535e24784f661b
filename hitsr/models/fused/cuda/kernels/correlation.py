"""HiT's first branch, `x + LN(correlation(x))`, for inference: few passes over the features.

A window has side² base cells of ratio x ratio pixels. A tile is the pixel (dy, dx) of every cell of
a window. So a base cell is a weighted sum of tiles, and a tile's position bias towards the base
cells is one matrix per head.

- `_squeeze` writes the squeezed picture, extended and with a border of zeros, so that the 3x3
  convolution of the features is one product without special cases.
- `_windows_of_one_tile` does everything else in windows whose tokens are their base cells.
- For larger windows, `_sums` makes queries and values, stores them in the order of the extended
  picture, and sums them in parts; `_combine` makes of each window's sums its base cells and one
  matrix; `_products` multiplies.
- n-gram context comes between: `_features_alone` makes queries and values, and the others read
  them and add the context of their windows.

Queries, values and all that is made of them are float32, multiplied as TF32 in networks of 16-bit
types: values of trained networks reach 1e14, and TF32 has the mantissa of float16. No kernel reads
what it stored, and rows that are no pixel and columns that are no channel hold zeros.

Shapes: b batch, h height, w width, c channels of features, n windows, t tokens of a window, s base
cells of a window, m heads; k channels of queries or of values (c / 2), e channels of the squeezed
picture, d channels of a head. Sizes of blocks in registers end in P: padded to a power of two.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor, nn

from hitsr.models.correlation import Correlation
from hitsr.models.fused.cuda.kernels.common import (
    TYPES,
    channels,
    leaky_relu,
    normed,
    reflected,
    transposed,
)
from hitsr.models.fused.cuda.kernels.launch import fits, launch, product_of
from hitsr.models.ngram import NgramContext

MOST_CHANNELS = 64
MOST_SIDE = 8
_MOST_RATIO = 255  # a launch has fewer than 2^16 programs beside the windows
_ROWS = 64  # pixels of one program, but for those that take a window's cells
_MOST_PARTS = 16  # of a window's sums, which one program of `_combine` adds up
_PROGRAMS = 512  # enough to keep a GPU busy

ContextOf = Callable[[NgramContext, Tensor], Tensor]


@triton.jit(do_not_specialize=["h", "w", "he", "we", "pixels"])
def _squeeze(
    x_p, weight_p, bias_p, squeezed_p, h, w, he, we, pixels,
    C: tl.constexpr, CP: tl.constexpr, E: tl.constexpr, ROWS: tl.constexpr,
    DT: tl.constexpr, PREC: tl.constexpr,
):  # fmt: skip
    """Squeezed pixels of the extended picture, with a border of zeros: (b, he + 2, we + 2, e)."""
    r = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    c = tl.arange(0, CP)
    e = tl.arange(0, 16)
    x = r % (we + 2) - 1
    y = r // (we + 2) % (he + 2) - 1
    inside = (r < pixels) & (x >= 0) & (x < we) & (y >= 0) & (y < he)
    b = r // ((he + 2) * (we + 2))
    at = (b * h + reflected(tl.maximum(y, 0), h)) * w + reflected(tl.maximum(x, 0), w)
    real = inside[:, None] & (c < C)[None, :]
    features = tl.load(x_p + at[:, None] * C + c[None, :], mask=real, other=0.0).to(DT)
    weight = transposed(weight_p, C, E, CP, 16).to(DT)
    found = tl.dot(features, weight, input_precision=PREC) + channels(bias_p, E, 16)[None, :]
    found = tl.where(inside[:, None], leaky_relu(found), 0.0)
    real = (r < pixels)[:, None] & (e < E)[None, :]
    tl.store(squeezed_p + r[:, None] * E + e[None, :], found.to(DT), mask=real)


@triton.jit
def _half_features(
    narrow, x_p, expand_p, expand_bias_p, gate_p, gate_bias_p, at, here, FIRST: tl.constexpr,
    C: tl.constexpr, CP: tl.constexpr, CHUNK: tl.constexpr, E: tl.constexpr, K: tl.constexpr,
    KP: tl.constexpr, DT: tl.constexpr, PREC: tl.constexpr,
):  # fmt: skip
    """K channels of the features from channel FIRST: (rows, KP) float32, zero where not `here`."""
    k = tl.arange(0, KP)
    gate = tl.zeros((at.shape[0], KP), tl.float32)
    gate += channels(gate_bias_p + FIRST, K, KP)[None, :]
    for first in range(0, CP, CHUNK):
        c = first + tl.arange(0, CHUNK)
        real = here[:, None] & (c < C)[None, :]
        x = tl.load(x_p + at[:, None] * C + c[None, :], mask=real, other=0.0).to(DT)
        real = (c < C)[:, None] & (k < K)[None, :]
        place = gate_p + (FIRST + k)[None, :] * C + c[:, None]
        gate = tl.dot(x, tl.load(place, mask=real, other=0.0).to(DT), gate, input_precision=PREC)
    expand = transposed(expand_p + FIRST * E, E, K, 16, KP).to(DT)
    found = tl.dot(narrow, expand, input_precision=PREC)
    found = (found + channels(expand_bias_p + FIRST, K, KP)[None, :]) * gate
    return tl.where(here[:, None], found, 0.0)


@triton.jit
def _features(
    x_p, squeezed_p, spatial_p, spatial_bias_p, expand_p, expand_bias_p, gate_p, gate_bias_p,
    b, y, x, here, h, w, he, we,
    C: tl.constexpr, CP: tl.constexpr, CHUNK: tl.constexpr, E: tl.constexpr,
    K: tl.constexpr, KP: tl.constexpr, DT: tl.constexpr, PREC: tl.constexpr,
):  # fmt: skip
    """Queries and values of pixels (b, y, x) of the extended picture: two of (rows, KP) float32.

    The convolution is one product over 9 E inputs, CHUNK at a time.
    """
    e = tl.arange(0, 16)
    corner = ((b * (he + 2) + y) * (we + 2) + x) * E  # of the 3x3 pixels
    narrow = tl.zeros((y.shape[0], 16), tl.float32) + channels(spatial_bias_p, E, 16)[None, :]
    for first in range(0, 9 * E, CHUNK):
        i = first + tl.arange(0, CHUNK)
        tap = i // E
        away = (tap // 3 * (we + 2) + tap % 3) * E + i % E
        real = here[:, None] & (i < 9 * E)[None, :]
        near = tl.load(squeezed_p + corner[:, None] + away[None, :], mask=real, other=0.0)
        real = (i < 9 * E)[:, None] & (e < E)[None, :]
        at = e[None, :] * (9 * E) + (i % E * 9 + tap)[:, None]
        weight = tl.load(spatial_p + at, mask=real, other=0.0).to(DT)
        narrow = tl.dot(near, weight, narrow, input_precision=PREC)
    narrow = leaky_relu(narrow).to(DT)
    at = (b * h + reflected(y, h)) * w + reflected(x, w)
    q = _half_features(
        narrow, x_p, expand_p, expand_bias_p, gate_p, gate_bias_p, at, here,
        0, C, CP, CHUNK, E, K, KP, DT, PREC,
    )  # fmt: skip
    v = _half_features(
        narrow, x_p, expand_p, expand_bias_p, gate_p, gate_bias_p, at, here,
        K, C, CP, CHUNK, E, K, KP, DT, PREC,
    )  # fmt: skip
    return q, v


@triton.jit
def _stored(
    qv_p, context_p, at, window, here,
    C: tl.constexpr, K: tl.constexpr, KP: tl.constexpr, CONTEXT: tl.constexpr,
):  # fmt: skip
    """Queries and values of stored pixels, with the context of their windows added to them."""
    k = tl.arange(0, KP)
    real = here[:, None] & (k < K)[None, :]
    place = qv_p + at[:, None] * C + k[None, :]
    q = tl.load(place, mask=real, other=0.0)
    v = tl.load(place + K, mask=real, other=0.0)
    if CONTEXT:
        place = context_p + window[:, None] * C + k[None, :]
        # Sums of pairs, since Triton would repeat an addition in each layout that needs its result,
        # which takes all registers.
        q = tl.sum(tl.join(q, tl.load(place, mask=real, other=0.0).to(tl.float32)), 2)
        v = tl.sum(tl.join(v, tl.load(place + K, mask=real, other=0.0).to(tl.float32)), 2)
    return q, v


@triton.jit
def _same_head(ROWS: tl.constexpr, KP: tl.constexpr, D: tl.constexpr):
    """Where channels of a row and of a column are of one head; rows repeat every KP."""
    return ((tl.arange(0, ROWS) % KP) // D)[:, None] == (tl.arange(0, KP) // D)[None, :]


@triton.jit
def _biased(
    base, bias_p, S: tl.constexpr, SP: tl.constexpr, KP: tl.constexpr, COLUMNS: tl.constexpr,
    HEADS: tl.constexpr, D: tl.constexpr, PREC: tl.constexpr,
):  # fmt: skip
    """Position biases times base cells (SP, COLUMNS), which have KP columns for each window."""
    s = tl.arange(0, SP)
    head = tl.arange(0, COLUMNS) % KP // D
    real = (s < S)[:, None] & (s < S)[None, :]
    at = s[:, None] * S + s[None, :]
    found = tl.zeros((SP, COLUMNS), tl.float32)
    for m in range(HEADS):
        bias = tl.load(bias_p + m * S * S + at, mask=real, other=0.0).to(tl.float32)
        own = tl.where((head == m)[None, :], base, 0.0)
        found = tl.dot(bias, own, found, input_precision=PREC)
    return found


@triton.jit
def _add_normed(
    x_p, y_p, mixed, proj_bias_p, norm_p, norm_bias_p, at, here, eps,
    C: tl.constexpr, CP: tl.constexpr,
):  # fmt: skip
    """Store x + LN(mixed + bias of the projection) of pixels `at` that are `here`."""
    c = tl.arange(0, CP)
    mixed += channels(proj_bias_p, C, CP)[None, :]
    weight, bias = channels(norm_p, C, CP), channels(norm_bias_p, C, CP)
    mixed = normed(mixed, c < C, weight, bias, eps, C)
    real = here[:, None] & (c < C)[None, :]
    place = at[:, None] * C + c[None, :]
    mixed += tl.load(x_p + place, mask=real, other=0.0).to(tl.float32)
    tl.store(y_p + place, mixed.to(y_p.dtype.element_ty), mask=real)


@triton.jit
def _projection(
    proj_p, FIRST, LAST, C: tl.constexpr, CP: tl.constexpr, ROWS: tl.constexpr
):  # fmt: skip
    """The projection (C, C) for channels from FIRST to LAST, transposed: (ROWS, CP) float32."""
    k = FIRST + tl.arange(0, ROWS)
    c = tl.arange(0, CP)
    real = (k < LAST)[:, None] & (c < C)[None, :]
    at = c[None, :] * C + k[:, None]
    return tl.load(proj_p + at, mask=real, other=0.0).to(tl.float32)


@triton.jit
def _by_window(x, SP: tl.constexpr, KP: tl.constexpr, WINDOWS: tl.constexpr):
    """(windows x SP, KP) -> (windows x SP, windows x KP): each window has own columns."""
    if WINDOWS == 1:
        return x
    window = tl.arange(0, WINDOWS * SP) // SP
    own = window[:, None] == tl.arange(0, WINDOWS)[None, :]
    wide = tl.where(own[:, :, None], x[:, None, :], 0.0)
    return tl.reshape(wide, (WINDOWS * SP, WINDOWS * KP))


@triton.jit(do_not_specialize=["h", "w", "rows", "columns", "windows"])
def _windows_of_one_tile(
    x_p, y_p, squeezed_p, qv_p, context_p, spatial_p, spatial_bias_p, expand_p, expand_bias_p,
    gate_p, gate_bias_p, to_base_p, to_base_bias_p, bias_p, proj_p, proj_bias_p, norm_p,
    norm_bias_p, h, w, rows, columns, windows, eps,
    C: tl.constexpr, CP: tl.constexpr, CHUNK: tl.constexpr, E: tl.constexpr,
    K: tl.constexpr, KP: tl.constexpr, SIDE: tl.constexpr, SP: tl.constexpr, WINDOWS: tl.constexpr,
    HEADS: tl.constexpr, D: tl.constexpr, BIAS: tl.constexpr, CONTEXT: tl.constexpr,
    DT: tl.constexpr, PREC: tl.constexpr, WIDE: tl.constexpr,
):  # fmt: skip
    """x + LN(correlation(x)) in windows whose tokens are their base cells, WINDOWS at a time.

    With CONTEXT, queries and values are read, and have their windows' context added to them.
    """
    S: tl.constexpr = SIDE * SIDE
    j = tl.arange(0, WINDOWS * SP)
    n = tl.program_id(0) * WINDOWS + j // SP
    s = j % SP
    here = (n < windows) & (s < S)
    x = n % columns * SIDE + s % SIDE
    y = n // columns % rows * SIDE + s // SIDE
    b = n // (rows * columns)
    if CONTEXT:
        at = (b * rows * SIDE + y) * (columns * SIDE) + x
        q, v = _stored(qv_p, context_p, at, n, here, C, K, KP, True)
    else:
        q, v = _features(
            x_p, squeezed_p, spatial_p, spatial_bias_p, expand_p, expand_bias_p, gate_p,
            gate_bias_p, b, y, x, here, h, w, rows * SIDE, columns * SIDE,
            C, CP, CHUNK, E, K, KP, DT, PREC,
        )  # fmt: skip
    k = tl.arange(0, KP)
    base = v * tl.load(to_base_p).to(tl.float32) + tl.load(to_base_bias_p).to(tl.float32)
    base = tl.where(here[:, None] & (k < K)[None, :], base, 0.0)
    gram = tl.dot(tl.trans(_by_window(base, SP, KP, WINDOWS)), base, input_precision=WIDE)
    gram = tl.where(_same_head(WINDOWS * KP, KP, D), gram / D, 0.0)
    spatial = tl.dot(_by_window(q, SP, KP, WINDOWS), gram, input_precision=WIDE)
    if BIAS:
        if WINDOWS == 1:
            spatial += _biased(base, bias_p, S, SP, KP, KP, HEADS, D, WIDE)
        else:
            side_by_side = tl.permute(tl.reshape(base, (WINDOWS, SP, KP)), (1, 0, 2))
            side_by_side = tl.reshape(side_by_side, (SP, WINDOWS * KP))
            found = _biased(side_by_side, bias_p, S, SP, KP, WINDOWS * KP, HEADS, D, WIDE)
            found = tl.permute(tl.reshape(found, (SP, WINDOWS, KP)), (1, 0, 2))
            spatial += tl.reshape(found, (WINDOWS * SP, KP))
    mixed = tl.dot(spatial, _projection(proj_p, 0, K, C, CP, KP), input_precision=WIDE)
    by_window = _by_window(v, SP, KP, WINDOWS)
    across = tl.dot(tl.trans(by_window), q, input_precision=WIDE) / S
    channel = tl.dot(by_window, across, input_precision=WIDE)
    mixed = tl.dot(channel, _projection(proj_p, K, C, C, CP, KP), mixed, input_precision=WIDE)
    at = (b * h + y) * w + x
    seen = here & (y < h) & (x < w)
    _add_normed(x_p, y_p, mixed, proj_bias_p, norm_p, norm_bias_p, at, seen, eps, C, CP)


@triton.jit(do_not_specialize=["h", "w", "rows", "columns", "tiles"])
def _sums(
    x_p, squeezed_p, qv_p, context_p, base_p, across_p, spatial_p, spatial_bias_p, expand_p,
    expand_bias_p, gate_p, gate_bias_p, to_base_p, h, w, rows, columns, tiles,
    C: tl.constexpr, CP: tl.constexpr, CHUNK: tl.constexpr, E: tl.constexpr,
    K: tl.constexpr, KP: tl.constexpr, SIDE: tl.constexpr, SP: tl.constexpr, RATIO: tl.constexpr,
    CONTEXT: tl.constexpr, DT: tl.constexpr, PREC: tl.constexpr, WIDE: tl.constexpr,
):  # fmt: skip
    """What some tiles of a window add to its base cells and to its sums of values by queries.

    Queries and values are computed and stored; with CONTEXT, they are read and have their windows'
    context added to them. base: (n, parts, s, k), across: (n, parts, k, k).
    """
    S: tl.constexpr = SIDE * SIDE
    n = tl.program_id(0)
    part = tl.program_id(1)
    s = tl.arange(0, SP)
    k = tl.arange(0, KP)
    here = s < S
    left = (n % columns * SIDE + s % SIDE) * RATIO
    top = (n // columns % rows * SIDE + s // SIDE) * RATIO
    b = n // (rows * columns)
    he = rows * SIDE * RATIO
    we = columns * SIDE * RATIO
    base = tl.zeros((SP, KP), tl.float32)
    across = tl.zeros((KP, KP), tl.float32)
    for tile in range(part * tiles, tl.minimum(part * tiles + tiles, RATIO * RATIO)):
        y = top + tile // RATIO
        x = left + tile % RATIO
        at = (b * he + y) * we + x
        if CONTEXT:
            q, v = _stored(qv_p, context_p, at, n + s * 0, here, C, K, KP, True)
        else:
            q, v = _features(
                x_p, squeezed_p, spatial_p, spatial_bias_p, expand_p, expand_bias_p, gate_p,
                gate_bias_p, b, y, x, here, h, w, he, we, C, CP, CHUNK, E, K, KP, DT, PREC,
            )  # fmt: skip
            real = here[:, None] & (k < K)[None, :]
            place = qv_p + at[:, None] * C + k[None, :]
            tl.store(place, q, mask=real)
            tl.store(place + K, v, mask=real)
        base += v * tl.load(to_base_p + tile).to(tl.float32)
        across = tl.dot(tl.trans(v), q, across, input_precision=WIDE)
    first = n * tl.num_programs(1) + part
    at = (first * S + s[:, None]) * K + k[None, :]
    tl.store(base_p + at, base, mask=here[:, None] & (k < K)[None, :])
    at = (first * K + k[:, None]) * K + k[None, :]
    tl.store(across_p + at, across, mask=(k < K)[:, None] & (k < K)[None, :])


@triton.jit(do_not_specialize=["parts"])
def _combine(
    base_p, across_p, to_base_bias_p, proj_p, combined_base_p, matrix_p, parts,
    C: tl.constexpr, CP: tl.constexpr, K: tl.constexpr, KP: tl.constexpr, S: tl.constexpr,
    SP: tl.constexpr, TOKENS: tl.constexpr, D: tl.constexpr, WIDE: tl.constexpr,
):  # fmt: skip
    """What a window's tokens have in common, from the parts of its sums.

    combined_base: (n, s, k). matrix: (n, c, c), which makes of a token's queries and values the
    projection of both branches, but for the position bias.
    """
    n = tl.program_id(0)
    s = tl.arange(0, SP)
    k = tl.arange(0, KP)
    c = tl.arange(0, CP)
    of_base = (s < S)[:, None] & (k < K)[None, :]
    of_across = (k < K)[:, None] & (k < K)[None, :]
    base = tl.zeros((SP, KP), tl.float32)
    across = tl.zeros((KP, KP), tl.float32)
    for part in tl.range(n * parts, n * parts + parts, loop_unroll_factor=4):  # loads at once
        at = (part * S + s[:, None]) * K + k[None, :]
        base += tl.load(base_p + at, mask=of_base, other=0.0)
        at = (part * K + k[:, None]) * K + k[None, :]
        across += tl.load(across_p + at, mask=of_across, other=0.0)
    base = tl.where(of_base, base + tl.load(to_base_bias_p).to(tl.float32), 0.0)
    tl.store(combined_base_p + (n * S + s[:, None]) * K + k[None, :], base, mask=of_base)
    gram = tl.dot(tl.trans(base), base, input_precision=WIDE)
    gram = tl.where(_same_head(KP, KP, D), gram / D, 0.0)
    real = (k < K)[:, None] & (c < C)[None, :]
    place = matrix_p + (n * C + k[:, None]) * C + c[None, :]
    spatial = tl.dot(gram, _projection(proj_p, 0, K, C, CP, KP), input_precision=WIDE)
    tl.store(place, spatial, mask=real)
    channel = tl.dot(across / TOKENS, _projection(proj_p, K, C, C, CP, KP), input_precision=WIDE)
    tl.store(place + K * C, channel, mask=real)


@triton.jit
def _biased_group(
    base_p, bias_p, first_window, windows, group,
    K: tl.constexpr, S: tl.constexpr, SP: tl.constexpr, WINDOWS: tl.constexpr,
    HEADS: tl.constexpr, D: tl.constexpr, GROUP: tl.constexpr, GP: tl.constexpr,
    CHUNK: tl.constexpr, WIDE: tl.constexpr,
):  # fmt: skip
    """Position biases of a tile times base cells of some windows, for a group of whole heads.

    (SP, WINDOWS x GP): GP columns for each window, the first GROUP x D of which are channels.
    """
    t = tl.arange(0, SP)
    column = tl.arange(0, WINDOWS * GP)
    n = first_window + column // GP
    k = group * (GROUP * D) + column % GP
    head = k // D
    own = (column % GP < GROUP * D) & (k < K) & (n < windows)
    found = tl.zeros((SP, WINDOWS * GP), tl.float32)
    CHUNKS: tl.constexpr = (SP + CHUNK - 1) // CHUNK
    for i in range(group * GROUP * CHUNKS, tl.minimum(group * GROUP + GROUP, HEADS) * CHUNKS):
        m = i // CHUNKS
        s = i % CHUNKS * CHUNK + tl.arange(0, CHUNK)
        real = (t < S)[:, None] & (s < S)[None, :]
        at = (m * S + t[:, None]) * S + s[None, :]
        bias = tl.load(bias_p + at, mask=real, other=0.0).to(tl.float32)
        real = (s < S)[:, None] & (own & (head == m))[None, :]
        at = (n[None, :] * S + s[:, None]) * K + k[None, :]
        base = tl.load(base_p + at, mask=real, other=0.0)
        found = tl.dot(bias, base, found, input_precision=WIDE)
    return found


@triton.jit
def _add_biased(
    mixed, biased, proj_p, group,
    C: tl.constexpr, CP: tl.constexpr, K: tl.constexpr, SIZE: tl.constexpr, GP: tl.constexpr,
    WIDE: tl.constexpr,
):  # fmt: skip
    """mixed (SP, CP), and the projection of a group's biased cells (SP, GP)."""
    part = _projection(proj_p, group * SIZE, K, C, CP, GP)
    return tl.dot(biased, part, mixed, input_precision=WIDE)


@triton.jit
def _finish(
    mixed, x_p, y_p, qv_p, context_p, matrix_p, proj_bias_p, norm_p, norm_bias_p, n, tile,
    h, w, rows, columns, windows, eps,
    C: tl.constexpr, CP: tl.constexpr, CHUNK: tl.constexpr, SIDE: tl.constexpr, SP: tl.constexpr,
    RATIO: tl.constexpr, CONTEXT: tl.constexpr, WIDE: tl.constexpr,
):  # fmt: skip
    """A tile's result, from its window's matrix and what the position bias gave."""
    s = tl.arange(0, SP)
    o = tl.arange(0, CP)
    here = (s < SIDE * SIDE) & (n < windows)
    x = (n % columns * SIDE + s % SIDE) * RATIO + tile % RATIO
    y = (n // columns % rows * SIDE + s // SIDE) * RATIO + tile // RATIO
    b = n // (rows * columns)
    at = (b * (rows * SIDE * RATIO) + y) * (columns * SIDE * RATIO) + x
    for first in range(0, CP, CHUNK):
        c = first + tl.arange(0, CHUNK)
        real = here[:, None] & (c < C)[None, :]
        qv = tl.load(qv_p + at[:, None] * C + c[None, :], mask=real, other=0.0)
        if CONTEXT:
            added = tl.load(context_p + n * C + c, mask=(c < C) & (n < windows), other=0.0)
            qv += added.to(tl.float32)[None, :]
        real = (c < C)[:, None] & ((o < C) & (n < windows))[None, :]
        place = matrix_p + (n * C + c[:, None]) * C + o[None, :]
        matrix = tl.load(place, mask=real, other=0.0)
        mixed = tl.dot(qv, matrix, mixed, input_precision=WIDE)
    seen = here & (y < h) & (x < w)
    at = (b * h + y) * w + x
    _add_normed(x_p, y_p, mixed, proj_bias_p, norm_p, norm_bias_p, at, seen, eps, C, CP)


@triton.jit(do_not_specialize=["h", "w", "rows", "columns", "windows"])
def _products(
    x_p, y_p, qv_p, context_p, base_p, matrix_p, bias_p, proj_p, proj_bias_p, norm_p, norm_bias_p,
    h, w, rows, columns, windows, eps,
    C: tl.constexpr, CP: tl.constexpr, CHUNK: tl.constexpr, K: tl.constexpr, SIDE: tl.constexpr,
    SP: tl.constexpr, RATIO: tl.constexpr, HEADS: tl.constexpr,
    D: tl.constexpr, GROUP: tl.constexpr, GP: tl.constexpr, PAIR: tl.constexpr,
    BIAS: tl.constexpr, CONTEXT: tl.constexpr, WIDE: tl.constexpr,
):  # fmt: skip
    """x + LN(correlation(x)) of one tile of one window, or with PAIR of two, from `_combine`.

    A tile has many biases, so that two windows read them together.
    """
    S: tl.constexpr = SIDE * SIDE
    WINDOWS: tl.constexpr = 2 if PAIR else 1
    n = tl.program_id(0) * WINDOWS
    tile = tl.program_id(1)
    first = tl.zeros((SP, CP), tl.float32)
    second = tl.zeros((SP, CP), tl.float32)
    if BIAS:
        for group in range((HEADS + GROUP - 1) // GROUP):
            biased = _biased_group(
                base_p, bias_p + tile * (HEADS * S * S), n, windows, group,
                K, S, SP, WINDOWS, HEADS, D, GROUP, GP, CHUNK, WIDE,
            )  # fmt: skip
            if PAIR:
                pair = tl.permute(tl.reshape(biased, (SP, 2, GP)), (0, 2, 1))
                biased, other = tl.split(pair)
                second = _add_biased(second, other, proj_p, group, C, CP, K, GROUP * D, GP, WIDE)
            first = _add_biased(first, biased, proj_p, group, C, CP, K, GROUP * D, GP, WIDE)
    _finish(
        first, x_p, y_p, qv_p, context_p, matrix_p, proj_bias_p, norm_p, norm_bias_p, n, tile,
        h, w, rows, columns, windows, eps, C, CP, CHUNK, SIDE, SP, RATIO, CONTEXT, WIDE,
    )  # fmt: skip
    if PAIR:
        _finish(
            second, x_p, y_p, qv_p, context_p, matrix_p, proj_bias_p, norm_p, norm_bias_p, n + 1,
            tile, h, w, rows, columns, windows, eps,
            C, CP, CHUNK, SIDE, SP, RATIO, CONTEXT, WIDE,
        )  # fmt: skip


@triton.jit(do_not_specialize=["h", "w", "he", "we", "pixels"])
def _features_alone(
    x_p, squeezed_p, qv_p, spatial_p, spatial_bias_p, expand_p, expand_bias_p, gate_p, gate_bias_p,
    h, w, he, we, pixels,
    C: tl.constexpr, CP: tl.constexpr, CHUNK: tl.constexpr, E: tl.constexpr,
    K: tl.constexpr, KP: tl.constexpr, ROWS: tl.constexpr, DT: tl.constexpr, PREC: tl.constexpr,
):  # fmt: skip
    """Queries and values of the extended picture: (b, he, we, c)."""
    r = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    k = tl.arange(0, KP)
    here = r < pixels
    q, v = _features(
        x_p, squeezed_p, spatial_p, spatial_bias_p, expand_p, expand_bias_p, gate_p, gate_bias_p,
        r // (he * we), r // we % he, r % we, here, h, w, he, we,
        C, CP, CHUNK, E, K, KP, DT, PREC,
    )  # fmt: skip
    real = here[:, None] & (k < K)[None, :]
    place = qv_p + r[:, None] * C + k[None, :]
    tl.store(place, q, mask=real)
    tl.store(place + K, v, mask=real)


class _Shape(NamedTuple):
    """A picture in windows."""

    b: int
    h: int
    w: int
    rows: int  # of windows
    columns: int
    side: int  # of a window, in base cells
    ratio: int

    @property
    def windows(self) -> int:
        return self.b * self.rows * self.columns

    @property
    def extended(self) -> tuple[int, int]:
        """Height and width of the extended picture."""
        window = self.side * self.ratio
        return self.rows * window, self.columns * window


def _shape(x_bhwc: Tensor, mixer: Correlation) -> _Shape:
    b, h, w, _ = x_bhwc.shape
    grams = 1 if mixer.context is None else mixer.context.grams
    rows, columns = (triton.cdiv(size, mixer.window * grams) * grams for size in (h, w))
    return _Shape(b, h, w, rows, columns, mixer.window // mixer.ratio, mixer.ratio)


def why_not_correlation(x_bhwc: Tensor, mixer: Correlation) -> str | None:
    """Why these kernels cannot take a picture's features and a mixer; None if they can."""
    c = x_bhwc.shape[-1]
    if c > MOST_CHANNELS:
        return f"{c} channels, more than {MOST_CHANNELS}"
    if mixer.to_base is None or not mixer.channel:
        return "one branch alone"
    if mixer.features.kind != "dual":
        return f"{mixer.features.kind} features"
    if mixer.softmax:
        return "a softmax"
    if mixer.shift:
        return "shifted windows"
    shape = _shape(x_bhwc, mixer)
    if shape.side > MOST_SIDE:
        return f"base windows of {shape.side}x{shape.side}, more than {MOST_SIDE}x{MOST_SIDE}"
    if shape.ratio > _MOST_RATIO:
        return f"cells of {shape.ratio}x{shape.ratio} pixels, more than 255x255"
    he, we = shape.extended
    parts = min(shape.ratio**2, _MOST_PARTS)
    sums = shape.windows * max(parts * (c // 2) * max(shape.side**2, c // 2), c * c)
    if not fits(shape.b * (he + 2) * (we + 2) * c, sums):
        return "more values than 32 bits count"
    return None


def laid_out(bias: Tensor, window: int, ratio: int) -> Tensor:
    """Position biases in the order of tiles: (m, t, s) -> (ratio², m, s, s), contiguous.

    The first s are the tile's tokens, one of each cell, the second the base cells.
    """
    side = window // ratio
    cells = bias.unflatten(1, (side, ratio, side, ratio)).permute(2, 4, 0, 1, 3, 5)
    tiles: Tensor = cells.reshape(ratio**2, bias.shape[0], side**2, side**2)
    return tiles.contiguous()


def correlation_branch(
    x_bhwc: Tensor,
    norm: nn.LayerNorm,
    mixer: Correlation,
    bias: Tensor | None,
    *,
    dtype: torch.dtype | None = None,
    context_of: ContextOf | None = None,
) -> Tensor:
    """`x + norm(mixer(extend(x)))`, without the extension: (b, h, w, c) -> (b, h, w, c).

    For what `why_not_correlation` takes; not differentiable. x and the parameters may have any of
    the types of `launch.DTYPES`, each its own. `bias`, of any of them, is `laid_out`'s; None for a
    mixer without positions. `dtype`: of the features' products, else that of x; later products are
    of float32 values, as TF32 where `dtype` has 16 bits. The result has the dtype of x.

    A mixer with n-gram context needs `context_of`: from queries and values of the extended picture,
    (b, rows x window, columns x window, c) float32, the context of each window: (b, rows, columns,
    c), of any of the types.
    """
    assert (bias is None) == (mixer.position is None), "biases are those of the mixer's positions"
    x_bhwc = x_bhwc.contiguous()
    work = _Work(x_bhwc, norm, mixer, bias, dtype or x_bhwc.dtype)
    squeezed = work.squeezed()
    if mixer.context is None:
        if work.at_once:
            return work.windows_of_one_tile(squeezed, None, None)
        qv, context = work.queries_and_values(), None
    else:
        assert context_of is not None, "the mixer has n-gram context"
        qv = work.features(squeezed)
        context = context_of(mixer.context, qv).contiguous()
        if work.at_once:
            return work.windows_of_one_tile(squeezed, qv, context)
    return work.products(qv, context, *work.combined(*work.sums(squeezed, qv, context)))


class _Work:
    """The launches of one branch, on one picture's features."""

    def __init__(
        self,
        x_bhwc: Tensor,
        norm: nn.LayerNorm,
        mixer: Correlation,
        bias: Tensor | None,
        dtype: torch.dtype,
    ) -> None:
        self.x, self.norm, self.mixer, self.bias, self.dtype = x_bhwc, norm, mixer, bias, dtype
        self.shape = _shape(x_bhwc, mixer)
        c, k = x_bhwc.shape[-1], x_bhwc.shape[-1] // 2
        exact = product_of(dtype)
        self.channels: dict[str, Any] = {"C": c, "CP": _padded(c), "K": k, "KP": _padded(k)}
        self.types: dict[str, Any] = {"DT": TYPES[dtype], "PREC": exact}
        self.wide: dict[str, Any] = {"WIDE": "tf32" if exact == "ieee" else exact}
        # Three products in TF32 need twice the registers, so they get smaller blocks.
        self.chunk, self.rows = (16, 32) if exact == "tf32x3" else (32, 64)
        narrow = mixer.features.squeeze.out_channels
        self.squeezing = {"E": narrow, "CHUNK": self.chunk}
        side = self.shape.side
        self.cells = {"SIDE": side, "SP": _padded(side**2)}
        self.at_once = self.shape.ratio == 1 and self.cells["SP"] <= self.rows
        self.heads = {"HEADS": mixer.heads, "D": k // mixer.heads, "BIAS": bias is not None}

    def squeezed(self) -> Tensor:
        """(b, he + 2, we + 2, e)"""
        b, h, w = self.shape[:3]
        he, we = self.shape.extended
        narrow = self.squeezing["E"]
        out = self.x.new_empty(b, he + 2, we + 2, narrow, dtype=self.dtype)
        squeeze = self.mixer.features.squeeze
        tensors = (self.x, squeeze.weight, squeeze.bias, out)
        pixels = b * (he + 2) * (we + 2)
        grid = (triton.cdiv(pixels, _ROWS),)
        constants = {"C": self.channels["C"], "CP": self.channels["CP"], "E": narrow, **self.types}
        launch(_squeeze, grid, tensors, (h, w, he, we, pixels), ROWS=_ROWS, **constants)
        return out

    def queries_and_values(self) -> Tensor:
        """Memory for them: (b, he, we, c)"""
        size = (self.shape.b, *self.shape.extended, self.channels["C"])
        return self.x.new_empty(size, dtype=torch.float32)

    def features(self, squeezed: Tensor) -> Tensor:
        """Queries and values: (b, he, we, c)"""
        qv = self.queries_and_values()
        he, we = self.shape.extended
        pixels = self.shape.b * he * we
        tensors = (self.x, squeezed, qv, *self._of_features())
        numbers = (self.shape.h, self.shape.w, he, we, pixels)
        constants = self.channels | self.squeezing | self.types
        grid = (triton.cdiv(pixels, _ROWS),)
        launch(_features_alone, grid, tensors, numbers, ROWS=_ROWS, **constants)
        return qv

    def windows_of_one_tile(
        self, squeezed: Tensor, qv: Tensor | None, context: Tensor | None
    ) -> Tensor:
        """The result, for windows whose tokens are their base cells."""
        shape, out = self.shape, torch.empty_like(self.x)
        tensors = (
            self.x, out, squeezed, qv, context, *self._of_features(), *_both(self.mixer.to_base),
            self.bias, *_both(self.mixer.proj), *_both(self.norm),
        )  # fmt: skip
        numbers = (shape.h, shape.w, shape.rows, shape.columns, shape.windows, self.norm.eps)
        together = self.rows // self.cells["SP"]
        constants = self.channels | self.squeezing | self.cells | self.heads | self.types
        launch(
            _windows_of_one_tile,
            (triton.cdiv(shape.windows, together),),
            tensors,
            numbers,
            WINDOWS=together,
            CONTEXT=context is not None,
            **constants,
            **self.wide,
        )
        return out

    def sums(self, squeezed: Tensor, qv: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        """Base cells and values by queries, in parts; writes qv, or reads it with context."""
        shape, k = self.shape, self.channels["K"]
        tiles = _tiles_of_part(shape)
        parts = triton.cdiv(shape.ratio**2, tiles)
        size = (shape.windows, parts)
        base = self.x.new_empty(*size, shape.side**2, k, dtype=torch.float32)
        across = self.x.new_empty(*size, k, k, dtype=torch.float32)
        assert self.mixer.to_base is not None
        tensors = (
            self.x, squeezed, qv, context, base, across, *self._of_features(),
            self.mixer.to_base.weight,
        )  # fmt: skip
        numbers = (shape.h, shape.w, shape.rows, shape.columns, tiles)
        constants = self.channels | self.squeezing | self.cells | self.types | self.wide
        launch(
            _sums,
            size,
            tensors,
            numbers,
            RATIO=shape.ratio,
            CONTEXT=context is not None,
            **constants,
        )
        return base, across

    def combined(self, base: Tensor, across: Tensor) -> tuple[Tensor, Tensor]:
        """Base cells (n, s, k), and the matrix (n, c, c) of each window."""
        shape, c, k = self.shape, self.channels["C"], self.channels["K"]
        matrix = self.x.new_empty(shape.windows, c, c, dtype=torch.float32)
        combined = self.x.new_empty(shape.windows, shape.side**2, k, dtype=torch.float32)
        assert self.mixer.to_base is not None
        tensors = (
            base, across, self.mixer.to_base.bias, self.mixer.proj.weight.contiguous(), combined,
            matrix,
        )  # fmt: skip
        launch(
            _combine,
            (shape.windows,),
            tensors,
            (base.shape[1],),
            S=shape.side**2,
            SP=self.cells["SP"],
            TOKENS=(shape.side * shape.ratio) ** 2,
            D=self.heads["D"],
            **self.channels,
            **self.wide,
        )
        return combined, matrix

    def products(self, qv: Tensor, context: Tensor | None, base: Tensor, matrix: Tensor) -> Tensor:
        """The result, from queries, values and what their windows have in common."""
        shape, out = self.shape, torch.empty_like(self.x)
        pair = shape.windows * shape.ratio**2 >= 2 * _PROGRAMS
        tensors = (
            self.x, out, qv, context, base, matrix, self.bias, *_both(self.mixer.proj),
            *_both(self.norm),
        )  # fmt: skip
        sizes = (shape.h, shape.w, shape.rows, shape.columns, shape.windows, self.norm.eps)
        group = _padded(self.heads["D"])
        launch(
            _products,
            (triton.cdiv(shape.windows, 2 if pair else 1), shape.ratio**2),
            tensors,
            sizes,
            RATIO=shape.ratio,
            CONTEXT=context is not None,
            CHUNK=self.chunk,
            PAIR=pair,
            GROUP=group // self.heads["D"],
            GP=group,
            C=self.channels["C"],
            CP=self.channels["CP"],
            K=self.channels["K"],
            **self.cells,
            **self.heads,
            **self.wide,
        )
        return out

    def _of_features(self) -> tuple[Tensor, ...]:
        """Parameters of the features but for the squeeze."""
        features = self.mixer.features
        return (*_both(features.spatial), *_both(features.expand), *_both(features.gate))


def _both(layer: Any) -> tuple[Tensor, Tensor]:
    return layer.weight.contiguous(), layer.bias


def _padded(size: int) -> int:
    padded: int = max(16, triton.next_power_of_2(size))
    return padded


def _tiles_of_part(shape: _Shape) -> int:
    """Tiles that one program sums: as many as leave enough programs, and not too many parts."""
    parts = min(triton.cdiv(_PROGRAMS, shape.windows), _MOST_PARTS, shape.ratio**2)
    tiles: int = triton.cdiv(shape.ratio**2, parts)
    return tiles
