"""Mean PSNR on whole pictures during training; it is logged, and selects no checkpoint."""

from collections.abc import Callable, Sequence
from statistics import fmean

from torch import nn

from hitsr.data.images import Picture
from hitsr.data.packs import PackedPair
from hitsr.measure.metrics import psnr

Upscale = Callable[[nn.Module, Picture], Picture]  # (network, lr) -> sr, such as `hitsr.upscale`


def validator(
    packed: Sequence[PackedPair], scale: int, upscale: Upscale
) -> Callable[[nn.Module], float]:
    """A function that gives a network's mean PSNR in dB on these pairs.

    PSNR is on luma, `scale` pixels cut off each side.
    """

    def validate(model: nn.Module) -> float:
        return fmean(
            psnr(upscale(model, pair.lr[:, :]), pair.hr[:, :], border=scale) for pair in packed
        )

    return validate
