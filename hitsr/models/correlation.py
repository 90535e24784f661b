"""Spatial-channel correlation (SCC): the mixer of hierarchical windows (HiT-SR, section 3.3).

Spatial self-correlation (S-SC) relates every token of a large window to the cells of a base
window; channel self-correlation (C-SC) relates channels. Neither has a softmax, so products may be
re-associated, and that is all that the fused formulation does. With a softmax, which S-SC may have
in an ablation, it leaves S-SC to `scaled_dot_product_attention`.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hitsr import spec
from hitsr.models.cache import EvalCache
from hitsr.models.ngram import NgramContext
from hitsr.models.position import DynamicPosition, TablePosition, averaged_bias, pooled_bias
from hitsr.models.windows import merge, roll, split


class DualFeatures(nn.Module):
    """Dual feature extraction: a narrow convolution branch gated by a linear one (b, c, h, w).

    For an ablation "linear" or "conv" is the one branch alone, without the other's layers.
    """

    def __init__(self, width: int, kind: spec.Features = "dual") -> None:
        super().__init__()
        self.kind = kind
        narrow = width // 5
        if kind != "linear":
            self.squeeze = nn.Conv2d(width, narrow, 1)
            self.spatial = nn.Conv2d(narrow, narrow, 3, padding=1)
            self.expand = nn.Conv2d(narrow, width, 1)
        if kind != "conv":
            self.gate = nn.Conv2d(width, width, 1)

    def forward(self, x_bchw: Tensor) -> Tensor:
        """Features of the same shape."""
        features: Tensor
        if self.kind == "linear":
            features = self.gate(x_bchw)
            return features
        x = F.leaky_relu(self.squeeze(x_bchw), 0.2)
        x = F.leaky_relu(self.spatial(x), 0.2)
        features = self.expand(x)
        return features if self.kind == "conv" else features * self.gate(x_bchw)


class Correlation(nn.Module):
    """SCC in windows of one size: (b, h, w, c) -> (b, h, w, c); sides are multiples of it.

    With one branch of the two, its c / 2 channels are projected to c: the projection loses the
    columns of the other branch, and S-SC's absence takes the position bias and base cells along.
    A `shift` in pixels is cyclic and has no mask, which only a softmax could heed and C-SC not at
    all: in the windows at the edges, tokens from opposite sides of the picture meet.
    """

    def __init__(
        self,
        width: int,
        mixer: spec.Correlation,
        window: int,
        base: int,
        shift: int,
        context: NgramContext | None,
        formulation: spec.Formulation,
    ) -> None:
        super().__init__()
        self.heads, self.window, self.shift = mixer.heads, window, shift
        self.softmax = mixer.softmax
        self.channel = "channel" in mixer.branches
        self.ratio = window // min(window, base)  # a window below the base is its own base
        self.formulation = formulation
        self.features = DualFeatures(width, mixer.features)
        self.context = context
        self.position = _position(mixer, window)
        self.to_base = nn.Linear(self.ratio**2, 1) if "spatial" in mixer.branches else None
        self.proj = nn.Linear(width // 2 * len(mixer.branches), width)
        self._cache = EvalCache()

    def forward(self, x_bhwc: Tensor) -> Tensor:
        """Mix tokens and channels within windows."""
        _, h, w, _ = x_bhwc.shape
        qv = self.features(x_bhwc.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        if self.context is not None:
            qv = qv + self.context(qv)
        windows = split(roll(qv, -self.shift), self.window)
        mixed = self._paper(windows) if self.formulation == "paper" else self._fused(windows)
        return roll(merge(mixed, self.window, h, w), self.shift)

    def _paper(self, qv_ntc: Tensor) -> Tensor:
        """Equations 3 to 6, step by step: (n, t, c) -> (n, t, c)."""
        q, v = qv_ntc.chunk(2, -1)
        branches = []
        if self.to_base is not None:
            branches.append(self._spatial(q, v))
        if self.channel:
            # C-SC: one head, and the values of all tokens.
            correlation = q.transpose(-2, -1) @ v / q.shape[1]
            branches.append((correlation @ v.transpose(-2, -1)).transpose(-2, -1))
        mixed: Tensor = self.proj(torch.cat(branches, -1))
        return mixed

    def _spatial(self, q_ntc: Tensor, v_ntc: Tensor) -> Tensor:
        """S-SC. Divides by d, not sqrt(d): the released weights were trained that way."""
        q = q_ntc.unflatten(-1, (self.heads, -1)).transpose(1, 2)
        v = self._base_cells(v_ntc).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        correlation = q @ v.transpose(-2, -1) / q.shape[-1]
        if self.position is not None:
            correlation = correlation + averaged_bias(self.position(self.window), self.ratio)
        if self.softmax:
            correlation = correlation.softmax(-1)
        mixed: Tensor = correlation @ v
        return mixed.transpose(1, 2).flatten(2)

    def _fused(self, qv_ntc: Tensor) -> Tensor:
        """(q v↓ᵀ/d + bias) v↓ = q (v↓ᵀ v↓)/d + bias v↓, and the projection folded into the rest.

        Per window, q and v then meet one c x c matrix; `bias v↓` is one product for all windows.
        """
        t, half = qv_ntc.shape[1], qv_ntc.shape[2] // 2
        q, v = qv_ntc.chunk(2, -1)
        added: Tensor = self.proj.bias  # to the products of q, v or both with their weights
        factors, weights = [], []
        projections = self.proj.weight.t().split(half)  # rows of each branch
        if self.to_base is not None:
            base = self._base_cells(v)
            if not self.softmax:
                gram = (base.transpose(-2, -1) @ base) * self._same_head(base)
                factors.append(q)
                weights.append(gram @ projections[0])
            placed = self._attended(q, base) if self.softmax else self._placed(base)
            if placed is not None:
                added = F.linear(placed, self.proj.weight[:, :half], self.proj.bias)
        if self.channel:
            factors.append(v)
            weights.append(v.transpose(-2, -1) @ q / t @ projections[-1])
        if not weights:
            return added
        return torch.baddbmm(
            added, qv_ntc if len(factors) == 2 else factors[0], torch.cat(weights, 1)
        )

    def _placed(self, base_nsc: Tensor) -> Tensor | None:
        """Base cells by the position bias alone: (n, s, c) -> (n, t, c)."""
        bias = self._bias()
        if bias is None:
            return None
        (n, _, half), tokens = base_nsc.shape, bias.shape[1]  # len() would fix an exported n
        heads = base_nsc.unflatten(-1, (self.heads, -1)).permute(2, 1, 0, 3)  # (m, s, n, d)
        placed: Tensor = (bias @ heads.flatten(2)).unflatten(-1, (n, half // self.heads))
        return placed.permute(2, 1, 0, 3).reshape(n, tokens, half)  # from (m, t, n, d)

    def _attended(self, q_ntc: Tensor, base_nsc: Tensor) -> Tensor:
        """S-SC with a softmax: (n, t, c), whose keys and values are the same base cells."""
        q, v = (x.unflatten(-1, (self.heads, -1)).transpose(1, 2) for x in (q_ntc, base_nsc))
        bias, scale = self._bias(), 1 / q.shape[-1]
        mixed = F.scaled_dot_product_attention(
            q, v, v, None if bias is None else bias[None], scale=scale
        )
        return mixed.transpose(1, 2).flatten(2)

    def _bias(self) -> Tensor | None:
        """Position bias of each token towards each base cell: (m, t, s)."""
        position = self.position
        if position is None:
            return None
        return self._cache.get(self, "bias", lambda: pooled_bias(position(self.window), self.ratio))

    def _base_cells(self, v_ntc: Tensor) -> Tensor:
        """Project values to the base window: (n, t, c) -> (n, s, c), a weighted sum per cell."""
        assert self.to_base is not None
        n, _, c = v_ntc.shape
        side = self.window // self.ratio
        blocks = v_ntc.reshape(n, side, self.ratio, side, self.ratio, c)
        blocks = blocks.permute(0, 1, 3, 5, 2, 4).reshape(n, side * side, c, self.ratio**2)
        projected: Tensor = self.to_base(blocks)
        return projected.squeeze(-1)

    def _same_head(self, like: Tensor) -> Tensor:
        """1/d where two channels share a head, else 0: (c / 2, c / 2)."""
        width = like.shape[-1] // self.heads
        head = torch.arange(self.heads, device=like.device).repeat_interleave(width)
        return (head[:, None] == head[None, :]).to(like.dtype) / width


def _position(mixer: spec.Correlation, window: int) -> DynamicPosition | TablePosition | None:
    match mixer.position:
        case "dynamic":
            return DynamicPosition(mixer.position_width, mixer.heads)
        case "table":
            return TablePosition(window, mixer.heads)
        case "none":
            return None
