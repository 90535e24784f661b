"""Window arithmetic on channels-last pictures: extend, split, merge, and what a shift separates."""

import torch
from torch import Tensor

# Added to scores between parts that a shift brought together; exp(-100) is zero beside any score.
SEPARATE = -100.0


def reflected(length: int, extra: int, device: torch.device) -> Tensor:
    """Indices that continue 0..length-1 by `extra` more, as numpy's `reflect` does.

    The period is 2 (length - 1), so any extension is defined; a single sample is repeated.
    """
    # A tensor, because ONNX knows no remainder by a size.
    period = torch.scalar_tensor(2 * (length - 1), dtype=torch.int64, device=device).clamp(min=1)
    index = torch.arange(length, length + extra, device=device) % period
    return torch.minimum(index, period - index)


def extend(x_bhwc: Tensor, multiple: int, sides: tuple[int, ...] = (1, 2)) -> Tensor:
    """Reflect on the right and bottom until both sides are multiples: (b, h, w, c).

    Or until one of them is: `sides` are dimensions.
    """
    if multiple == 1:
        return x_bhwc
    for dim in sides:
        length = x_bhwc.shape[dim]
        whole = (length + multiple - 1) // multiple * multiple
        # An exported program serves every size: its tail may be empty.
        if torch.compiler.is_exporting() or whole > length:
            tail = x_bhwc.index_select(dim, reflected(length, whole - length, x_bhwc.device))
            x_bhwc = torch.cat([x_bhwc, tail], dim)
    return x_bhwc


def split(x_bhwc: Tensor, window: int) -> Tensor:
    """Cut into windows: (b, h, w, c) -> (n, t, c), t = window²; sides must be multiples."""
    b, h, w, c = x_bhwc.shape
    rows, columns = h // window, w // window
    x = x_bhwc.view(b, rows, window, columns, window, c)
    return x.transpose(2, 3).reshape(b * rows * columns, window * window, c)


def merge(x_ntc: Tensor, window: int, height: int, width: int) -> Tensor:
    """Lay windows back into pictures: (n, t, c) -> (b, h, w, c). Undoes `split`."""
    rows, columns, c = height // window, width // window, x_ntc.shape[-1]
    b = x_ntc.shape[0] // (rows * columns)
    x = x_ntc.view(b, rows, columns, window, window, c)
    return x.transpose(2, 3).reshape(b, height, width, c)


def roll(x_bhwc: Tensor, shift: int, sides: tuple[int, ...] = (1, 2)) -> Tensor:
    """Move a picture down and right by `shift` pixels, around its edges; the same for 0.

    Or one of these, by `sides`, which are dimensions.
    """
    return x_bhwc.roll([shift] * len(sides), sides) if shift else x_bhwc


def regions(height: int, width: int, window: int, shift: int, device: torch.device) -> Tensor:
    """Number the parts that a cyclic shift brings together: (1, h, w, 1) float.

    Tokens attend to each other only within one part (SwinIR, `calculate_mask`).
    """

    def bands(length: int) -> Tensor:
        position = torch.arange(length, device=device)
        return (position >= length - window).float() + (position >= length - shift).float()

    return (3 * bands(height)[:, None] + bands(width)[None, :])[None, :, :, None]


def cells(side: int, device: torch.device) -> Tensor:
    """Row and column of every cell of a square, row by row: (side², 2) integers."""
    line = torch.arange(side, device=device)
    return torch.cartesian_prod(line, line).view(-1, 2)
