"""Spatial-channel correlation, fused: products re-associated, since they have no softmax between.

S-SC is `(q v↓ᵀ/d + bias) v↓ = q (v↓ᵀ v↓)/d + bias v↓`, where v↓ are values of the base cells: no
scores of tokens by base cells are needed. With a softmax (an ablation), S-SC is
scaled_dot_product_attention. Products have tokens last, because that is their longest dimension.

Shapes: b batch, h height, w width, c channels of q or of v, n windows, t tokens of a window, s base
cells of a window, m heads, d channels of a head.
"""

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from hitsr.models.fused.cpu.strips import Strip, by_strips
from hitsr.models.fused.position import pooled_bias
from hitsr.models.precision import without_float16_autocast
from hitsr.models.windows import merge, roll, split

if TYPE_CHECKING:
    from hitsr.models.correlation import Correlation

HALO = 1  # rows beyond its window that a token's result depends on: the features' 3x3 convolution


def correlation(mixer: "Correlation", x_bhwc: Tensor, strip: Strip | None) -> Tensor:
    """`Correlation._paper`: (b, h, w, 2c) -> (b, h, w, 2c).

    With `strip`, x holds these rows of a picture alone, and there is no shift and no context.
    """

    def features(x_bhwc: Tensor, strip: Strip) -> Tensor:
        return strip.without_halo(mixer.features(x_bhwc))

    qv = by_strips(features, x_bhwc, halo=HALO) if strip is None else features(x_bhwc, strip)
    with without_float16_autocast(x_bhwc.device):
        if strip is not None:
            return _in_windows(mixer, qv)
        qv = roll(qv if mixer.context is None else mixer.context(qv), -mixer.shift)
        mixed = by_strips(lambda x, _: _in_windows(mixer, x), qv, multiple=mixer.window)
        return roll(mixed, mixer.shift)


def _in_windows(mixer: "Correlation", qv_bhwc: Tensor) -> Tensor:
    _, h, w, _ = qv_bhwc.shape
    return merge(_correlate(mixer, split(qv_bhwc, mixer.window)), mixer.window, h, w)


def _correlate(mixer: "Correlation", qv_ntc: Tensor) -> Tensor:
    """Both branches and the projection: (n, t, 2c) -> (n, t, 2c)."""
    q, v = (x.transpose(1, 2) for x in qv_ntc.chunk(2, -1))  # (n, c, t)
    n, _, t = q.shape
    branches = []
    if mixer.to_base is not None:
        base = _base_cells(mixer, v.transpose(1, 2))
        spatial = _spatial_with_softmax if mixer.softmax else _spatial
        branches.append(spatial(mixer, q, base))
    if mixer.channel:
        branches.append((q @ v.transpose(1, 2) / t) @ v)
    mixed = torch.cat(branches, 1).transpose(1, 2)
    projection = mixer.proj.weight.to(mixed.dtype).t().expand(n, -1, -1)
    return torch.baddbmm(mixer.proj.bias.to(mixed.dtype), mixed, projection)


def _spatial(mixer: "Correlation", q_nct: Tensor, base_nsc: Tensor) -> Tensor:
    """S-SC: (n, c, t). Queries meet one c x c matrix; `bias v↓` is one product for all windows."""
    n, c, t = q_nct.shape
    width = c // mixer.heads
    gram = (base_nsc.transpose(1, 2) @ base_nsc) * mixer.same_head / width
    bias = _bias(mixer, q_nct.dtype)
    if bias is None:
        return gram @ q_nct
    by_head = base_nsc.unflatten(-1, (mixer.heads, -1)).permute(2, 0, 3, 1)  # (m, n, d, s)
    biased = by_head.flatten(1, 2) @ bias.transpose(1, 2)  # (m, n d, t)
    biased = biased.unflatten(1, (n, width)).transpose(0, 1)
    return torch.baddbmm(biased.reshape(n, c, t), gram, q_nct)


def _spatial_with_softmax(mixer: "Correlation", q_nct: Tensor, base_nsc: Tensor) -> Tensor:
    """S-SC with a softmax: (n, c, t). Base cells are both keys and values."""
    q = q_nct.unflatten(1, (mixer.heads, -1)).transpose(2, 3)
    v = base_nsc.unflatten(-1, (mixer.heads, -1)).transpose(1, 2)
    bias = _bias(mixer, q_nct.dtype)
    added = None if bias is None else bias[None]
    mixed = F.scaled_dot_product_attention(q, v, v, added, scale=1 / q.shape[-1])
    return mixed.transpose(2, 3).flatten(1, 2)


def _bias(mixer: "Correlation", dtype: torch.dtype) -> Tensor | None:
    """Position bias of each token towards each base cell: (m, t, s) in `dtype`."""
    position = mixer.position
    if position is None:
        return None

    def compute() -> Tensor:
        return pooled_bias(position(mixer.window), mixer.ratio).to(dtype)

    return mixer.cache.get(position, "bias", compute)


def _base_cells(mixer: "Correlation", v_ntc: Tensor) -> Tensor:
    """`Correlation.base_cells` as a weighted sum of each cell's tokens: (n, t, c) -> (n, s, c).

    The channels of a token stay together in memory.
    """
    assert mixer.to_base is not None
    weight, bias = (each.to(v_ntc.dtype) for each in (mixer.to_base.weight, mixer.to_base.bias))
    ratio = mixer.ratio
    if ratio == 1:
        return torch.addcmul(bias, v_ntc, weight.view(()))
    side, c = mixer.window // ratio, v_ntc.shape[-1]
    blocks = v_ntc.unflatten(1, (side, ratio, side, ratio)).transpose(2, 3)
    summed: Tensor = weight @ blocks.reshape(-1, ratio**2, c) + bias
    return summed.view(-1, side**2, c)


def same_head(width: int, heads: int) -> Tensor:
    """1 where two channels belong to the same head, else 0: (width, width)."""
    head = torch.arange(heads).repeat_interleave(width // heads)
    return (head[:, None] == head[None, :]).float()
