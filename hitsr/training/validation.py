"""Mean PSNR on whole pictures during training; it is logged, and selects no checkpoint."""

from collections.abc import Callable
from pathlib import Path
from statistics import fmean

from torch import nn

from hitsr.data.images import Picture
from hitsr.data.packs import packed_pairs
from hitsr.measure.metrics import psnr

Upscale = Callable[[nn.Module, Picture], Picture]  # (network, lr) -> sr, such as `hitsr.upscale`


def validator(
    folder: Path, scale: int, packs: Path, upscale: Upscale, *, quiet: bool = False
) -> Callable[[nn.Module], float]:
    """A function that gives a network's mean PSNR in dB on a prepared folder.

    PSNR is on luma, `scale` pixels cut off each side. Packs are made first; raises DataError as
    `packed_pairs` does.
    """
    packed = packed_pairs(folder, scale, packs, quiet=quiet)

    def validate(model: nn.Module) -> float:
        return fmean(
            psnr(upscale(model, pair.lr[:, :]), pair.hr[:, :], border=scale) for pair in packed
        )

    return validate
