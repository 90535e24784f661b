"""Tokens of (shifted) windows, and their scores: parts that kernels of attention share.

A window has SIDE x SIDE cells of FOLD x FOLD tokens. Group g of its queries are the tokens at row
g // FOLD and column g % FOLD of each cell. All tokens of a cell have one key and one value, whose
channels are those of its tokens, side by side (`Attention._fold`). Cells are counted row by row.

Features qkv (b, h, w, C + 2 C / FOLD²) are those of the picture before its shift.
"""

from typing import Any

import triton
import triton.language as tl
from torch import Tensor

from hitsr.models import windows
from hitsr.models.fused.cuda.kernels.launch import product_of

SEPARATE = tl.constexpr(windows.SEPARATE)


@triton.jit
def share(GROUPS: tl.constexpr, BLOCKS: tl.constexpr, PARTS: tl.constexpr):
    """A program's window, group of queries, block of queries and part of the heads."""
    program = tl.program_id(0)
    part = program % PARTS
    block = program // PARTS % BLOCKS
    group = program // (PARTS * BLOCKS) % GROUPS
    return program // (PARTS * BLOCKS * GROUPS), group, block, part


@triton.jit
def _bands(at, length, shift, WINDOW: tl.constexpr):
    return (at >= length - WINDOW).to(tl.int32) + (at >= length - shift).to(tl.int32)


@triton.jit
def pixels(
    n, cell, down, right, height, width, shift, SIDE: tl.constexpr, FOLD: tl.constexpr
):  # fmt: skip
    """Where the token at row `down` and column `right` of a cell of window n lies.

    Returns its pixel, counted through all pictures of the batch, and its `windows.regions`.
    """
    WINDOW: tl.constexpr = SIDE * FOLD
    rows, columns = height // WINDOW, width // WINDOW
    y = (n // columns % rows * SIDE + cell // SIDE) * FOLD + down
    x = (n % columns * SIDE + cell % SIDE) * FOLD + right
    region = 3 * _bands(y, height, shift, WINDOW) + _bands(x, width, shift, WINDOW)
    y += shift
    x += shift
    y = tl.where(y < height, y, y - height)
    x = tl.where(x < width, x, x - width)
    return (n // (rows * columns) * height + y) * width + x, region


@triton.jit
def keys(
    n, cell, head, height, width, shift,
    C: tl.constexpr, D: tl.constexpr, DP: tl.constexpr, SIDE: tl.constexpr, FOLD: tl.constexpr,
):  # fmt: skip
    """Places in qkv of the keys of cells (k) of window n: (k, DP), and the cells' regions (k).

    Values are C / FOLD² places further.
    """
    NARROW: tl.constexpr = C // (FOLD * FOLD)
    c = head * D + tl.arange(0, DP)
    first, region = pixels(n, cell, 0, 0, height, width, shift, SIDE, FOLD)
    if FOLD == 1:
        at = first[:, None] * (3 * C) + (C + c)[None, :]
    else:
        down, right = c // NARROW // FOLD, c // NARROW % FOLD
        pixel, _ = pixels(
            n, cell[:, None], down[None, :], right[None, :], height, width, shift, SIDE, FOLD
        )
        at = pixel * (C + 2 * NARROW) + C + (c % NARROW)[None, :]
    return at, region


@triton.jit
def scores(
    a, b, bias_p, head, query, key, query_region, key_region, scale,
    TOKENS: tl.constexpr, K: tl.constexpr, BIASED: tl.constexpr, SHIFTED: tl.constexpr,
    PREC: tl.constexpr,
):  # fmt: skip
    """Scores of queries of cells `query` to keys of cells `key`, -inf beyond the last of K keys.

    a, b: queries (q, DP), keys (k, DP), whose cells and regions are columns (q, 1), rows (1, k);
    or keys, queries, rows, columns for the transposed scores.
    """
    s = tl.dot(a, tl.trans(b), input_precision=PREC) * scale
    if BIASED:
        at = (head * TOKENS + query) * TOKENS + key
        real = (query < TOKENS) & (key < TOKENS)
        s += tl.load(bias_p + at, mask=real, other=0.0).to(tl.float32)
    if SHIFTED:
        s += tl.where(query_region != key_region, SEPARATE, 0.0)
    if TOKENS % K != 0:
        s = tl.where(key < TOKENS, s, float("-inf"))
    return s


def layout(
    qkv: Tensor, bias: Tensor | None, heads: int, window: int, shift: int, fold: int
) -> dict[str, Any]:
    """Constants of every kernel of attention."""
    c = qkv.shape[-1] * fold**2 // (fold**2 + 2)
    return {
        "C": c,
        "HEADS": heads,
        "D": c // heads,
        "DP": max(16, triton.next_power_of_2(c // heads)),
        "SIDE": window // fold,
        "FOLD": fold,
        "BIASED": bias is not None,
        "SHIFTED": shift > 0,
        "PREC": product_of(qkv.dtype),
    }


def padded(cells: int) -> int:
    """The size, a power of two from 16 to 64, of blocks of cells that pads little."""
    if cells <= 32:
        return 16 if cells <= 16 else 32
    return 32 if -(-cells // 32) % 2 and cells > 64 else 64
