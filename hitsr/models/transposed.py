"""Attention between the channels of a window: as many scores, however large the window.

Restormer's multi-Dconv head transposed attention (CVPR 2022, section 3.1) without its depthwise
convolutions, in windows as all mixers here, and with biases in its linear layers like theirs.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hitsr.models.ngram import NgramContext
from hitsr.models.strips import Strip
from hitsr.models.windows import merge, roll, split
from hitsr.specs.network import Formulation


class TransposedAttention(nn.Module):
    """Multi-head channel attention in (shifted) windows: (b, h, w, c) -> (b, h, w, c).

    Sides must be multiples of `window`. `shift` is in pixels, 0 for none. It is cyclic without a
    mask, since the scores are sums over a window's tokens: opposite edges of the picture meet.
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
        self.in_strips, self.reach = False, 0  # as other mixers say of themselves
        self.context = context
        self.qkv = nn.Linear(width, 3 * width)
        self.temperature = nn.Parameter(torch.ones(heads))
        self.proj = nn.Linear(width, width)

    def forward(self, x_bhwc: Tensor, strip: Strip | None = None) -> Tensor:
        """Mix channels within windows, after adding what neighbouring windows say."""
        assert strip is None  # see in_strips
        _, h, w, _ = x_bhwc.shape
        if self.context is not None:
            x_bhwc = self.context(x_bhwc)
        windows = split(roll(self.qkv(x_bhwc), -self.shift), self.window)
        mixed = self._paper(windows) if self.formulation == "paper" else self._fused(windows)
        return roll(merge(mixed, self.window, h, w), self.shift)

    def _paper(self, qkv_ntc: Tensor) -> Tensor:
        """Normalise over tokens, correlate, softmax over channels: (n, t, 3c) -> (n, t, c)."""
        q, k, v = qkv_ntc.unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 4, 1)  # (n, m, d, t)
        scores = F.normalize(q, dim=-1) @ F.normalize(k, dim=-1).transpose(-2, -1)
        mixed = (scores * self.temperature[:, None, None]).softmax(-1) @ v
        out: Tensor = self.proj(mixed.permute(0, 3, 1, 2).flatten(2))
        return out

    def _fused(self, qkv_ntc: Tensor) -> Tensor:
        """Norms divide the scores, not the tokens, and the projection meets the scores first."""
        q, k, v = qkv_ntc.chunk(3, -1)
        # One product for all pairs of channels: narrow heads run at a fraction of its rate.
        gram = (
            (q.transpose(-2, -1) @ k).unflatten(1, (self.heads, -1)).unflatten(3, (self.heads, -1))
        )
        scores = gram.diagonal(dim1=1, dim2=3).permute(0, 3, 1, 2)  # (n, m, d, d)
        scores = scores / (self._norms(q)[..., :, None] * self._norms(k)[..., None, :])
        weights = (scores * self.temperature[:, None, None]).softmax(-1)
        projection = self.proj.weight.t().unflatten(0, (self.heads, -1))  # (m, d, c)
        return torch.baddbmm(
            self.proj.bias, v, (weights.transpose(-2, -1) @ projection).flatten(1, 2)
        )

    def _norms(self, x_ntc: Tensor) -> Tensor:
        """Of each channel over the tokens, as `F.normalize` bounds it: (n, m, d)."""
        norms = torch.linalg.vector_norm(x_ntc, dim=1).clamp_min(1e-12)
        parted: Tensor = norms.unflatten(-1, (self.heads, -1))
        return parted
