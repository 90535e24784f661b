"""Spatial-channel correlation (SCC): the mixer of hierarchical windows (HiT-SR, section 3.3).

Spatial self-correlation (S-SC) relates every token of a large window to the cells of a base
window; channel self-correlation (C-SC) relates channels. Neither has a softmax, so products may be
re-associated, and that is all that the fused formulation does. With a softmax, which S-SC may have
in an ablation, it leaves S-SC to `scaled_dot_product_attention`.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hitsr.models.cache import EvalCache
from hitsr.models.ngram import NgramContext
from hitsr.models.position import DynamicPosition, TablePosition, averaged_bias, pooled_bias
from hitsr.models.strips import Strip, by_strips
from hitsr.models.windows import merge, roll, split
from hitsr.specs import network as spec


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

    def forward(self, x_bhwc: Tensor) -> Tensor:
        """Features of the same shape."""
        if self.kind == "linear":
            return _pointwise(self.gate, x_bhwc)
        x = F.leaky_relu(_pointwise(self.squeeze, x_bhwc), 0.2)
        x = F.leaky_relu(self.spatial(x.permute(0, 3, 1, 2)), 0.2).permute(0, 2, 3, 1)
        features = _pointwise(self.expand, x)
        return features if self.kind == "conv" else features * _pointwise(self.gate, x_bhwc)


class Correlation(nn.Module):
    """SCC in windows of one size: (b, h, w, c) -> (b, h, w, c); sides are multiples of it.

    With one branch of the two, its c / 2 channels are projected to c: the projection loses the
    columns of the other branch, and S-SC's absence takes the position bias and base cells along.
    A `shift` in pixels is cyclic and has no mask, which only a softmax could heed and C-SC not at
    all: in the windows at the edges, tokens from opposite sides of the picture meet.
    """

    same_head: Tensor

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
        self.reach = 1  # how many pixels beyond its window a token's result depends on
        self.features = DualFeatures(width, mixer.features)
        self.context = context
        self.position = _position(mixer, window)
        self.to_base = nn.Linear(self.ratio**2, 1) if "spatial" in mixer.branches else None
        self.proj = nn.Linear(width // 2 * len(mixer.branches), width)
        self.register_buffer("same_head", _same_head(width // 2, mixer.heads), persistent=False)
        self._cache = EvalCache()

    @property
    def in_strips(self) -> bool:
        """Whether a window's result depends on little more than that window."""
        return self.context is None and not self.shift

    def forward(self, x_bhwc: Tensor, strip: Strip | None = None) -> Tensor:
        """Mix tokens and channels within windows; with `strip`, of some rows alone."""
        if strip is not None:
            return self._windows(strip.inner(self.features(x_bhwc)))
        if self.formulation == "paper":
            qv = self.features(x_bhwc)
        else:
            qv = by_strips(lambda x, strip: strip.inner(self.features(x)), x_bhwc, halo=self.reach)
        qv = roll(qv if self.context is None else self.context(qv), -self.shift)
        if self.formulation == "paper":
            mixed = self._windows(qv)
        else:
            mixed = by_strips(lambda x, _: self._windows(x), qv, multiple=self.window)
        return roll(mixed, self.shift)

    def _windows(self, qv_bhwc: Tensor) -> Tensor:
        """Correlate within windows, which are the same at a picture's edges as inside."""
        _, h, w, _ = qv_bhwc.shape
        windows = split(qv_bhwc, self.window)
        mixed = self._paper(windows) if self.formulation == "paper" else self._fused(windows)
        return merge(mixed, self.window, h, w)

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
        """The same, with no scores of tokens by base cells unless a softmax needs them.

        Products have tokens last, where they are wide: (n, c / 2, t).
        """
        n, t, _ = qv_ntc.shape
        q, v = (x.transpose(1, 2) for x in qv_ntc.chunk(2, -1))
        branches = []
        if self.to_base is not None:
            base = self._summed_cells(v.transpose(1, 2))
            branches.append(self._attended(q, base) if self.softmax else self._related(q, base))
        if self.channel:
            branches.append((q @ v.transpose(1, 2) / t) @ v)
        mixed = torch.cat(branches, 1).transpose(1, 2)
        return torch.baddbmm(self.proj.bias, mixed, self.proj.weight.t().expand(n, -1, -1))

    def _related(self, q_nct: Tensor, base_nsc: Tensor) -> Tensor:
        """S-SC: (q v↓ᵀ/d + bias) v↓ = q (v↓ᵀ v↓)/d + bias v↓, as (n, c, t).

        Per window, queries then meet one c x c matrix; `bias v↓` is one product for all windows.
        """
        n, half, t = q_nct.shape
        gram = (base_nsc.transpose(1, 2) @ base_nsc) * self.same_head / (half // self.heads)
        bias = self._bias()
        if bias is None:
            return gram @ q_nct
        heads = base_nsc.unflatten(-1, (self.heads, -1)).permute(2, 0, 3, 1)  # (m, n, d, s)
        placed = heads.flatten(1, 2) @ bias.transpose(1, 2)  # (m, n d, t)
        placed = placed.unflatten(1, (n, half // self.heads)).transpose(0, 1)
        return torch.baddbmm(placed.reshape(n, half, t), gram, q_nct)

    def _attended(self, q_nct: Tensor, base_nsc: Tensor) -> Tensor:
        """S-SC with a softmax: (n, c, t), whose keys and values are the same base cells."""
        q = q_nct.unflatten(1, (self.heads, -1)).transpose(2, 3)
        v = base_nsc.unflatten(-1, (self.heads, -1)).transpose(1, 2)
        bias, scale = self._bias(), 1 / q.shape[-1]
        mixed = F.scaled_dot_product_attention(
            q, v, v, None if bias is None else bias[None], scale=scale
        )
        return mixed.transpose(2, 3).flatten(1, 2)

    def _bias(self) -> Tensor | None:
        """Position bias of each token towards each base cell: (m, t, s)."""
        position = self.position
        if position is None:
            return None
        return self._cache.get(
            position, "bias", lambda: pooled_bias(position(self.window), self.ratio)
        )

    def _base_cells(self, v_ntc: Tensor) -> Tensor:
        """Project values to the base window by a linear layer: (n, t, c) -> (n, s, c)."""
        assert self.to_base is not None
        n, _, c = v_ntc.shape
        side = self.window // self.ratio
        blocks = v_ntc.reshape(n, side, self.ratio, side, self.ratio, c)
        blocks = blocks.permute(0, 1, 3, 5, 2, 4).reshape(n, side * side, c, self.ratio**2)
        projected: Tensor = self.to_base(blocks)
        return projected.squeeze(-1)

    def _summed_cells(self, v_ntc: Tensor) -> Tensor:
        """The same as a weighted sum of each cell's tokens, whose channels stay together."""
        assert self.to_base is not None
        weight, bias = self.to_base.weight, self.to_base.bias
        if self.ratio == 1:
            return torch.addcmul(bias, v_ntc, weight.view(()))
        side, c = self.window // self.ratio, v_ntc.shape[-1]
        blocks = v_ntc.unflatten(1, (side, self.ratio, side, self.ratio)).transpose(2, 3)
        summed: Tensor = weight @ blocks.reshape(-1, self.ratio**2, c) + bias
        return summed.view(-1, side**2, c)


def _pointwise(conv: nn.Conv2d, x_bhwc: Tensor) -> Tensor:
    """A 1x1 convolution as the matrix product that it is: (b, h, w, c) -> (b, h, w, c')."""
    return F.linear(x_bhwc, conv.weight.flatten(1), conv.bias)


def _same_head(width: int, heads: int) -> Tensor:
    """1 where two channels share a head, else 0: (width, width)."""
    head = torch.arange(heads).repeat_interleave(width // heads)
    return (head[:, None] == head[None, :]).float()


def _position(mixer: spec.Correlation, window: int) -> DynamicPosition | TablePosition | None:
    match mixer.position:
        case "dynamic":
            return DynamicPosition(mixer.position_width, mixer.heads)
        case "table":
            return TablePosition(window, mixer.heads)
        case "none":
            return None
