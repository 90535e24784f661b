"""Attention in windows, fused: tiles on a CPU, else PyTorch's scaled_dot_product_attention.

A bias and a mask are the same for many windows. With a shift, only windows at the right edge, at
the bottom and in the corner of a picture hold tokens from opposite edges, so there are four kinds.

Shapes: b batch, h height, w width, c channels, n windows, t tokens of a window, s keys of a window,
m heads, d channels of a head.
"""

from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from hitsr.models.fused.backend import backend_of
from hitsr.models.fused.cpu.products import linear, linear_tokens_last
from hitsr.models.fused.cpu.strips import Strip, by_strips
from hitsr.models.fused.cpu.tiles import Grid, attend_in_tiles
from hitsr.models.fused.cuda import attention as cuda
from hitsr.models.fused.cuda.by_size import kept
from hitsr.models.fused.large_windows import attend_by_rows
from hitsr.models.position import table_bias
from hitsr.models.windows import merge, roll, shift_mask, split
from hitsr.specs.network import is_large

if TYPE_CHECKING:
    from hitsr.models.attention import Attention


def attention(mixer: "Attention", x_bhwc: Tensor, strip: Strip | None) -> Tensor:
    """`Attention._paper`: (b, h, w, c) -> (b, h, w, c).

    With `strip`, x holds these rows of a picture alone, rolled up by the shift already.
    """
    if strip is not None:
        return _attend_in_rows(mixer, x_bhwc, strip)
    if is_large(mixer.heads, mixer.window, mixer.fold):
        mixed = _attend_in_large_windows(mixer, mixer.qkv(roll(x_bhwc, -mixer.shift)))
        return F.linear(roll(mixed, mixer.shift), mixer.proj.weight, mixer.proj.bias)
    if backend_of(x_bhwc) == "cuda":
        return cuda.attention(mixer, x_bhwc)
    function = partial(_attend_in_rows, mixer)
    return by_strips(function, x_bhwc, multiple=mixer.window, shift=mixer.shift)


def _attend_in_rows(mixer: "Attention", x_bhwc: Tensor, strip: Strip) -> Tensor:
    """Attention in rows of a picture that are rolled up already, not yet to the left."""
    x_bhwc = roll(x_bhwc, -mixer.shift, (2,))
    if backend_of(x_bhwc) == "cpu":
        mixed = _attend_in_tiles(mixer, x_bhwc, strip.at_bottom)
    elif mixer.shift:
        mixed = mixer.proj(_attend_by_kinds(mixer, mixer.qkv(x_bhwc)))
    else:
        added = None if mixer.bias_table is None else _bias_and_masks(mixer)[0]
        mixed = mixer.proj(_attend(mixer, mixer.qkv(x_bhwc), added))
    return roll(mixed, mixer.shift, (2,))


def _attend_in_tiles(mixer: "Attention", x_bhwc: Tensor, at_bottom: bool) -> Tensor:
    b, h, w, _ = x_bhwc.shape
    side, qkv, proj = mixer.window, mixer.qkv, mixer.proj
    x_nc = split(x_bhwc, side).flatten(0, 1)
    qkv_cn = linear_tokens_last(x_nc, qkv.weight, qkv.bias)
    bias, masks = _transposed_bias(mixer), None
    if mixer.shift:
        masks = kept(_edge_masks, x_bhwc, side, mixer.shift, mixer.fold, x_bhwc.dtype)
    grid = Grid(b, h // side, w // side, at_bottom)
    mixed_cn = attend_in_tiles(qkv_cn, bias, masks, grid, mixer.heads, mixer.fold)
    projected = linear(mixed_cn.t(), proj.weight, proj.bias)
    return merge(projected.unflatten(0, (-1, side**2)), side, h, w)


def _transposed_bias(mixer: "Attention") -> Tensor | None:
    """Position biases, keys first: (m, s, t)."""
    table = mixer.bias_table
    if table is None:
        return None

    def compute() -> Tensor:
        return table_bias(table, mixer.window, mixer.fold).transpose(1, 2).contiguous()

    return mixer.cache.get(mixer, "bias", compute)


def _edge_masks(
    side: int, shift: int, fold: int, dtype: torch.dtype, device: torch.device
) -> Tensor:
    """Masks of windows at the right edge and of windows at the bottom, keys first: (2, s, t)."""
    # A picture of two by two windows has one of each kind.
    masks = shift_mask(2 * side, 2 * side, side, shift, fold, device)[1:3]
    return masks.to(dtype).transpose(1, 2).contiguous()


def _attend_in_large_windows(mixer: "Attention", qkv_bhwc: Tensor) -> Tensor:
    _, h, w, _ = qkv_bhwc.shape
    side = mixer.window
    qkv = mixer.split_heads(split(qkv_bhwc, side))
    grid = (h // side, w // side)
    mixed = attend_by_rows(qkv, mixer.bias_table, grid, side, mixer.fold, mixer.shift)
    return merge(mixed.transpose(1, 2).flatten(2), side, h, w)


def _attend_by_kinds(mixer: "Attention", qkv_bhwc: Tensor) -> Tensor:
    """Attention in windows inside, at the right edge, at the bottom, in the corner, in turn."""
    _, h, w, _ = qkv_bhwc.shape
    side, added = mixer.window, _bias_and_masks(mixer)
    rows = []
    for below, part in enumerate(qkv_bhwc.split((h - side, side), 1)):
        columns = part.split((w - side, side), 2)
        mixed = [
            _attend(mixer, x, added[2 * below + right])
            for right, x in enumerate(columns)
            if x.numel()
        ]
        rows += [torch.cat(mixed, 2)] if mixed else []
    return torch.cat(rows, 1)


def _attend(mixer: "Attention", qkv_bhwc: Tensor, added_mts: Tensor | None) -> Tensor:
    """Attention within windows, with the same bias and mask added to the scores of each."""
    _, h, w, _ = qkv_bhwc.shape
    q, k, v = mixer.split_heads(split(qkv_bhwc, mixer.window))
    added = None if added_mts is None else added_mts[None]
    mixed = F.scaled_dot_product_attention(q, k, v, added)
    return merge(mixed.transpose(1, 2).flatten(2), mixer.window, h, w)


def _bias_and_masks(mixer: "Attention") -> Tensor:
    """Bias plus mask of each kind of window: (4, m, t, s); without a shift one kind, (1, ...)."""

    def compute() -> Tensor:
        table = mixer.bias_table
        bias = None if table is None else table_bias(table, mixer.window, mixer.fold)[None]
        if not mixer.shift:
            assert bias is not None
            return bias.contiguous()
        masks = mixer.masks_of_kinds()[:, None]
        return masks.expand(-1, mixer.heads, -1, -1) if bias is None else bias + masks

    return mixer.cache.get(mixer, "added", compute)
