"""Spatial-channel correlation, fused: products re-associated, since they have no softmax between.

S-SC is `(q v↓ᵀ/d + bias) v↓ = q (v↓ᵀ v↓)/d + bias v↓`, where v↓ are values of the base cells: no
scores of tokens by base cells are needed. With a softmax (an ablation), S-SC is
scaled_dot_product_attention. Products have tokens last, because that is their longest dimension.

Shapes: b batch, h height, w width, c channels of q or of v, n windows, t tokens of a window, s base
cells of a window, m heads, d channels of a head.
"""

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from hitsr.models.fused.backend import backend_of
from hitsr.models.fused.cpu.strips import Strip, by_strips
from hitsr.models.fused.cuda import correlation as cuda
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

    def plain(qv: Tensor) -> Tensor:
        return merge(_correlate(mixer, split(qv, mixer.window)), mixer.window, h, w)

    base = mixer.to_base
    whole = base is not None and mixer.channel and not mixer.softmax
    if base is None or not whole or backend_of(qv_bhwc) != "cuda":
        return plain(qv_bhwc)
    return cuda.correlated(
        qv_bhwc,
        (base.weight, base.bias),
        _bias(mixer, qv_bhwc.dtype),
        (mixer.proj.weight, mixer.proj.bias),
        plain,
        heads=mixer.heads,
        window=mixer.window,
        parameters=[each for part in (base, mixer.proj) for each in part.parameters()],
    )


def _correlate(mixer: "Correlation", qv_ntc: Tensor) -> Tensor:
    """Both branches and the projection: (n, t, 2c) -> (n, t, 2c)."""
    base = mixer.to_base
    return correlate(
        qv_ntc,
        None if base is None else (base.weight, base.bias),
        None if base is None else _bias(mixer, qv_ntc.dtype),
        (mixer.proj.weight, mixer.proj.bias),
        mixer.same_head,
        heads=mixer.heads,
        channel=mixer.channel,
        softmax=mixer.softmax,
    )


def correlate(
    qv_ntc: Tensor,
    to_base: tuple[Tensor, Tensor] | None,
    bias_mts: Tensor | None,
    proj: tuple[Tensor, Tensor],
    same_head: Tensor,
    *,
    heads: int,
    channel: bool = True,
    softmax: bool = False,
) -> Tensor:
    """Correlation of windows' queries and values, projected: (n, t, 2c) -> (n, t, o).

    `to_base`: weight (1, ratio²) and bias (1) of the projection to base cells; None for no S-SC.
    `proj`: weight and bias of the last layer. `same_head`: as the function of that name gives it.
    `channel`: with C-SC. `softmax`: of S-SC.
    """
    q, v = (x.transpose(1, 2) for x in qv_ntc.chunk(2, -1))  # (n, c, t)
    n, _, t = q.shape
    branches = []
    if to_base is not None:
        base = _base_cells(to_base, v.transpose(1, 2))
        if softmax:
            branches.append(_spatial_with_softmax(q, base, bias_mts, heads))
        else:
            branches.append(_spatial(q, base, bias_mts, heads, same_head))
    if channel:
        branches.append((q @ v.transpose(1, 2) / t) @ v)
    mixed = torch.cat(branches, 1).transpose(1, 2)
    weight, bias = (each.to(mixed.dtype) for each in proj)
    return torch.baddbmm(bias, mixed, weight.t().expand(n, -1, -1))


def _spatial(
    q_nct: Tensor, base_nsc: Tensor, bias: Tensor | None, heads: int, same_head: Tensor
) -> Tensor:
    """S-SC: (n, c, t). Queries meet one c x c matrix; `bias v↓` is one product for all windows."""
    n, c, t = q_nct.shape
    width = c // heads
    gram = (base_nsc.transpose(1, 2) @ base_nsc) * same_head / width
    if bias is None:
        return gram @ q_nct
    by_head = base_nsc.unflatten(-1, (heads, -1)).permute(2, 0, 3, 1)  # (m, n, d, s)
    biased = by_head.flatten(1, 2) @ bias.transpose(1, 2)  # (m, n d, t)
    biased = biased.unflatten(1, (n, width)).transpose(0, 1)
    return torch.baddbmm(biased.reshape(n, c, t), gram, q_nct)


def _spatial_with_softmax(
    q_nct: Tensor, base_nsc: Tensor, bias: Tensor | None, heads: int
) -> Tensor:
    """S-SC with a softmax: (n, c, t). Base cells are both keys and values."""
    q = q_nct.unflatten(1, (heads, -1)).transpose(2, 3)
    v = base_nsc.unflatten(-1, (heads, -1)).transpose(1, 2)
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


def _base_cells(to_base: tuple[Tensor, Tensor], v_ntc: Tensor) -> Tensor:
    """`Correlation.base_cells` as a weighted sum of each cell's tokens: (n, t, c) -> (n, s, c).

    The channels of a token stay together in memory.
    """
    weight, bias = (each.to(v_ntc.dtype) for each in to_base)
    ratio, window = math.isqrt(weight.numel()), math.isqrt(v_ntc.shape[1])
    if ratio == 1:
        return torch.addcmul(bias, v_ntc, weight.view(()))
    side, c = window // ratio, v_ntc.shape[-1]
    blocks = v_ntc.unflatten(1, (side, ratio, side, ratio)).transpose(2, 3)
    summed: Tensor = weight @ blocks.reshape(-1, ratio**2, c) + bias
    return summed.view(-1, side**2, c)


def same_head(width: int, heads: int) -> Tensor:
    """1 where two channels belong to the same head, else 0: (width, width)."""
    head = torch.arange(heads).repeat_interleave(width // heads)
    return (head[:, None] == head[None, :]).float()
