"""Spatial-channel correlation (SCC): the mixer of hierarchical windows (HiT-SR, section 3.3).

Spatial self-correlation (S-SC) relates every token of a large window to the cells of a base
window; channel self-correlation (C-SC) relates channels. Neither has a softmax, so products may be
re-associated, and that is all that the fused formulation does.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hitsr.models.cache import EvalCache
from hitsr.models.ngram import NgramContext
from hitsr.models.position import DynamicPosition, averaged_bias, pooled_bias
from hitsr.models.windows import merge, split
from hitsr.spec import Formulation


class DualFeatures(nn.Module):
    """Dual feature extraction: a narrow convolution branch gated by a linear one (b, c, h, w)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        narrow = width // 5
        self.squeeze = nn.Conv2d(width, narrow, 1)
        self.spatial = nn.Conv2d(narrow, narrow, 3, padding=1)
        self.expand = nn.Conv2d(narrow, width, 1)
        self.gate = nn.Conv2d(width, width, 1)

    def forward(self, x_bchw: Tensor) -> Tensor:
        """Features of the same shape."""
        x = F.leaky_relu(self.squeeze(x_bchw), 0.2)
        x = F.leaky_relu(self.spatial(x), 0.2)
        features: Tensor = self.expand(x) * self.gate(x_bchw)
        return features


class Correlation(nn.Module):
    """SCC in windows of one size: (b, h, w, c) -> (b, h, w, c); sides are multiples of it."""

    def __init__(
        self,
        width: int,
        heads: int,
        window: int,
        base: int,
        position_width: int,
        context: NgramContext | None,
        formulation: Formulation,
    ) -> None:
        super().__init__()
        self.heads, self.window = heads, window
        self.ratio = window // min(window, base)  # a window below the base is its own base
        self.formulation = formulation
        self.features = DualFeatures(width)
        self.context = context
        self.position = DynamicPosition(position_width, heads)
        self.to_base = nn.Linear(self.ratio**2, 1)
        self.proj = nn.Linear(width, width)
        self._cache = EvalCache()

    def forward(self, x_bhwc: Tensor) -> Tensor:
        """Mix tokens and channels within windows."""
        _, h, w, _ = x_bhwc.shape
        qv = self.features(x_bhwc.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        if self.context is not None:
            qv = qv + self.context(qv)
        windows = split(qv, self.window)
        mixed = self._paper(windows) if self.formulation == "paper" else self._fused(windows)
        return merge(mixed, self.window, h, w)

    def _paper(self, qv_ntc: Tensor) -> Tensor:
        """Equations 3 to 6, step by step: (n, t, c) -> (n, t, c)."""
        n, t, c = qv_ntc.shape
        q, v = qv_ntc.chunk(2, -1)

        # S-SC. Divides by d, not sqrt(d): the released weights were trained that way.
        heads_q = q.unflatten(-1, (self.heads, -1)).transpose(1, 2)
        heads_v = self._base_cells(v).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        correlation = heads_q @ heads_v.transpose(-2, -1) / heads_q.shape[-1]
        correlation = correlation + averaged_bias(self.position(self.window), self.ratio)
        spatial = (correlation @ heads_v).transpose(1, 2).reshape(n, t, c // 2)

        # C-SC: one head, and the values of all tokens.
        correlation = q.transpose(-2, -1) @ v / t
        channel = (correlation @ v.transpose(-2, -1)).transpose(-2, -1)

        mixed: Tensor = self.proj(torch.cat([spatial, channel], -1))
        return mixed

    def _fused(self, qv_ntc: Tensor) -> Tensor:
        """(q v↓ᵀ/d + bias) v↓ = q (v↓ᵀ v↓)/d + bias v↓, and the projection folded into the rest.

        Per window, q and v then meet one c x c matrix; `bias v↓` is one product for all windows.
        """
        n, t, c = qv_ntc.shape
        half, width = c // 2, c // 2 // self.heads
        q, v = qv_ntc.chunk(2, -1)
        spatial_proj, channel_proj = self.proj.weight.t().split(half)  # rows of each half
        base = self._base_cells(v)

        gram = (base.transpose(-2, -1) @ base) * self._same_head(width, base)
        channels = v.transpose(-2, -1) @ q / t
        weights = torch.cat([gram @ spatial_proj, channels @ channel_proj], 1)

        bias = self._cache.get(
            self, "bias", lambda: pooled_bias(self.position(self.window), self.ratio)
        )
        heads = base.unflatten(-1, (self.heads, width)).permute(2, 1, 0, 3)  # (m, s, n, d)
        placed = (bias @ heads.flatten(2)).unflatten(-1, (n, width))  # (m, t, n, d)
        placed = placed.permute(2, 1, 0, 3).reshape(n, t, half)
        return torch.baddbmm(
            F.linear(placed, self.proj.weight[:, :half], self.proj.bias), qv_ntc, weights
        )

    def _base_cells(self, v_ntc: Tensor) -> Tensor:
        """Project values to the base window: (n, t, c) -> (n, s, c), a weighted sum per cell."""
        n, _, c = v_ntc.shape
        side = self.window // self.ratio
        blocks = v_ntc.reshape(n, side, self.ratio, side, self.ratio, c)
        blocks = blocks.permute(0, 1, 3, 5, 2, 4).reshape(n, side * side, c, self.ratio**2)
        projected: Tensor = self.to_base(blocks)
        return projected.squeeze(-1)

    def _same_head(self, width: int, like: Tensor) -> Tensor:
        """1/d where two channels share a head, else 0: (c / 2, c / 2)."""
        head = torch.arange(self.heads, device=like.device).repeat_interleave(width)
        return (head[:, None] == head[None, :]).to(like.dtype) / width
