"""Follow a training by the PSNR of whole pictures; nothing is selected by it."""

from collections.abc import Callable
from pathlib import Path
from statistics import fmean

from torch import nn

from hitsr.data.sources import pairs, read_pair
from hitsr.inference import upscale
from hitsr.metrics import psnr


def validator(folder: Path, scale: int) -> Callable[[nn.Module], float]:
    """Read a folder of pairs once; what comes back gives a network's mean PSNR on it, in dB.

    On luma, border = scale. Raises DataError for a missing, misnamed or misshaped picture.
    """
    pictures = [read_pair(pair, scale) for pair in pairs(folder, scale)]

    def validate(model: nn.Module) -> float:
        return fmean(psnr(upscale(model, lr), hr, border=scale) for lr, hr in pictures)

    return validate
