"""N-gram context, fused: windows are embedded by weighted sums, not by a convolution.

Shapes: b batch, h height, w width, c channels; rows and columns are of windows.
"""

from functools import partial
from typing import TYPE_CHECKING

from torch import Tensor

from hitsr.models.fused.backend import backend_of
from hitsr.models.fused.cuda import ngram as cuda

if TYPE_CHECKING:
    from hitsr.models.ngram import NgramContext


def add_context(module: "NgramContext", x_bhwc: Tensor) -> Tensor:
    """`NgramContext` in the paper formulation: (b, h, w, c) -> (b, h, w, c)."""
    side, embedded = module.window, partial(_unigrams, module)
    if backend_of(x_bhwc) == "cuda":
        context = cuda.context_of_pixels(module, x_bhwc, embedded)
    else:
        context = module.context_of(embedded(x_bhwc))
    rows, columns = context.shape[1:3]
    windows = x_bhwc.unflatten(2, (columns, side)).unflatten(1, (rows, side))
    added: Tensor = windows + context[:, :, None, :, None]
    return added.view(x_bhwc.shape)


def _unigrams(module: "NgramContext", x_bhwc: Tensor) -> Tensor:
    """Embed windows: (b, h, w, c) -> (b, rows, columns, c / 2).

    Convolutions are slow with kernels as large as a window.
    """
    assert module.embed.bias is not None
    b, h, w, c = x_bhwc.shape
    side, repeats = module.window, c // 2 // module.embed.groups
    weight = module.embed.weight.to(x_bhwc.dtype)
    weight = weight.permute(2, 3, 0, 1).flatten(2).repeat(1, 1, repeats)
    pixels = x_bhwc.reshape(b, h // side, side, w // side, side, c) * weight[:, None]
    sums = pixels.sum(2).sum(3)  # over rows first, which are contiguous in memory
    embedded: Tensor = sums.unflatten(-1, (c // 2, 2)).sum(-1)
    return embedded + module.embed.bias.to(x_bhwc.dtype).repeat(repeats)
