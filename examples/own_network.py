"""A network of one's own, complete: what hitsr asks for is one function.

`build(scale)` returns a `torch.nn.Module` that upscales (b, 3, h, w) in [0, 1] to
(b, 3, h * scale, w * scale), its weights loaded. In a config: `own: {mine: {source:
examples/own_network.py:build}}`; on the command line, wherever a network is named:
`hitsr complexity examples/own_network.py:build --scale 4`.
"""

from torch import Tensor, nn
from torch.nn import functional as F


class Residual(nn.Module):
    """Bilinear upscaling, and what two convolutions add to it."""

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
    """Without training its convolutions add nothing: replace this by loading your weights."""
    model = Residual(scale)
    last = model.layers[2]
    assert isinstance(last, nn.Conv2d)
    for parameter in last.parameters():
        nn.init.zeros_(parameter)
    return model
