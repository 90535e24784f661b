"""Upscale pictures with a network, one at a time or a folder of pairs, into files to be scored.

A picture goes whole through the network where memory allows, else in tiles (`tiling`).
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias, cast

import numpy as np
import torch
from torch import Tensor, nn

from hitsr.base.errors import DataError
from hitsr.base.progress import Progress
from hitsr.data.bicubic import imresize
from hitsr.data.images import Picture, Samples, write_png
from hitsr.data.sources import pairs, read_pair
from hitsr.plan.methods import Control
from hitsr.runtime.free_memory import is_out_of_memory
from hitsr.runtime.tensors import evaluating, to_batch, to_picture
from hitsr.upscaling.ensemble import over_symmetries
from hitsr.upscaling.tile_size import side_at_hand
from hitsr.upscaling.tiling import Forward, Tiling, smallest, spans, tiles_within, upscaled_rows

Method = Callable[[Picture, Picture], Picture]  # (lr, hr) -> sr
Tile: TypeAlias = int | Literal["auto"]
Size = tuple[int, int]  # height and width


class Manner(NamedTuple):
    """How pictures go through a network."""

    tile: Tile = "auto"  # side in LR pixels, at most; 0: always whole; auto: as memory allows
    self_ensemble: bool = False  # the mean over eight symmetries, in eight times the time


BY_DEFAULT = Manner()


def upscale(
    model: nn.Module,
    lr: Picture,
    *,
    tile: Tile = "auto",
    self_ensemble: bool = False,
    quiet: bool = False,
) -> Picture:
    """Upscale one picture: (h, w, 3) uint8 -> (h*scale, w*scale, 3) uint8.

    In eval mode on the model's device, clamped to [0, 1] and rounded; a model in training goes
    back to training. `tile` is the side of overlapping tiles, in LR pixels and at most; 0 takes
    the picture whole, "auto" too where half of the free memory and 3 GB suffice. Tiles are halved
    where memory runs out, and stderr says so, and how far they are, unless `quiet`.
    `self_ensemble` averages over the eight symmetries of the picture. Raises SpecError for tiles
    too small for the network, DataError if memory does not suffice, and WeightsError for an
    output that is not finite.
    """
    upscaled = enlarge(model, lr, to_picture, Manner(tile, self_ensemble), quiet=quiet)
    return cast(Picture, upscaled)


def enlarge(
    model: nn.Module,
    samples: Samples,
    to_samples: Callable[[Tensor], Samples],
    manner: Manner,
    *,
    quiet: bool = False,
) -> Samples:
    """As `upscale`, of grey or colour, uint8 or uint16: (h, w) or (h, w, 3).

    `to_samples` makes what is written of (1, 3, some, w*scale) floats, some rows at a time.
    """
    device = next(model.parameters()).device
    size = samples.shape[0], samples.shape[1]
    with evaluating(model), torch.inference_mode():
        forward = _forward(model, device, manner)
        tiling = _tiling(model, forward, size, device, manner.tile)
        while True:
            try:
                return _filled(forward, samples, to_samples, tiling, quiet)
            except (MemoryError, RuntimeError) as error:
                if not is_out_of_memory(error):
                    raise
            # Not within `except`, where the error would hold on to what was made so far.
            tiling = _halved(model, size, tiling, manner.tile)
            if device.type == "cuda":
                torch.cuda.empty_cache()
            if not quiet:
                print(f"out of memory; goes on in tiles of {tiling.side}", file=sys.stderr)


def check(model: nn.Module, manner: Manner) -> None:
    """Raise SpecError for tiles that are too small for a network, before any work."""
    if manner.tile != "auto" and manner.tile != 0:
        tiles_within(model, manner.tile)


def restore(
    model: nn.Module,
    folder: Path,
    scale: int,
    out: Path,
    manner: Manner = BY_DEFAULT,
    *,
    quiet: bool = False,
) -> tuple[Path, ...]:
    """Upscale the LR of every pair in a prepared folder into `out`/<name>.png; returns the files.

    Raises DataError for a missing, misnamed or misshaped picture, or one that memory does not
    suffice for, with those before it written.
    """
    check(model, manner)

    def method(lr: Picture, _: Picture) -> Picture:
        return cast(Picture, enlarge(model, lr, to_picture, manner, quiet=quiet))

    return _restore(method, folder, scale, out, quiet)


def restore_control(
    control: Control, folder: Path, scale: int, out: Path, *, quiet: bool = False
) -> tuple[Path, ...]:
    """As `restore`, without a network: MATLAB's bicubic, the least a network should reach, or the
    HR picture itself, the most it could."""
    method: dict[Control, Method] = {
        "bicubic": lambda lr, _: imresize(lr, scale),
        "hr": lambda _, hr: hr,
    }
    return _restore(method[control], folder, scale, out, quiet)


def _restore(method: Method, folder: Path, scale: int, out: Path, quiet: bool) -> tuple[Path, ...]:
    found = pairs(folder, scale)
    written = []
    with Progress(f"restore {out.name}", len(found), "picture", quiet) as progress:
        for pair in found:
            path = out / f"{pair.name}.png"
            lr, hr = read_pair(pair, scale)
            try:
                write_png(path, method(lr, hr))
            except DataError as error:
                raise DataError(f"{pair.lr}: {error}") from error
            written.append(path)
            progress.advance()
    return tuple(written)


def _forward(model: nn.Module, device: torch.device, manner: Manner) -> Forward:
    """From floats on the CPU to floats on the CPU."""
    through: Forward = over_symmetries(model) if manner.self_ensemble else model
    return lambda lr: through(lr.to(device)).float().cpu()


def _tiling(
    model: nn.Module, forward: Forward, size: Size, device: torch.device, tile: Tile
) -> Tiling | None:
    """The tiles asked for, or that memory allows; None for the whole picture."""
    if tile == 0:
        return None
    side = side_at_hand(model, forward, size, device) if tile == "auto" else tile
    return None if side is None or max(size) <= side else tiles_within(model, side)


def _halved(model: nn.Module, size: Size, tiling: Tiling | None, tile: Tile) -> Tiling:
    """The next smaller tiles; DataError where there are none, or the picture had to go whole."""
    side = tiling.side if tiling else max(size)
    least = smallest(model).side
    needs = f"{size[1]}x{size[0]} needs more memory than there is"
    if tile == 0:
        raise DataError(f"{needs} to go whole; choose tile auto")
    if side <= least:
        raise DataError(f"{needs}, even in tiles of {least}; free some, or take the CPU")
    return tiles_within(model, max(least, side // 2))


def _filled(
    forward: Forward,
    samples: Samples,
    to_samples: Callable[[Tensor], Samples],
    tiling: Tiling | None,
    quiet: bool,
) -> Samples:
    """The upscaled picture, written row of tiles by row of tiles."""
    height, width = samples.shape[:2]
    total = len(spans(height, tiling)) * len(spans(width, tiling))
    label = f"tiles of {tiling.side}" if tiling else "whole"
    with Progress(label, total, "tile", quiet or total == 1) as progress:

        def counted(lr: Tensor) -> Tensor:
            hr = forward(lr)
            progress.advance()
            return hr

        def crop(rows: slice, columns: slice) -> Tensor:
            return to_batch(samples[rows, columns])

        filled: Samples | None = None
        top = 0
        for floats in upscaled_rows(counted, crop, (height, width), tiling):
            rows = to_samples(floats[None])
            if filled is None:
                whole = height * (floats.shape[2] // width), *rows.shape[1:]
                filled = np.empty(whole, rows.dtype)
            filled[top : top + len(rows)] = rows
            top += len(rows)
    assert filled is not None
    return filled
