"""Upscale one picture with a network: whole if memory allows, else in overlapping tiles."""

import sys
from collections.abc import Callable
from typing import Literal, NamedTuple, TypeAlias, cast

import numpy as np
import torch
from torch import Tensor, nn

from hitsr.base.errors import DataError, SpecError, WeightsError
from hitsr.base.progress import Progress
from hitsr.data.images import Picture, Samples, check_samples
from hitsr.runtime.free_memory import is_out_of_memory
from hitsr.runtime.tensors import evaluating, home_of, to_batch, to_picture
from hitsr.upscaling.ensemble import self_ensembled
from hitsr.upscaling.in_order import Size
from hitsr.upscaling.tile_size import batch_for_memory, tile_side_for_memory
from hitsr.upscaling.tiling import (
    Tiling,
    largest_tiling,
    smallest_tiling,
    spans,
    upscaled_rows,
)

TileSide: TypeAlias = int | Literal["auto"]
ToSamples = Callable[[Tensor], Samples]  # a network's output, (1, 3, rows, w*scale) -> samples


class UpscaleOptions(NamedTuple):
    """How a picture goes through a network."""

    tile: TileSide = "auto"  # largest side in LR pixels; 0: no tiles; "auto": as memory allows
    self_ensemble: bool = False  # average over eight symmetries, which takes eight times as long


DEFAULTS = UpscaleOptions()


def upscale(
    model: nn.Module,
    lr: Samples,
    *,
    tile: TileSide = "auto",
    self_ensemble: bool = False,
    quiet: bool = False,
) -> Picture:
    """Upscale one picture: (h, w, 3) uint8 -> (h*scale, w*scale, 3) uint8.

    A grey picture, (h, w), stands for three equal channels, and uint16 samples for the range
    0..65535; the result is RGB of uint8 all the same. The order of samples in memory is free.

    Runs on the model's device, in its floating-point type and in eval mode; afterwards the model's
    mode is as before. The output is clamped to [0, 1] and rounded.

    `tile` is the largest side of overlapping tiles, in LR pixels. 0 never uses tiles; "auto" uses
    them if the whole picture would need more than half of the free memory or more than 3 GB. If
    memory runs out, "auto" and given sides are halved and the picture starts again. Unless `quiet`,
    stderr shows this and the progress. `self_ensemble` averages over the eight symmetries of the
    picture.

    Raises ValueError for anything else than such a picture (read a PIL picture with
    `numpy.asarray(picture.convert("RGB"))`) and for a model of several devices or types, SpecError
    if `tile` is too small for the network, DataError if memory does not suffice, and WeightsError
    if the output is not finite.
    """
    check_samples("lr", lr, grey=True, deep=True)
    options = UpscaleOptions(tile, self_ensemble)
    return cast(Picture, upscale_samples(model, lr, to_picture, options, quiet=quiet))


def upscale_samples(
    model: nn.Module,
    samples: Samples,
    to_samples: ToSamples,
    options: UpscaleOptions,
    *,
    quiet: bool = False,
) -> Samples:
    """Upscale grey (h, w) or RGB (h, w, 3) samples of uint8 or uint16; details as `upscale`.

    `to_samples` converts the network's output, (1, 3, some rows, w*scale) floats, to samples.
    """
    size = samples.shape[0], samples.shape[1]
    runner, one_by_one = Runner(model, options), Runner(model, options, one_by_one=True)
    with evaluating(model), torch.inference_mode():
        check_tile(model, options)
        tiling = tiling_of(one_by_one, size)
        while True:
            try:
                return _upscale(runner, samples, to_samples, tiling, quiet)
            except (MemoryError, RuntimeError) as error:
                if not is_out_of_memory(error):
                    raise
            # Outside `except`, where the traceback would keep the failed attempt's tensors alive.
            if runner.largest_batch > 1:
                runner, how = one_by_one, "with one tile at a time"
            else:
                tiling = _smaller_tiling(model, size, tiling, options.tile)
                how = f"in tiles of {tiling.side}"
            go_on(runner.device, how, quiet)


