"""Windows of channels-last features: extend, split, merge, and the regions of a cyclic shift.

Shapes: b batch, h height, w width, c channels, n windows, t tokens of a window, s keys of a window,
m heads, d channels of a head.
"""

import torch
from torch import Tensor

# Added to scores of tokens that must not attend to each other: a softmax makes it a weight of 0.
SEPARATE = -100.0


def reflected(length: int, extra: int, device: torch.device) -> Tensor:
    """Indices of the `extra` samples after 0..length-1, as numpy's `reflect` pads: (extra,).

    The period is 2 (length - 1), so `extra` may be any number; a single sample is repeated.
    """
    # A tensor, because ONNX has no remainder operator for sizes.
    period = torch.scalar_tensor(2 * (length - 1), dtype=torch.int64, device=device).clamp(min=1)
    index = torch.arange(length, length + extra, device=device) % period
    return torch.minimum(index, period - index)


def extend(x_bhwc: Tensor, multiple: int, dims: tuple[int, ...] = (1, 2)) -> Tensor:
    """Pad by reflection at the bottom (dim 1) and right (dim 2) to multiples: (b, h, w, c)."""
    if multiple == 1:
        return x_bhwc
    for dim in dims:
        length = x_bhwc.shape[dim]
        whole = (length + multiple - 1) // multiple * multiple
        # An exported program has no branch on sizes, so there the padding may be empty.
        if torch.compiler.is_exporting() or whole > length:
            padding = x_bhwc.index_select(dim, reflected(length, whole - length, x_bhwc.device))
            x_bhwc = torch.cat([x_bhwc, padding], dim)
    return x_bhwc


def reflect_ends(x_bhwc: Tensor, extra: int, backward: bool) -> Tensor:
    """Reflect `extra` windows beyond the right and bottom, or with `backward` the left and top."""
    for dim in (1, 2):
        length = x_bhwc.shape[dim]
        step = torch.arange(extra, device=x_bhwc.device)
        near, far = (extra - step).clamp(max=length - 1), (length - 2 - step).clamp(min=0)
        edge = x_bhwc.index_select(dim, near if backward else far)
        x_bhwc = torch.cat([edge, x_bhwc] if backward else [x_bhwc, edge], dim)
    return x_bhwc


def split(x_bhwc: Tensor, window: int) -> Tensor:
    """Cut into windows: (b, h, w, c) -> (n, t, c), t = window²; h, w must be multiples of it."""
    b, h, w, c = x_bhwc.shape
    rows, columns = h // window, w // window
    x = x_bhwc.view(b, rows, window, columns, window, c)
    return x.transpose(2, 3).reshape(b * rows * columns, window * window, c)


def merge(x_ntc: Tensor, window: int, height: int, width: int) -> Tensor:
    """Put windows back into pictures: (n, t, c) -> (b, h, w, c). Undoes `split`."""
    rows, columns, c = height // window, width // window, x_ntc.shape[-1]
    b = x_ntc.shape[0] // (rows * columns)
    x = x_ntc.view(b, rows, columns, window, window, c)
    return x.transpose(2, 3).reshape(b, height, width, c)


def roll(x_bhwc: Tensor, shift: int, dims: tuple[int, ...] = (1, 2)) -> Tensor:
    """Roll cyclically by `shift` pixels, down (dim 1) and right (dim 2); x itself for 0."""
    return x_bhwc.roll([shift] * len(dims), dims) if shift else x_bhwc


def regions(height: int, width: int, window: int, shift: int, device: torch.device) -> Tensor:
    """Number the regions of a cyclically shifted picture: (1, h, w, 1) float.

    Tokens of a window may attend to each other only within one region, since others come from the
    opposite edge of the picture (SwinIR, `calculate_mask`).
    """

    def bands(length: int) -> Tensor:
        position = torch.arange(length, device=device)
        return (position >= length - window).float() + (position >= length - shift).float()

    return (3 * bands(height)[:, None] + bands(width)[None, :])[None, :, :, None]


def shift_mask(
    height: int, width: int, window: int, shift: int, fold: int, device: torch.device
) -> Tensor:
    """SEPARATE where a shift brought query and key together, else 0: (n, t, s) of one picture.

    A key stands for fold x fold tokens, whose region is that of the first of them.
    """
    parts = split(regions(height, width, window, shift, device), window)[..., 0]
    row, column = cells(window // fold, device).unbind(1)
    keys = parts[:, (row * window + column) * fold]
    return (parts[:, :, None] != keys[:, None, :]).float() * SEPARATE


def in_heads(
    q_ntc: Tensor, k_ntc: Tensor, v_ntc: Tensor, heads: int, window: int, fold: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Divide windows' features into heads: queries (n, m, t, d), keys and values (n, m, s, d).

    Queries have c channels, keys and values c / fold²: those of the fold x fold tokens of a cell
    are folded into one key of c channels.
    """
    folded = (q_ntc, _fold(k_ntc, window, fold), _fold(v_ntc, window, fold))
    q, k, v = (x.unflatten(-1, (heads, -1)).transpose(1, 2) for x in folded)
    return q, k, v


def _fold(x_ntc: Tensor, window: int, fold: int) -> Tensor:
    """Fold the tokens of a cell into channels: (n, t, c / fold²) -> (n, s, c)."""
    if fold == 1:
        return x_ntc
    n, _, c = x_ntc.shape
    side, f = window // fold, fold
    x = x_ntc.view(n, side, f, side, f, c).transpose(2, 3)
    return x.reshape(n, side * side, f * f * c)


def cells(side: int, device: torch.device) -> Tensor:
    """Row and column of every cell of a side x side square, row by row: (side², 2) integers."""
    line = torch.arange(side, device=device)
    return torch.cartesian_prod(line, line).view(-1, 2)
