"""Attention a few windows at a time, so that their scores never leave the cache: for CPUs.

There memory is slower than arithmetic, and heads are narrow. Channels come first and tokens last,
so that each head of a window is a matrix where it lies, and nothing is copied into heads and back.
For the gradient, scores are made again rather than kept.
"""

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

_SCORES = 2**18  # of one tile: 1 MB in float32, what a core's cache holds


class Grid(NamedTuple):
    """How windows lie: pictures one after the other, each in rows and columns of windows."""

    pictures: int
    rows: int
    columns: int
    whole: bool = True  # whether the last row is at the picture's bottom


def attend_in_tiles(
    qkv_cn: Tensor,
    bias_mst: Tensor | None,
    masks_est: Tensor | None,
    grid: Grid,
    heads: int,
    fold: int,
) -> Tensor:
    """Softmax attention in every window: queries, keys and values one after the other -> (c, n t).

    Keys and values are narrower than queries by `fold` squared, as many tokens as are folded into
    their channels. `bias_mst` is added to the scores of every window, keys first, and the two
    `masks_est` to those of windows at the right and at the bottom of pictures.
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
        laid = (q_cn, *(_fold(x, grid, fold) for x in kv_cn), mixed_cn)
        q, k, v, mixed = (_by_head(x, grid, heads) for x in laid)
        tiles = list(_tiles(grid, q.shape[-1] * k.shape[-1], masks is not None))
        room = _Room(tiles, q, k, bias, masks)
        for tile in tiles:
            for head in range(heads):
                at = (head, tile.windows)
                weights = room.weights(q[at], k[at], head, tile)
                mixed[at] = v[at] @ weights
        ctx.save_for_backward(qkv_cn, bias, masks, mixed_cn)
        ctx.grid, ctx.heads, ctx.fold = grid, heads, fold
        return mixed_cn

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_cn: Tensor) -> tuple[Tensor | None, ...]:
        qkv_cn, bias, masks, mixed_cn = ctx.saved_tensors
        grid, heads, fold = ctx.grid, ctx.heads, ctx.fold
        q_cn, *kv_cn = _split(qkv_cn, fold)
        laid = (q_cn, *(_fold(x, grid, fold) for x in kv_cn), mixed_cn, grad_cn.contiguous())
        q, k, v, mixed, grad = (_by_head(x, grid, heads) for x in laid)
        to_qkv_cn = torch.empty_like(qkv_cn)
        to_q_cn, *to_kv_cn = _split(to_qkv_cn, fold)
        to_folded = [_fold(x, grid, fold) for x in to_kv_cn]
        to_q, to_k, to_v = (_by_head(x, grid, heads) for x in (to_q_cn, *to_folded))
        to_bias = torch.zeros_like(bias) if ctx.needs_input_grad[1] else None
        tiles = list(_tiles(grid, q.shape[-1] * k.shape[-1], masks is not None))
        room = _Room(tiles, q, k, bias, masks)
        for tile in tiles:
            for head in range(heads):
                at = (head, tile.windows)
                weights = room.weights(q[at], k[at], head, tile)
                to_v[at] = grad[at] @ weights.transpose(1, 2)
                # A softmax's gradient: what a score gains beyond the mean of its query's.
                to_scores = torch.bmm(v[at].transpose(1, 2), grad[at], out=room.scores(tile))
                to_scores -= (grad[at] * mixed[at]).sum(1, keepdim=True)
                to_scores *= weights
                to_q[at] = (k[at] @ to_scores).mul_(room.scale)
                to_k[at] = (q[at] @ to_scores.transpose(1, 2)).mul_(room.scale)
                if to_bias is not None:
                    to_bias[head] += to_scores.sum(0)
        if fold > 1:
            for part, folded in zip(to_kv_cn, to_folded, strict=True):
                _cells(part, grid, fold).copy_(folded.view(_cells(part, grid, fold).shape))
        return to_qkv_cn, to_bias, None, None, None, None


class _Tile(NamedTuple):
    """Windows of whole pictures, or of some rows of one."""

    windows: slice
    rows: int  # of windows, in each picture
    columns: int
    at_bottom: bool


def _tiles(grid: Grid, scores: int, masked: bool) -> Iterator[_Tile]:
    """Tiles of all windows, each with `scores` a head."""
    pictures, rows, columns, _ = grid
    if not masked:  # where a picture ends says nothing then
        pictures, rows = 1, pictures * rows
    whole = max(1, _SCORES // (scores * columns * rows))
    step = max(1, min(rows, _SCORES // (scores * columns)))
    for picture in range(0, pictures, whole):
        for top in range(0, rows, step):
            first = picture * rows + top
            count = min(step, rows - top)
            last = first + count if step < rows else min(picture + whole, pictures) * rows
            at_bottom = grid.whole and top + step >= rows
            yield _Tile(slice(first * columns, last * columns), count, columns, at_bottom)


def _split(qkv_cn: Tensor, fold: int) -> tuple[Tensor, Tensor, Tensor]:
    """Queries of width c, keys and values of c / fold²."""
    narrow = qkv_cn.shape[0] // (fold**2 + 2)
    q, k, v = qkv_cn.split((narrow * fold**2, narrow, narrow))
    return q, k, v


def _cells(x_cn: Tensor, grid: Grid, fold: int) -> Tensor:
    """A view of tokens by their place in a cell: (c, n t) -> (f, f, c, n, rows, columns)."""
    windows = grid.pictures * grid.rows * grid.columns
    side = math.isqrt(x_cn.shape[1] // windows) // fold
    return x_cn.view(-1, windows, side, fold, side, fold).permute(3, 5, 0, 1, 2, 4)


def _fold(x_cn: Tensor, grid: Grid, fold: int) -> Tensor:
    """Tokens of a cell as channels of one: (c, n t) -> (c fold², n t / fold²)."""
    if fold == 1:
        return x_cn
    return _cells(x_cn, grid, fold).reshape(x_cn.shape[0] * fold**2, -1)


def _by_head(x_cn: Tensor, grid: Grid, heads: int) -> Tensor:
    """A view of each head's part of each window: (c, n t) -> (m, n, d, t)."""
    windows = grid.pictures * grid.rows * grid.columns
    return x_cn.view(heads, x_cn.shape[0] // heads, windows, -1).transpose(1, 2)


class _Room:
    """Memory for the scores of one tile, which all tiles use in turn."""

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
        """To be written: (n, s, t)."""
        return self._scores[: tile.windows.stop - tile.windows.start]

    def weights(self, q_ndt: Tensor, k_nds: Tensor, head: int, tile: _Tile) -> Tensor:
        """How much each key counts to each query: (n, s, t), of sum one over the keys.

        A softmax over whole rows is faster than one within each.
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
