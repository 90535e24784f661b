"""Upsamplers from features to a picture: one pixel shuffle, or SwinIR's classical one.

Layers of the classical one are named so that, in published weights, only its first and last
convolution need renaming (`checkpoints`).
"""

from torch import nn

from hitsr.specs.network import Scale, Upsampler

_CHANNELS = 64  # in the two-stage upsampler, for every width of the network


def upsampler(kind: Upsampler, width: int, scale: Scale) -> nn.Sequential:
    """(b, width, h, w) -> (b, 3, h * scale, w * scale)."""
    return _one_step(width, scale) if kind == "one_step" else _two_stage(width, scale)


def _one_step(width: int, scale: Scale) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(width, 3 * scale**2, 3, padding=1), nn.PixelShuffle(scale))


def _two_stage(width: int, scale: Scale) -> nn.Sequential:
    """Reduce channels, enlarge by 2 (twice for x4) or by 3, map to RGB (SwinIR, classical)."""
    factors = (3,) if scale == 3 else (2,) * (scale // 2)
    shuffles: list[nn.Module] = []
    for factor in factors:
        shuffles.append(nn.Conv2d(_CHANNELS, _CHANNELS * factor**2, 3, padding=1))
        shuffles.append(nn.PixelShuffle(factor))
    layers = nn.Sequential()
    layers.add_module("narrow", nn.Conv2d(width, _CHANNELS, 3, padding=1))
    layers.add_module("activation", nn.LeakyReLU(0.01))
    for index, layer in enumerate(shuffles):
        layers.add_module(str(index), layer)
    layers.add_module("colours", nn.Conv2d(_CHANNELS, 3, 3, padding=1))
    return layers
