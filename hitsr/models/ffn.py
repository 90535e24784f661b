"""The feed-forward network, with or without a depthwise convolution (SRFormer's ConvFFN)."""

from torch import Tensor, nn
from torch.nn import functional as F


class FeedForward(nn.Module):
    """Expand, GELU, reduce: (b, h, w, c) -> (b, h, w, c).

    With a kernel, the expanded features gain their own depthwise convolution in between.
    """

    def __init__(self, width: int, ratio: int, kernel: int | None) -> None:
        super().__init__()
        hidden = width * ratio
        self.reach = kernel // 2 if kernel else 0  # how many pixels away it looks
        self.expand = nn.Linear(width, hidden)
        self.reduce = nn.Linear(hidden, width)
        self.depthwise = (
            nn.Conv2d(hidden, hidden, kernel, padding=kernel // 2, groups=hidden)
            if kernel
            else None
        )

    def forward(self, x_bhwc: Tensor) -> Tensor:
        """Mix channels, and with a depthwise convolution neighbours too."""
        x = F.gelu(self.expand(x_bhwc))
        if self.depthwise is not None:
            x = x + F.gelu(self.depthwise(x.permute(0, 3, 1, 2))).permute(0, 2, 3, 1)
        out: Tensor = self.reduce(x)
        return out
