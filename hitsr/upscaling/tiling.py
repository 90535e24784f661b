"""Run a picture through a network in overlapping tiles, blended one row of tiles at a time.

Tiles start where windows of the whole picture start, so that each window holds the same pixels as
without tiles. Near the edge of a tile the network lacks neighbouring pixels. So in an overlap, the
three eighths next to a tile's edge are discarded, and over the middle quarter one tile is blended
into the next. If outputs depend on no pixel further away than these three eighths, the result is
equal to that without tiles.

Shapes: h height and w width of the LR picture, or of the part of it that goes through the network.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn

from hitsr.base.errors import SpecError
from hitsr.models.backbone import SuperResolver
from hitsr.upscaling.ensemble import Forward, in_batches
from hitsr.upscaling.in_order import AtOnce

Crop = Callable[[slice, slice], Tensor]  # rows and columns of the LR picture -> (1, 3, h, w)

# In LR pixels. 3/8 of it, 24, is how far blended pixels lie from a tile's edge: there SwinIR-Light
# differs from the whole picture by a few hundredths of an 8-bit level at most.
_MIN_OVERLAP = 64


class Tiling(NamedTuple):
    """Tiles start every `step` LR pixels and overlap the next tile by `overlap` LR pixels."""

    step: int
    overlap: int

    @property
    def side(self) -> int:
        """Side of a tile in LR pixels."""
        return self.step + self.overlap


def smallest_tiling(model: nn.Module) -> Tiling:
    """The smallest tiles used for a network; they overlap by two of its largest windows."""
    grid = _window_grid(model)
    window = max(model.network.windows.sizes) if isinstance(model, SuperResolver) else 1
    overlap = max(_MIN_OVERLAP, 2 * window)
    return Tiling(step=math.ceil(overlap / grid) * grid, overlap=overlap)


def largest_tiling(model: nn.Module, side: int) -> Tiling:
    """The largest tiles of at most `side` LR pixels; SpecError if the smallest are larger."""
    smallest, grid = smallest_tiling(model), _window_grid(model)
    if side < smallest.side:
        raise SpecError(
            f"tile {side}: this network needs tiles of {smallest.side} LR pixels or more; "
            "use that, 0 for no tiles, or auto"
        )
    return smallest._replace(step=(side - smallest.overlap) // grid * grid)


def _window_grid(model: nn.Module) -> int:
    """Distance in LR pixels between places where windows of every size start together.

    It is 192 for windows of 4, 8, 16, 32, 48 and 64. With n-gram contexts it is twice that: the
    network pads pictures to two windows, and the last tile must be padded as the whole picture is.
    For networks that are not ours it is 1.
    """
    return math.lcm(*model.network.multiples) if isinstance(model, SuperResolver) else 1


def spans(length: int, tiling: Tiling | None) -> list[slice]:
    """Where tiles lie along a side of `length`; the last one ends with it. None is one tile."""
    if tiling is None:
        return [slice(0, length)]
    count = max(1, math.ceil((length - tiling.overlap) / tiling.step))
    starts = (tiling.step * index for index in range(count))
    return [slice(start, min(start + tiling.side, length)) for start in starts]


def upscaled_rows(
    forward: Forward,
    crop: Crop,
    size: tuple[int, int],
    tiling: Tiling | None,
    at_once: AtOnce = lambda _: 1,
) -> Iterator[Tensor]:
    """Yield the upscaled picture from top to bottom, some rows at a time: (3, rows, w*scale).

    `size` is the LR picture's (height, width). Tiles of a row go through `forward` together, as
    many as `at_once` says. At most two rows of tiles are in memory as floats.
    """
    rows, columns = (spans(length, tiling) for length in size)

    def band(row: slice) -> Tensor:
        crops = (crop(row, column) for column in columns)
        tiles = map(forward, crops) if len(columns) == 1 else in_batches(forward, crops, at_once)
        return torch.cat([*blended((tile[0] for tile in tiles), columns, 2)], 2)

    return blended(map(band, rows), rows, 1)


def blended(tiles: Iterable[Tensor], places: list[slice], dim: int) -> Iterator[Tensor]:
    """Join tiles at overlapping `places` (in LR pixels) along `dim`.

    Yields each tile up to where the next one begins, its own beginning cross-faded with the end of
    the one before. Where the two are equal, the result is exactly that.
    """
    before: Tensor | None = None
    for tile, place, following in zip(tiles, places, [*places[1:], None], strict=True):
        if before is not None:
            tile = _cross_faded(before, tile, dim)
        if following is None:
            yield tile
            return
        scale = tile.shape[dim] // (place.stop - place.start)
        finished = (following.start - place.start) * scale
        before = tile.narrow(dim, finished, tile.shape[dim] - finished)
        yield tile.narrow(dim, 0, finished)


def _cross_faded(before: Tensor, tile: Tensor, dim: int) -> Tensor:
    """`tile` with its beginning blended with `before`, the overlapping end of the last tile."""
    overlap = before.shape[dim]
    shared = tile.narrow(dim, 0, overlap)
    rest = tile.narrow(dim, overlap, tile.shape[dim] - overlap)
    shape = [-1 if each == dim else 1 for each in range(tile.ndim)]
    weights = fade_in(overlap).view(shape).to(tile)
    return torch.cat([torch.lerp(before, shared, weights), rest], dim)


def fade_in(length: int) -> Tensor:
    """Weights of the later tile over an overlap: 0, rising over the middle quarter, then 1.

    The weights of the earlier tile are one minus these.
    """
    middle = (torch.arange(length) + 0.5) / length
    return (4 * middle - 1.5).clamp(0, 1)
