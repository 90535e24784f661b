"""Follow a training by the PSNR of whole pictures; nothing is selected by it."""

from collections.abc import Callable
from pathlib import Path
from statistics import fmean

from torch import nn

from hitsr.data.images import Picture
from hitsr.data.packs import packed_pairs
from hitsr.measure.metrics import psnr

Upscale = Callable[[nn.Module, Picture], Picture]  # such as `hitsr.upscale`


def validator(
    folder: Path, scale: int, packs: Path, upscale: Upscale, *, quiet: bool = False
) -> Callable[[nn.Module], float]:
    """Pack a folder of pairs; what comes back gives a network's mean PSNR on it, in dB.

    On luma, border = scale, one picture at a time. Raises DataError as `packed_pairs` does.
    """
    found = packed_pairs(folder, scale, packs, quiet=quiet)

    def validate(model: nn.Module) -> float:
        return fmean(
            psnr(upscale(model, each.lr[:, :]), each.hr[:, :], border=scale) for each in found
        )

    return validate
