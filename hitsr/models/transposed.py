"""Attention between the channels of a window: as many scores however large the window.

Restormer's multi-Dconv head transposed attention (CVPR 2022, section 3.1) without its depthwise
convolutions, within windows like every mixer here, and with biases in the linear layers.

Shapes: b batch, h height, w width, c channels, n windows, t tokens of a window, m heads, d channels
of a head.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hitsr.models.fused import transposed as fused
from hitsr.models.ngram import NgramContext
from hitsr.models.precision import linear, widened, without_float16_autocast
from hitsr.models.windows import merge, roll, split
from hitsr.specs.network import Formulation


class TransposedAttention(nn.Module):
    """Channel attention in (shifted) windows: (b, h, w, c) -> (b, h, w, c).

    h and w are multiples of `window`. `shift`, in pixels, is cyclic without a mask, which would
    have no meaning: scores are sums over a window's tokens. Windows at the picture's edges mix
    tokens from opposite edges.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        window: int,
        shift: int,
        context: NgramContext | None,
        formulation: Formulation,
    ) -> None:
        super().__init__()
        self.heads, self.window, self.shift = heads, window, shift
        self.formulation = formulation
        self.context = context
        self.qkv = nn.Linear(width, 3 * width)
        self.temperature = nn.Parameter(torch.ones(heads))
        self.proj = nn.Linear(width, width)

    def forward(self, x_bhwc: Tensor) -> Tensor:
        """Mix channels within windows, after adding the context of neighbouring windows."""
        _, h, w, _ = x_bhwc.shape
        if self.context is not None:
            x_bhwc = self.context(x_bhwc)
        qkv = widened(split(roll(self.qkv(x_bhwc), -self.shift), self.window))
        with without_float16_autocast(x_bhwc.device):
            mixed = fused.attention(self, qkv) if self.formulation == "fused" else self._paper(qkv)
        return roll(merge(mixed, self.window, h, w), self.shift)

    def _paper(self, qkv_ntc: Tensor) -> Tensor:
        """Normalise over tokens, correlate, softmax over channels: (n, t, 3c) -> (n, t, c)."""
        q, k, v = qkv_ntc.unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 4, 1)  # (n, m, d, t)
        scores = F.normalize(q, dim=-1) @ F.normalize(k, dim=-1).transpose(-2, -1)
        mixed = (scores * self.temperature[:, None, None]).softmax(-1) @ v
        return linear(self.proj, mixed.permute(0, 3, 1, 2).flatten(2))
