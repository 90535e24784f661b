"""Upscale all LR pictures of a prepared folder into files, to be scored by `hitsr quality`."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple, cast

from torch import nn

from hitsr.base.errors import DataError, HitsrError
from hitsr.base.progress import Progress
from hitsr.data.bicubic import imresize
from hitsr.data.images import Picture, Samples, write_png
from hitsr.data.sources import Pair, pairs, read_pair
from hitsr.plan.subjects import Control
from hitsr.runtime.tensors import to_picture
from hitsr.upscaling.ensemble import AtOnce
from hitsr.upscaling.inference import DEFAULTS, UpscaleOptions, check_tile
from hitsr.upscaling.many import in_order, most_waiting, pictures_at_once, upscale_alike

# (lr pictures of one size, hr pictures) -> sr pictures, or why there is none
Restore = Callable[[Sequence[Picture], Sequence[Picture]], Sequence[Samples | HitsrError]]


def restore(
    model: nn.Module,
    folder: Path,
    scale: int,
    out: Path,
    options: UpscaleOptions = DEFAULTS,
    *,
    quiet: bool = False,
) -> tuple[Path, ...]:
    """Upscale the LR of every pair in a prepared folder into `out`/<name>.png; returns the files.

    Pictures are read and written while the network works. On CUDA, pictures of one size that
    follow each other go through it together. Raises DataError for a picture that is missing,
    misnamed, of the wrong size or too large for the memory; the pictures before it are written.
    """
    check_tile(model, options)

    def by_network(lr: Sequence[Picture], _: Sequence[Picture]) -> Sequence[Samples | HitsrError]:
        return upscale_alike(model, lr, [to_picture] * len(lr), options, quiet=quiet)

    at_once, waiting = pictures_at_once(model, options), most_waiting(model)
    return _restore(by_network, folder, scale, out, quiet, at_once, waiting)


def restore_control(
    control: Control, folder: Path, scale: int, out: Path, *, quiet: bool = False
) -> tuple[Path, ...]:
    """Write a control instead of a network's output, as `restore` does.

    `bicubic` is MATLAB's bicubic upscaling, a lower bound for networks; `hr` is the HR picture
    itself, the upper bound.
    """
    controls: dict[Control, Restore] = {
        "bicubic": lambda lr, _: [imresize(each, scale) for each in lr],
        "hr": lambda _, hr: hr,
    }
    return _restore(controls[control], folder, scale, out, quiet)


class _Pictures(NamedTuple):
    """LR and HR picture of a pair, or why they cannot be read."""

    pair: Pair
    read: tuple[Picture, Picture] | DataError


def _restore(
    method: Restore,
    folder: Path,
    scale: int,
    out: Path,
    quiet: bool,
    at_once: AtOnce = lambda _: 1,
    waiting: int = 1,
) -> tuple[Path, ...]:
    """Write what a method makes of each pair; `at_once` and `waiting` as in `in_order`."""
    found = pairs(folder, scale)

    def read(pair: Pair) -> _Pictures:
        try:
            return _Pictures(pair, read_pair(pair, scale))
        except DataError as error:
            return _Pictures(pair, error)

    def size(each: _Pictures) -> tuple[int, int] | None:
        return None if isinstance(each.read, DataError) else each.read[0].shape[:2]

    def upscale(group: list[_Pictures]) -> Sequence[Samples | HitsrError]:
        readable = [each.read for each in group if not isinstance(each.read, DataError)]
        return method(*zip(*readable, strict=True)) if readable else [DataError()]

    def write(each: _Pictures, sr: Samples | HitsrError) -> Path:
        if isinstance(each.read, DataError):
            raise each.read
        if isinstance(sr, DataError):
            raise DataError(f"{each.pair.lr}: {sr}") from sr
        if isinstance(sr, HitsrError):
            raise sr
        path = out / f"{each.pair.name}.png"
        write_png(path, cast(Picture, sr))
        return path

    written = []
    with Progress(f"restore {out.name}", len(found), "picture", quiet) as progress:
        for path in in_order(found, read, size, upscale, write, at_once=at_once, waiting=waiting):
            written.append(path)
            progress.advance()
    return tuple(written)
