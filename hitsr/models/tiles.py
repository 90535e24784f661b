"""Attention a few windows at a time, so that their scores stay in cache: for gradients on a CPU.

There PyTorch's kernel has none for a bias, and falls back to writing every score to memory; where
the bias needs none, its own gradients are slow for narrow heads.
"""

import torch
from torch import Tensor

_SCORES = 2**18  # of one tile: 1 MB in float32, what a core's cache holds


def attend_in_tiles(q: Tensor, k: Tensor, v: Tensor, added: Tensor | None) -> Tensor:
    """Softmax attention of q (n, m, t, d) to k, v (n, m, s, d): as q.

    `added` to the scores of every window: (m, t, s).
    """
    _, heads, tokens, width = q.shape
    step = max(1, _SCORES // (heads * tokens * k.shape[2]))
    added = None if added is None else added.transpose(1, 2).contiguous()
    mixed = []
    for queries, keys, values in zip(q.split(step), k.split(step), v.split(step), strict=True):
        # Queries last: a softmax over whole rows is faster than one within each.
        scores = (keys * width**-0.5) @ queries.transpose(2, 3)  # (n, m, s, t)
        if added is not None:
            scores.add_(added)
        mixed.append((values.transpose(2, 3) @ scores.softmax(2)).permute(0, 3, 1, 2))
    return torch.cat(mixed).transpose(1, 2)  # from (n, t, m, d)
