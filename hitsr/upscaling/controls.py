"""Write the pictures of controls, and walk through the pairs of a set. Loads no torch."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple, cast

from hitsr.base.errors import DataError, HitsrError
from hitsr.base.progress import Progress
from hitsr.data.bicubic import imresize
from hitsr.data.images import Picture, Samples, write_png
from hitsr.data.sources import Pair, pairs, read_pair
from hitsr.plan.subjects import Control
from hitsr.upscaling.in_order import AtOnce, in_order

# (lr pictures of one size, hr pictures) -> sr pictures, or why there is none
Restore = Callable[[Sequence[Picture], Sequence[Picture]], Sequence[Samples | HitsrError]]


def restore_control(
    control: Control,
    folder: Path,
    scale: int,
    out: Path,
    *,
    resume: bool = False,
    quiet: bool = False,
) -> tuple[Path, ...]:
    """Write a control instead of a network's output, as `restoration.restore` does.

    `bicubic` is MATLAB's bicubic upscaling, a lower bound for networks; `hr` is the HR picture
    itself, the upper bound.
    """
    controls: dict[Control, Restore] = {
        "bicubic": lambda lr, _: [imresize(each, scale) for each in lr],
        "hr": lambda _, hr: hr,
    }
    return restore_by(controls[control], folder, scale, out, resume=resume, quiet=quiet)


class _Pictures(NamedTuple):
    """LR and HR picture of a pair, or why they cannot be read."""

    pair: Pair
    read: tuple[Picture, Picture] | DataError


def restore_by(
    method: Restore,
    folder: Path,
    scale: int,
    out: Path,
    *,
    resume: bool,
    quiet: bool,
    at_once: AtOnce = lambda _: 1,
    waiting: int = 1,
) -> tuple[Path, ...]:
    """Write what a method makes of each pair; `at_once` and `waiting` as in `in_order`.

    With `resume`, files that are there stay as they are. Returns all files.
    """
    found = pairs(folder, scale)
    files = {pair: out / f"{pair.name}.png" for pair in found}
    left = [pair for pair in found if not (resume and files[pair].is_file())]

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
        path = files[each.pair]
        write_png(path, cast(Picture, sr))
        return path

    with Progress(f"restore {out.name}", len(left), "picture", quiet) as progress:
        for _ in in_order(left, read, size, upscale, write, at_once=at_once, waiting=waiting):
            progress.advance()
    return tuple(files.values())
