"""Lay tokens out window by window, and back, in one gather each: no rolls, no splits, no merges.

Windows of one kind (inside the picture, at its right edge, at its bottom, in its corner) follow
each other, so that each kind is a slice of the batch of windows. Tokens of one cell follow each
other within a window, so that folding a cell into channels is a view.

Shapes: b batch, h height, w width, c channels, n windows, t tokens of a window.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from hitsr.models.windows import roll, split

# The widest elements that rows can be moved in, by their size in bytes.
_ELEMENTS = {16: torch.complex128, 8: torch.int64, 4: torch.int32, 2: torch.int16}


class Layout(NamedTuple):
    """How windows lie in a batch of pictures; sides in pixels."""

    pictures: int
    height: int
    width: int
    window: int
    shift: int
    fold: int  # side of a cell


class Order(NamedTuple):
    """Where each token of the windows lies among the pixels of all pictures, and back."""

    layout: Layout
    pixels: Tensor  # (n t) int32
    tokens: Tensor  # (b h w) int32
    kinds: tuple[int, ...]  # windows of each kind; without a shift there is one kind

    def by_window(self, x_bhwc: Tensor) -> Tensor:
        """Tokens of every window: (b, h, w, c) -> (n t, c)."""
        tokens: Tensor = _Rearrange.apply(x_bhwc.flatten(0, 2), self.pixels, self.tokens)
        return tokens

    def by_picture(self, x_tc: Tensor) -> Tensor:
        """Undoes `by_window`: (n t, c) -> (b, h, w, c)."""
        pixels: Tensor = _Rearrange.apply(x_tc, self.tokens, self.pixels)
        return pixels.view(*self.layout[:3], -1)


class _Rearrange(torch.autograd.Function):
    """Rows in another order. The gradient is a gather too, not a sum with atomics."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, order: Tensor, inverse: Tensor) -> Tensor:
        ctx.save_for_backward(order, inverse)
        return _gathered(x, order)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        _, inverse = ctx.saved_tensors
        return _gathered(grad, inverse), None, None


def _gathered(x_rc: Tensor, rows: Tensor) -> Tensor:
    """Rows of x by their numbers, moved in the widest elements that they consist of."""
    x_rc = x_rc.contiguous()
    row_bytes = x_rc.shape[1] * x_rc.element_size()
    start = x_rc.storage_offset() * x_rc.element_size()
    widest = next(dtype for size, dtype in _ELEMENTS.items() if not (row_bytes | start) % size)
    return x_rc.view(widest).index_select(0, rows).view(x_rc.dtype)


def order_of(layout: Layout, device: torch.device) -> Order:
    """The order of a layout, for tensors on a device."""
    b, h, w, side, shift, fold = layout
    pixels = torch.arange(b * h * w, device=device).view(b, h, w, 1)
    by_window = split(roll(pixels, -shift), side).view(b, h // side, w // side, side**2)
    tokens = by_window[..., cell_by_cell(side, fold, device)]
    kinds = [tokens]
    if shift:
        parts = (slice(-1), slice(-1, None))  # all but the last row or column, and the last
        kinds = [tokens[:, rows, columns] for rows in parts for columns in parts]
    order = torch.cat([kind.reshape(-1) for kind in kinds])
    inverse = torch.empty_like(order).scatter_(0, order, torch.arange(len(order), device=device))
    counts = tuple(kind.numel() // side**2 for kind in kinds)
    return Order(layout, order.int(), inverse.int(), counts)


def cell_by_cell(side: int, fold: int, device: torch.device) -> Tensor:
    """The tokens of a window, all tokens of a cell one after the other: (t)."""
    tokens = torch.arange(side**2, device=device)
    return tokens.view(side // fold, fold, side // fold, fold).transpose(1, 2).flatten()
