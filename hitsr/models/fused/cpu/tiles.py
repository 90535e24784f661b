"""Softmax attention a few windows at a time, so that scores never leave a CPU's cache.

A tile is the windows whose scores are computed at one time. Channels come first and tokens last in
memory, so that each head of a window is a matrix already, and nothing is copied into heads and
back. The gradient computes scores anew rather than keep them.

Shapes: c channels, n windows, t tokens of a window, s keys, m heads, d channels of a head,
f side of the square of tokens folded into one key.
"""

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from hitsr.runtime.caches import at_once


class Grid(NamedTuple):
    """How windows are numbered: picture by picture, row by row, column by column."""

    pictures: int
    rows: int  # of windows in a picture
    columns: int
    at_bottom: bool = True  # whether the last row is at the picture's bottom; not in every strip


def attend_in_tiles(
    qkv_cn: Tensor,
    bias_mst: Tensor | None,
    masks_est: Tensor | None,
    grid: Grid,
    heads: int,
    fold: int,
) -> Tensor:
    """Softmax attention in every window: (c + 2 c / fold², n t) -> (c, n t).

    `qkv_cn` holds queries (c), keys and values (c / fold² each). Keys and values of fold x fold
    tokens are folded into one of width c, so s = t / fold².
    `bias_mst` is added to the scores of every window. `masks_est`, (2, s, t), are added to the
    scores of windows at the right edge and at the bottom of pictures.
    """
    mixed: Tensor = _Attend.apply(qkv_cn, bias_mst, masks_est, grid, heads, fold)
    return mixed


class _Attend(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        qkv_cn: Tensor,
        bias: Tensor | None,
        masks: Tensor | None,
        grid: Grid,
        heads: int,
        fold: int,
    ) -> Tensor:
        q_cn, *kv_cn = _split(qkv_cn, fold)
        mixed_cn = torch.empty_like(q_cn)
        by_channel = (q_cn, *(_fold(x, grid, fold) for x in kv_cn), mixed_cn)
        q, k, v, mixed = (_by_head(x, grid, heads) for x in by_channel)
        tiles = list(_tiles(grid, _score_bytes(q, k), masks is not None))
        buffers = _Buffers(tiles, q, k, bias, masks)
        for tile in tiles:
            parts = zip(*(x[:, tile.windows] for x in (q, k, v, mixed)), strict=True)
            for head, (q_ndt, k_nds, v_nds, out) in enumerate(parts):
                out.copy_(torch.bmm(v_nds, buffers.weights(q_ndt, k_nds, head, tile)))
        ctx.save_for_backward(qkv_cn, bias, masks, mixed_cn)
        ctx.grid, ctx.heads, ctx.fold = grid, heads, fold
        return mixed_cn

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_cn: Tensor) -> tuple[Tensor | None, ...]:
        qkv_cn, bias, masks, mixed_cn = ctx.saved_tensors
        grid, heads, fold = ctx.grid, ctx.heads, ctx.fold
        q_cn, *kv_cn = _split(qkv_cn, fold)
        folded = (_fold(x, grid, fold) for x in kv_cn)
        by_channel = (q_cn, *folded, mixed_cn, grad_cn.contiguous())
        q, k, v, mixed, grad = (_by_head(x, grid, heads) for x in by_channel)
        to_qkv_cn = torch.empty_like(qkv_cn)
        to_q_cn, *to_kv_cn = _split(to_qkv_cn, fold)
        to_folded = [_fold(x, grid, fold) for x in to_kv_cn]
        to_q, to_k, to_v = (_by_head(x, grid, heads) for x in (to_q_cn, *to_folded))
        to_bias = torch.zeros_like(bias) if ctx.needs_input_grad[1] else None
        tiles = list(_tiles(grid, _score_bytes(q, k), masks is not None))
        buffers = _Buffers(tiles, q, k, bias, masks)
        to_biases = [None] * heads if to_bias is None else to_bias.unbind()
        for tile in tiles:
            given = (x[:, tile.windows].unbind() for x in (q, k, v, mixed, grad))
            wanted = (x[:, tile.windows].unbind() for x in (to_q, to_k, to_v))
            parts = zip(*given, *wanted, strict=True)
            for head, (q_ndt, k_nds, v_nds, mixed_ndt, grad_ndt, *to) in enumerate(parts):
                weights = buffers.weights(q_ndt, k_nds, head, tile)
                to[2].copy_(torch.bmm(grad_ndt, weights.transpose(1, 2)))
                # Gradient of a softmax: weight times (gradient less its weighted mean).
                to_scores = buffers.scores(tile)
                torch.bmm(v_nds.transpose(1, 2), grad_ndt, out=to_scores)
                to_scores -= (grad_ndt * mixed_ndt).sum(1, keepdim=True)
                to_scores *= weights
                to[0].copy_(torch.bmm(k_nds, to_scores))
                to[1].copy_(torch.bmm(q_ndt, to_scores.transpose(1, 2)))
                if (to_bias_of_head := to_biases[head]) is not None:
                    to_bias_of_head += to_scores.sum(0)
        for scaled in (to_q_cn, to_folded[0]):
            scaled.mul_(buffers.scale)
        if fold > 1:
            for part, folded_part in zip(to_kv_cn, to_folded, strict=True):
                unfolded = _cells(part, grid, fold)
                unfolded.copy_(folded_part.view(unfolded.shape))
        return to_qkv_cn, to_bias, None, None, None, None