def check_tile(model: nn.Module, options: UpscaleOptions) -> None:
    """Raise SpecError if the tiles asked for are no number or too small for the network."""
    if options.tile != "auto" and not isinstance(options.tile, int | np.integer):
        raise SpecError(f"tile {options.tile!r}: must be a number of LR pixels, 0 or 'auto'")
    if options.tile != "auto" and options.tile != 0:
        largest_tiling(model, options.tile)


class Runner:
    """A network as a function from and to float32 on the CPU: (b, 3, h, w)."""

    def __init__(
        self, model: nn.Module, options: UpscaleOptions, *, one_by_one: bool = False
    ) -> None:
        self.model, self.options = model, options
        self.device, self.dtype = home_of(model)
        self.largest_batch = 0  # that went through the network so far
        self._most: dict[Size, int] = {}
        self._one_by_one = one_by_one
        self._run = (
            self_ensembled(self._once, self.at_once) if options.self_ensemble else self._once
        )

    def __call__(self, lr: Tensor) -> Tensor:
        hr = self._run(lr.to(self.device, self.dtype)).float().cpu()
        if self.dtype == torch.float16 and not hr.isfinite().all():
            raise WeightsError(
                "float16 does not hold this network's values; use model.float() or .bfloat16()"
            )
        return hr

    def at_once(self, size: Size) -> int:
        """How many pictures of a size, or symmetries of one, go through the network at once."""
        if self._one_by_one:
            return 1
        if size not in self._most:
            alone = Runner(self.model, DEFAULTS, one_by_one=True)
            self._most[size] = batch_for_memory(self.model, alone, size, self.device)
        return self._most[size]

    def _once(self, lr: Tensor) -> Tensor:
        self.largest_batch = max(self.largest_batch, len(lr))
        hr: Tensor = self.model(lr)
        return hr


def tiling_of(runner: Runner, size: Size) -> Tiling | None:
    """The tiles asked for, or those that memory allows; None for the whole picture at once."""
    model = runner.model
    side: int | None
    match runner.options.tile:
        case 0:
            return None
        case "auto":
            side = tile_side_for_memory(model, runner, size, runner.device)
        case given:
            side = given
    return None if side is None or max(size) <= side else largest_tiling(model, side)


def go_on(device: torch.device, how: str, quiet: bool) -> None:
    """Free what a failed attempt left in torch's cache, and say how the work goes on."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
    if not quiet:
        print(f"out of memory; continuing {how}", file=sys.stderr)


def _smaller_tiling(model: nn.Module, size: Size, tiling: Tiling | None, tile: TileSide) -> Tiling:
    """Tiles of half the side; DataError if they cannot be smaller, or if tiles are ruled out."""
    side = tiling.side if tiling else max(size)
    smallest = smallest_tiling(model).side
    problem = f"{size[1]}x{size[0]} needs more memory than there is"
    if tile == 0:
        raise DataError(f"{problem} without tiles; choose tile auto")
    if side <= smallest:
        raise DataError(f"{problem}, even in tiles of {smallest}; free some, or use the CPU")
    return largest_tiling(model, max(smallest, side // 2))


def _upscale(
    runner: Runner,
    samples: Samples,
    to_samples: ToSamples,
    tiling: Tiling | None,
    quiet: bool,
) -> Samples:
    """The upscaled samples, written one row of tiles at a time."""
    height, width = samples.shape[:2]
    total = len(spans(height, tiling)) * len(spans(width, tiling))
    label = f"tiles of {tiling.side}" if tiling else "whole"
    with Progress(label, total, "tile", quiet or total == 1) as progress:

        def forward_tile(lr: Tensor) -> Tensor:
            hr = runner(lr)
            for _ in lr:
                progress.advance()
            return hr

        def crop(rows: slice, columns: slice) -> Tensor:
            return to_batch(samples[rows, columns])

        upscaled: Samples | None = None
        top = 0
        size = height, width
        for floats in upscaled_rows(forward_tile, crop, size, tiling, runner.at_once):
            rows = to_samples(floats[None])
            if upscaled is None:
                scale = floats.shape[2] // width
                upscaled = np.empty((height * scale, *rows.shape[1:]), rows.dtype)
            upscaled[top : top + len(rows)] = rows
            top += len(rows)
    assert upscaled is not None
    return upscaled
