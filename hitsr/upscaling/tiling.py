"""Take a picture through a network in overlapping tiles, blended one row of tiles at a time.

Tiles start where windows start in the whole picture, so that the same pixels share a window.
Beyond a tile's edges its network sees no neighbours: three eighths of the overlap next to an edge
do not count, and over the middle quarter one tile fades into the next. Where no output depends on
pixels further away than these three eighths, the result is that of the whole picture.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn

from hitsr.base.errors import SpecError
from hitsr.models.backbone import SuperResolver

Crop = Callable[[slice, slice], Tensor]  # rows and columns of the LR picture -> (1, 3, h, w)
Forward = Callable[[Tensor], Tensor]  # (1, 3, h, w) -> (1, 3, h*scale, w*scale)

# LR pixels. 24 from a cut, SwinIR-Light is off by hundredths of an 8-bit level or less.
_LEAST_OVERLAP = 64


class Tiling(NamedTuple):
    """Tiles start every `step` LR pixels and reach `overlap` into the next."""

    step: int
    overlap: int

    @property
    def side(self) -> int:
        """Of a tile, in LR pixels."""
        return self.step + self.overlap


def smallest(model: nn.Module) -> Tiling:
    """The smallest tiles that a network is given: they overlap by two of its largest windows."""
    unit = _unit(model)
    largest = max(model.network.windows.sizes) if isinstance(model, SuperResolver) else 1
    overlap = max(_LEAST_OVERLAP, 2 * largest)
    return Tiling(step=math.ceil(overlap / unit) * unit, overlap=overlap)


def tiles_within(model: nn.Module, side: int) -> Tiling:
    """The largest tiles of at most `side` LR pixels; SpecError if even the smallest are larger."""
    least, unit = smallest(model), _unit(model)
    if side < least.side:
        raise SpecError(
            f"tile {side}: this network's are {least.side} LR pixels or more; give that, "
            "0 for the whole picture, or auto"
        )
    return least._replace(step=(side - least.overlap) // unit * unit)


def _unit(model: nn.Module) -> int:
    """Where windows of all sizes start together, in LR pixels: 192 for 4, 8, 16, 32, 48 and 64.

    With contexts twice that: else the last tile would be extended otherwise than the picture. Of
    a network that is not ours nothing is known.
    """
    return math.lcm(*model.network.multiples) if isinstance(model, SuperResolver) else 1


def spans(length: int, tiling: Tiling | None) -> list[slice]:
    """Where tiles lie along a side of `length`; the last ends with it. None is the whole."""
    if tiling is None:
        return [slice(0, length)]
    count = max(1, math.ceil((length - tiling.overlap) / tiling.step))
    starts = (tiling.step * index for index in range(count))
    return [slice(start, min(start + tiling.side, length)) for start in starts]


def upscaled_rows(
    forward: Forward, crop: Crop, size: tuple[int, int], tiling: Tiling | None
) -> Iterator[Tensor]:
    """The upscaled picture from the top down, rows as they are done: (3, some, w*scale).

    `size` is the LR picture's height and width. Holds the floats of one row of tiles.
    """
    rows, columns = (spans(length, tiling) for length in size)
    across = (
        torch.cat([*chained((forward(crop(row, each))[0] for each in columns), columns, 2)], 2)
        for row in rows
    )
    return chained(across, rows, 1)


def chained(pieces: Iterable[Tensor], places: list[slice], dim: int) -> Iterator[Tensor]:
    """Pieces at overlapping `places` (in LR pixels) along `dim`, each cut where the next begins.

    Where two overlap, the first fades into the second; what they agree on stays exactly.
    """
    before: Tensor | None = None
    for piece, place, following in zip(pieces, places, [*places[1:], None], strict=True):
        if before is not None:
            piece = _faded(before, piece, dim)
        if following is None:
            yield piece
            return
        scale = piece.shape[dim] // (place.stop - place.start)
        ready = (following.start - place.start) * scale
        before = piece.narrow(dim, ready, piece.shape[dim] - ready)
        yield piece.narrow(dim, 0, ready)


def _faded(before: Tensor, piece: Tensor, dim: int) -> Tensor:
    """`piece`, its beginning mixed with the end of what came `before`."""
    length = before.shape[dim]
    shared, rest = (
        piece.narrow(dim, 0, length),
        piece.narrow(dim, length, piece.shape[dim] - length),
    )
    shape = [-1 if each == dim else 1 for each in range(piece.ndim)]
    return torch.cat([torch.lerp(before, shared, rise(length).view(shape).to(piece)), rest], dim)


def rise(length: int) -> Tensor:
    """Weights of the later tile over an overlap: 0, rising over its middle quarter, then 1.

    Those of the earlier one mirror them, and with them sum to one.
    """
    middle = (torch.arange(length) + 0.5) / length
    return (4 * middle - 1.5).clamp(0, 1)