class _Tile(NamedTuple):
    """Windows of whole pictures, or some rows of windows of one picture."""

    windows: slice
    rows: int  # of windows in each picture
    columns: int
    at_bottom: bool


def _tiles(grid: Grid, scores: int, masked: bool) -> Iterator[_Tile]:
    """Part all windows into tiles; scores of a window and head take so many bytes."""
    pictures, rows, columns, _ = grid
    most = at_once()
    if not masked:  # then all windows are alike, wherever pictures end
        pictures, rows = 1, pictures * rows
    whole = max(1, most // (scores * columns * rows))
    step = max(1, min(rows, most // (scores * columns)))
    for picture in range(0, pictures, whole):
        for top in range(0, rows, step):
            first = picture * rows + top
            count = min(step, rows - top)
            last = first + count if step < rows else min(picture + whole, pictures) * rows
            at_bottom = grid.at_bottom and top + step >= rows
            yield _Tile(slice(first * columns, last * columns), count, columns, at_bottom)


def _split(qkv_cn: Tensor, fold: int) -> tuple[Tensor, Tensor, Tensor]:
    """Part channels into queries (c) and keys and values (c / fold² each)."""
    narrow = qkv_cn.shape[0] // (fold**2 + 2)
    q, k, v = qkv_cn.split((narrow * fold**2, narrow, narrow))
    return q, k, v


def _cells(x_cn: Tensor, grid: Grid, fold: int) -> Tensor:
    """View tokens by their place in the f x f square of a key: (c, n t) -> (f, f, c, n, y, x)."""
    windows = grid.pictures * grid.rows * grid.columns
    side = math.isqrt(x_cn.shape[1] // windows) // fold
    return x_cn.view(-1, windows, side, fold, side, fold).permute(3, 5, 0, 1, 2, 4)


def _fold(x_cn: Tensor, grid: Grid, fold: int) -> Tensor:
    """Fold the f x f tokens of a key into its channels: (c, n t) -> (c f², n t / f²)."""
    if fold == 1:
        return x_cn
    return _cells(x_cn, grid, fold).reshape(x_cn.shape[0] * fold**2, -1)


def _by_head(x_cn: Tensor, grid: Grid, heads: int) -> Tensor:
    """View each head of each window as a matrix: (c, n t) -> (m, n, d, t)."""
    windows = grid.pictures * grid.rows * grid.columns
    return x_cn.view(heads, x_cn.shape[0] // heads, windows, -1).transpose(1, 2)


def _score_bytes(q: Tensor, k: Tensor) -> int:
    """Bytes of the scores of one head in one window."""
    return q.shape[-1] * k.shape[-1] * q.element_size()


class _Buffers:
    """Memory for scores and weights of one tile, used by all tiles in turn."""

    def __init__(
        self, tiles: list[_Tile], q: Tensor, k: Tensor, bias: Tensor | None, masks: Tensor | None
    ) -> None:
        most = max(tile.windows.stop - tile.windows.start for tile in tiles)
        self.bias, self.masks = bias, masks
        self.scale = float(q.shape[-2]) ** -0.5
        self._scores, self._weights = torch.empty(
            2, most, k.shape[-1], q.shape[-1], dtype=q.dtype, device=q.device
        ).unbind()

    def scores(self, tile: _Tile) -> Tensor:
        """Room for a tile's scores, not yet written: (n, s, t)."""
        return self._scores[: tile.windows.stop - tile.windows.start]

    def weights(self, q_ndt: Tensor, k_nds: Tensor, head: int, tile: _Tile) -> Tensor:
        """Attention weights of one head, which sum to one over the keys: (n, s, t).

        Keys come first because a softmax over the first dimension runs along whole rows in memory.
        """
        scores, keys = self.scores(tile), k_nds.transpose(1, 2)
        if self.bias is None:
            torch.bmm(keys, q_ndt, out=scores).mul_(self.scale)
        else:
            torch.baddbmm(self.bias[head], keys, q_ndt, alpha=self.scale, out=scores)
        if self.masks is not None:
            windows = scores.view(-1, tile.rows, tile.columns, *scores.shape[1:])
            windows[:, :, -1] += self.masks[0]
            if tile.at_bottom:
                windows[:, -1] += self.masks[1]
        weights: Tensor = torch.softmax(scores, 1, out=self._weights[: len(scores)])
        return weights
