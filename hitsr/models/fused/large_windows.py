"""Attention in windows whose position biases are too large to hold at once.

A window of 64 pixels has 4096 tokens: the biases of six heads alone take 400 MB, and the mask of a
shift as much again for every window at the picture's edge. Here both are made for a few rows of
queries at a time and dropped again, and windows at the same edges share one mask.

Shapes: n windows, m heads, t tokens of a window, s keys, d channels of a head.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from hitsr.models.fused.position import bias_of_rows
from hitsr.models.windows import SEPARATE

_MOST_AT_ONCE = 2**22  # biases made at one time: heads x tokens x keys


class _Kind(NamedTuple):
    """Windows that share a mask, because they lie at the same edges of the picture."""

    numbers: Tensor  # of the windows, along n
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

    `side`: of a window, in pixels; `grid`: rows and columns of windows in a picture; `shift`: by
    how many pixels the pictures were rolled. A key stands for fold x fold pixels. `table` holds
    the biases of all offsets between keys: ((2 side / fold - 1)², m).
    """
    n, heads, tokens, _ = qkv[0].shape
    kinds = _kinds(n, grid, shift > 0, qkv[0].device)
    parts = [tuple(x[kind.numbers] for x in qkv) for kind in kinds]
    biases_of_row = heads * side * tokens // fold**2
    step = max(1, _MOST_AT_ONCE // (biases_of_row * fold)) * fold

    def attend(rows: range) -> list[Tensor]:
        bias = None if table is None else bias_of_rows(table, side, fold, rows)
        mixed = []
        for kind, (q, k, v) in zip(kinds, parts, strict=True):
            mask = _mask_of_rows(kind, side, fold, shift, rows, q)
            added = mask if bias is None else bias if mask is None else bias + mask
            added = None if added is None else added.expand(1, heads, -1, -1)
            queries = q[:, :, rows.start * side : rows.stop * side]
            mixed.append(F.scaled_dot_product_attention(queries, k, v, added))
        return mixed

    # Checkpointed, because kept scores would be tokens x keys for every window.
    by_rows = [
        checkpoint(attend, range(top, min(top + step, side)), use_reentrant=False)
        for top in range(0, side, step)
    ]
    order = torch.cat([kind.numbers for kind in kinds]).argsort()
    return torch.cat([torch.cat(kind, 2) for kind in zip(*by_rows, strict=True)])[order]


def _kinds(n: int, grid: tuple[int, int], shifted: bool, device: torch.device) -> list[_Kind]:
    """Windows inside, at the right edge, at the bottom, in the corner; without a shift, all."""
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
    """SEPARATE between tokens from opposite edges of the picture, else 0: (rows * side, s)."""
    if not (kind.at_bottom or kind.at_right):
        return None
    wrapped = torch.arange(side, device=like.device) >= side - shift
    parts = 2 * (wrapped & kind.at_bottom)[:, None] + (wrapped & kind.at_right)[None, :]
    queries, keys = parts[rows.start : rows.stop].flatten(), parts[::fold, ::fold].flatten()
    return (queries[:, None] != keys[None, :]).to(like.dtype) * SEPARATE
