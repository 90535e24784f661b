"""A complete example of your own network: hitsr needs only one function.

`build(scale)` returns a `torch.nn.Module` that upscales (b, 3, h, w) in [0, 1] to
(b, 3, h * scale, w * scale), with its weights loaded. In a config: `own: {mine: {source:
examples/own_network.py:build}}`; on the command line in place of a network's name:
`hitsr complexity examples/own_network.py:build --scale 4`.
"""

from torch import Tensor, nn
from torch.nn import functional as F


class Residual(nn.Module):
    """Bilinear upscaling plus a residual from two convolutions."""

    def __init__(self, scale: int, width: int = 16) -> None:
        super().__init__()
        self.scale = scale
        self.layers = nn.Sequential(
            nn.Conv2d(3, width, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(width, 3 * scale**2, 3, padding=1),
            nn.PixelShuffle(scale),
        )

    def forward(self, lr: Tensor) -> Tensor:
        """(b, 3, h, w) -> (b, 3, h * scale, w * scale)."""
        bilinear = F.interpolate(lr, scale_factor=self.scale, mode="bilinear", align_corners=False)
        detail: Tensor = self.layers(lr)
        return bilinear + detail


def build(scale: int) -> nn.Module:
    """An untrained network, equal to bilinear upscaling; load your weights here instead."""
    model = Residual(scale)
    last = model.layers[2]
    assert isinstance(last, nn.Conv2d)
    for parameter in last.parameters():
        nn.init.zeros_(parameter)
    return model
