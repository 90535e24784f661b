"""Upscale all LR pictures of a prepared folder into files, to be scored by `hitsr quality`."""

from collections.abc import Callable
from pathlib import Path

from torch import nn

from hitsr.base.errors import DataError
from hitsr.base.progress import Progress
from hitsr.data.bicubic import imresize
from hitsr.data.images import Picture, write_png
from hitsr.data.sources import pairs, read_pair
from hitsr.plan.subjects import Control
from hitsr.upscaling.inference import DEFAULTS, UpscaleOptions, check_tile, upscale

Restore = Callable[[Picture, Picture], Picture]  # (lr, hr) -> sr


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

    Raises DataError for a picture that is missing, misnamed, of the wrong size or too large for the
    memory; the pictures before it are written.
    """
    check_tile(model, options)

    def by_network(lr: Picture, _: Picture) -> Picture:
        return upscale(model, lr, **options._asdict(), quiet=quiet)

    return _restore(by_network, folder, scale, out, quiet)


def restore_control(
    control: Control, folder: Path, scale: int, out: Path, *, quiet: bool = False
) -> tuple[Path, ...]:
    """Write a control instead of a network's output, as `restore` does.

    `bicubic` is MATLAB's bicubic upscaling, a lower bound for networks; `hr` is the HR picture
    itself, the upper bound.
    """
    controls: dict[Control, Restore] = {
        "bicubic": lambda lr, _: imresize(lr, scale),
        "hr": lambda _, hr: hr,
    }
    return _restore(controls[control], folder, scale, out, quiet)


def _restore(method: Restore, folder: Path, scale: int, out: Path, quiet: bool) -> tuple[Path, ...]:
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
