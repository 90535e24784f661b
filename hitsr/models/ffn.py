"""The feed-forward network, with or without a depthwise convolution (SRFormer's ConvFFN).

Shapes: b batch, h height, w width, c channels.
"""

from torch import Tensor, nn
from torch.nn import functional as F

from hitsr.models import released
from hitsr.models.fused import ffn as fused
from hitsr.specs.network import Formulation


class FeedForward(nn.Module):
    """Expand, GELU, reduce: (b, h, w, c) -> (b, h, w, c).

    With a `kernel`, the expanded features gain the GELU of their depthwise convolution before they
    are reduced.
    """

    def __init__(
        self, width: int, ratio: int, kernel: int | None, formulation: Formulation = "fused"
    ) -> None:
        super().__init__()
        hidden = width * ratio
        self.formulation = formulation
        self.expand = nn.Linear(width, hidden)
        self.reduce = nn.Linear(hidden, width)
        self.depthwise = (
            nn.Conv2d(hidden, hidden, kernel, padding=kernel // 2, groups=hidden)
            if kernel
            else None
        )

    def forward(self, x_bhwc: Tensor) -> Tensor:
        """Mix channels, and with a depthwise convolution neighbouring pixels too."""
        match self.formulation:
            case "released":
                return released.feed_forward(self, x_bhwc)
            case "paper":
                return self.paper(x_bhwc)
            case "fused":
                return fused.forward(self, x_bhwc)

    def paper(self, x_bhwc: Tensor) -> Tensor:
        """Step by step."""
        x = F.gelu(self.expand(x_bhwc))
        if self.depthwise is not None:
            convolved = self.depthwise(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
            x = x + F.gelu(convolved)
        out: Tensor = self.reduce(x)
        return out
