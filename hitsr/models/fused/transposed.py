"""Transposed attention, fused: d x d scores are normalised and projected instead of the tokens.

Shapes: n windows, t tokens of a window, c channels, m heads, d channels of a head.
"""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from hitsr.models.transposed import TransposedAttention


def attention(mixer: "TransposedAttention", qkv_ntc: Tensor) -> Tensor:
    """`TransposedAttention._paper`: (n, t, 3c) -> (n, t, c)."""
    q, k, v = qkv_ntc.chunk(3, -1)
    heads = mixer.heads
    # One product for all pairs of channels: separate products of narrow heads are far slower.
    gram = (q.transpose(-2, -1) @ k).unflatten(1, (heads, -1)).unflatten(3, (heads, -1))
    scores = gram.diagonal(dim1=1, dim2=3).permute(0, 3, 1, 2)  # (n, m, d, d)
    scores = scores / (_norms(q, heads)[..., :, None] * _norms(k, heads)[..., None, :])
    weights = (scores * mixer.temperature[:, None, None]).softmax(-1)
    projection = mixer.proj.weight.to(v.dtype).t().unflatten(0, (heads, -1))  # (m, d, c)
    projected = (weights.transpose(-2, -1) @ projection).flatten(1, 2)
    return torch.baddbmm(mixer.proj.bias.to(v.dtype), v, projected)


def _norms(x_ntc: Tensor, heads: int) -> Tensor:
    """Norm of each channel over the tokens, bounded from zero as by `F.normalize`: (n, m, d)."""
    norms = torch.linalg.vector_norm(x_ntc, dim=1).clamp_min(1e-12)
    by_head: Tensor = norms.unflatten(-1, (heads, -1))
    return by_head
