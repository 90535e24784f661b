"""Upscale all LR pictures of a prepared folder into files, to be scored by `hitsr quality`."""

from collections.abc import Sequence
from pathlib import Path

from torch import nn

from hitsr.base.errors import HitsrError
from hitsr.data.images import Picture, Samples
from hitsr.runtime.tensors import to_picture
from hitsr.upscaling.controls import restore_by
from hitsr.upscaling.inference import DEFAULTS, UpscaleOptions, check_tile
from hitsr.upscaling.many import most_waiting, pictures_at_once, upscale_alike


def restore(
    model: nn.Module,
    folder: Path,
    scale: int,
    out: Path,
    options: UpscaleOptions = DEFAULTS,
    *,
    resume: bool = False,
    quiet: bool = False,
) -> tuple[Path, ...]:
    """Upscale the LR of every pair in a prepared folder into `out`/<name>.png; returns the files.

    Pictures are read and written while the network works. On CUDA, pictures of one size that
    follow each other go through it together. With `resume`, files that are there stay as they are.
    Raises DataError for a picture that is missing, misnamed, of the wrong size or too large for the
    memory; the pictures before it are written.
    """
    check_tile(model, options)

    def by_network(lr: Sequence[Picture], _: Sequence[Picture]) -> Sequence[Samples | HitsrError]:
        return upscale_alike(model, lr, [to_picture] * len(lr), options, quiet=quiet)

    return restore_by(
        by_network,
        folder,
        scale,
        out,
        resume=resume,
        quiet=quiet,
        at_once=pictures_at_once(model, options),
        waiting=most_waiting(model),
    )
