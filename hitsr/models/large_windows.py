"""Attention in windows too large to lay out what is added to their scores.

A window of 64 pixels has 4096 tokens: the biases of six heads alone take 400 MB, and with the mask
of a shift as much again for every window at the picture's edge. Here both are made for a few rows
of queries at a time and let go again, and one mask serves all windows of its kind.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from hitsr.models.windows import SEPARATE

_MOST_AT_ONCE = 2**22  # biases that are made at one time, heads x tokens x keys


class _Kind(NamedTuple):
    """Windows that share a mask: their numbers, and at which edges of the picture they are."""

    numbers: Tensor
    at_bottom: bool = False
    at_right: bool = False


def attend_by_rows(
    qkv: tuple[Tensor, Tensor, Tensor],
    table: Tensor | None,
    grid: tuple[int, int],
    side: int,
    fold: int,
    shift: int,
) -> Tensor:
    """Softmax attention of q (n, m, t, d) to k, v (n, m, s, d) in every window: (n, m, t, d).

    Windows are `side` pixels wide, in a `grid` of rows and columns per picture, which was shifted
    by `shift`; a key stands for `fold` x `fold` pixels. `table` holds the biases of offsets between
    keys, ((2 side / fold - 1)², m).
    """
    n, heads, tokens, _ = qkv[0].shape
    kinds = _kinds(n, grid, shift > 0, qkv[0].device)
    parts = [tuple(x[kind.numbers] for x in qkv) for kind in kinds]
    row = heads * side * tokens // fold**2  # biases of one row of queries
    step = max(1, _MOST_AT_ONCE // (row * fold)) * fold

    def of_rows(rows: range) -> list[Tensor]:
        bias = None if table is None else bias_of_rows(table, side, fold, rows)
        mixed = []
        for kind, (q, k, v) in zip(kinds, parts, strict=True):
            mask = _mask_of_rows(kind, side, fold, shift, rows, q)
            added = mask if bias is None else bias if mask is None else bias + mask
            added = None if added is None else added.expand(1, heads, -1, -1)
            queries = q[:, :, rows.start * side : rows.stop * side]
            mixed.append(F.scaled_dot_product_attention(queries, k, v, added))
        return mixed

    # Made again for the gradient: kept scores would be tokens x tokens for every window.
    done = [
        checkpoint(of_rows, range(top, min(top + step, side)), use_reentrant=False)
        for top in range(0, side, step)
    ]
    order = torch.cat([kind.numbers for kind in kinds]).argsort()
    return torch.cat([torch.cat(rows, 2) for rows in zip(*done, strict=True)])[order]


def bias_of_rows(table: Tensor, side: int, fold: int, rows: range) -> Tensor:
    """`table_bias` for some rows of queries, whole cells of them: (m, rows * side, s).

    The biases of a query are a window of the reversed table of offsets, and the next query's are
    the window beside it: copying windows is many times faster than gathering entries.
    """
    keys = side // fold
    first, last = rows.start // fold, rows.stop // fold
    offsets = table.t().unflatten(-1, (2 * keys - 1, 2 * keys - 1)).flip(1, 2)
    # The last query has the largest offsets, and they come first.
    offsets = offsets[:, keys - last : 2 * keys - first - 1]
    windows = offsets.unfold(1, keys, 1).unfold(2, keys, 1)  # (m, from y, from x, key y, key x)
    queries: Tensor = windows.flip(1, 2)
    if fold > 1:
        queries = queries.repeat_interleave(fold, 1).repeat_interleave(fold, 2)
    return queries.flatten(1, 2).flatten(2)


def _kinds(n: int, grid: tuple[int, int], shifted: bool, device: torch.device) -> list[_Kind]:
    """All windows, or within, at the right edge, at the bottom and in the corner of pictures."""
    if not shifted:
        return [_Kind(torch.arange(n, device=device))]
    windows = torch.arange(n, device=device).view(-1, *grid)
    kinds = [
        _Kind(windows[:, :-1, :-1].flatten()),
        _Kind(windows[:, :-1, -1].flatten(), at_right=True),
        _Kind(windows[:, -1, :-1].flatten(), at_bottom=True),
        _Kind(windows[:, -1, -1].flatten(), at_bottom=True, at_right=True),
    ]
    return [kind for kind in kinds if kind.numbers.numel()]


def _mask_of_rows(
    kind: _Kind, side: int, fold: int, shift: int, rows: range, like: Tensor
) -> Tensor | None:
    """What separates the parts that a shift brought together: (rows * side, s)."""
    if not (kind.at_bottom or kind.at_right):
        return None
    moved = torch.arange(side, device=like.device) >= side - shift
    parts = 2 * (moved & kind.at_bottom)[:, None] + (moved & kind.at_right)[None, :]
    queries, keys = parts[rows.start : rows.stop].flatten(), parts[::fold, ::fold].flatten()
    return (queries[:, None] != keys[None, :]).to(like.dtype) * SEPARATE
