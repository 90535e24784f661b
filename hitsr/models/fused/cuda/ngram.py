"""N-gram context on a CUDA device: both directions in one pass, neighbours by one gather.

A window's context costs little arithmetic, so it is written for few kernels. Windows are multiplied
by the layers before they are gathered, and attention is averaged before it is projected.

Shapes: b batch, c channels of a unigram, n windows of all pictures, g windows that attend to each
other, m heads, d channels of a head; two directions.
"""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from hitsr.models.fused.cuda.by_size import kept
from hitsr.models.fused.cuda.choice import best
from hitsr.models.position import table_bias
from hitsr.models.precision import linear
from hitsr.models.windows import reflect_ends
from hitsr.runtime.trials import Way

if TYPE_CHECKING:
    from hitsr.models.ngram import NgramContext


def context_of_pixels(
    module: "NgramContext", x_bhwc: Tensor, embedded: Callable[[Tensor], Tensor]
) -> Tensor:
    """What `NgramContext` adds to each window: (b, h, w, c) -> (b, rows, columns, c).

    `embedded` makes unigrams with PyTorch's operators.
    """

    def plain(x: Tensor) -> Tensor:
        return context_of(module, embedded(x))

    def kernel() -> Way | None:
        from hitsr.models.fused.cuda.kernels import neighbours, ngram

        if ngram.why_not_context(x_bhwc, module.window, module.grams):
            return None

        def way(x: Tensor) -> Tensor:
            unigrams = ngram.unigrams(x, module.embed, window=module.window)
            return neighbours.context_of(module, unigrams)

        return way

    sizes = {"window": module.window, "heads": module.heads, "filters": len(module.embed.weight)}
    parameters = [*module.parameters()]
    return best("n-gram context", kernel, plain, (x_bhwc,), parameters, sizes)(x_bhwc)


def context_of(module: "NgramContext", unigrams: Tensor) -> Tensor:
    """`NgramContext.context_of`: (b, rows, columns, c) -> (b, rows, columns, 2c)."""
    b, rows, columns, c = unigrams.shape
    heads, grams = module.heads, module.grams**2
    qkv = linear(module.qkv, unigrams.flatten(0, 2))
    neighbours = kept(_neighbours, unigrams, b, rows, columns, module.grams)
    parts = qkv.index_select(0, neighbours).view(-1, grams, 3, heads, c // heads)
    q, k, v = parts.unbind(2)  # (2 n, g, m, d)
    scores = (q[:, :, None] * k[:, None]).sum(-1)  # (2 n, queries, keys, m)
    bias = module.cache.get(module, "bias", partial(_bias, module)).to(scores.dtype)
    scores = torch.add(bias, scores, alpha=(c // heads) ** -0.5)
    # The mean over queries of what they attend to: (2 n, keys, m).
    weights = scores.softmax(2).mean(1)
    mixed = (weights[..., None] * v).sum(1).flatten(1)
    both = linear(module.proj, mixed).view(2, b, rows, columns, c)
    return module.merged(both.permute(1, 2, 3, 0, 4).flatten(3))


def _bias(module: "NgramContext") -> Tensor:
    """(queries, keys, m)"""
    return table_bias(module.bias_table, module.grams, 1).permute(1, 2, 0).contiguous()


def _neighbours(b: int, rows: int, columns: int, grams: int, device: torch.device) -> Tensor:
    """Numbers of the windows that each window attends to, forward, then backward: (2 n g)."""
    numbers = torch.arange(b * rows * columns, device=device).view(b, rows, columns, 1)
    squares = [
        reflect_ends(numbers, grams - 1, backward).unfold(1, grams, 1).unfold(2, grams, 1)
        for backward in (False, True)
    ]
    return torch.stack(squares).flatten()
