"""Heads padded with zeros to a width that PyTorch's fast attention kernels take.

The memory-efficient kernel of `scaled_dot_product_attention` takes heads whose channels fill whole
pieces of 16 bytes: 4 in float32, 8 in half precision. It wants queries, keys and values to begin
at multiples of 16 bytes, with consecutive channels (`sdp_utils.cpp`, `minimum_gemm_alignment` and
`check_data_ptr_alignment_mem_efficient`), and copies a mask whose rows do not begin at multiples
of 8 elements (`attention.cpp`, `preprocess_mask`). For other widths, such as the networks' 10, it
computes step by step. Zeros change no product, so the weights are padded, not the features.

Shapes: c channels, m heads, d channels of a head, f side of a cell, t tokens, s keys.
"""

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

if TYPE_CHECKING:
    from hitsr.models.attention import Attention

_PIECE = 16  # bytes
_MASK_ROW = 8  # elements


class PaddedWeights(NamedTuple):
    """Weights and biases of an attention's layers, with padded heads of d channels.

    Queries, keys and values are one product of tokens (c -> 3 m d), or if cells are folded two: of
    tokens (c -> m d) and of cells (f² c -> 2 m d).
    """

    products: tuple[tuple[Tensor, Tensor], ...]
    proj: tuple[Tensor, Tensor]
    width: int  # d, with padding


def padded_width(width: int, dtype: torch.dtype) -> int:
    """The least number of channels >= `width` that fill whole pieces of 16 bytes."""
    channels = max(1, _PIECE // dtype.itemsize)
    return -(-width // channels) * channels


def padded_weights(mixer: "Attention", dtype: torch.dtype) -> PaddedWeights:
    """Weights in `dtype`, in which the products are computed. Differentiable."""
    width = mixer.widths[0] // mixer.heads
    padded = padded_width(width, dtype)

    def by_head(rows: Tensor) -> Tensor:
        """Pad the rows of every head: (m d, ...) -> (m d', ...)."""
        heads = rows.reshape(mixer.heads, width, -1)
        return F.pad(heads, (0, 0, 0, padded - width)).view(-1, *rows.shape[1:])

    weights = mixer.qkv.weight.split(mixer.widths)
    biases = mixer.qkv.bias.split(mixer.widths)
    parts = [(by_head(weights[0]), by_head(biases[0]))]
    for weight, bias in zip(weights[1:], biases[1:], strict=True):
        cells = mixer.fold**2  # each token of a cell makes its own share of the cell's channels
        parts.append((by_head(torch.block_diag(*[weight] * cells)), by_head(bias.repeat(cells))))
    products = [parts] if mixer.fold == 1 else [parts[:1], parts[1:]]
    stacked = [
        (torch.cat([w for w, _ in rows]).to(dtype), torch.cat([b for _, b in rows]).to(dtype))
        for rows in products
    ]
    columns = by_head(mixer.proj.weight.t()).t()
    return PaddedWeights(tuple(stacked), (columns.to(dtype), mixer.proj.bias.to(dtype)), padded)


def with_aligned_rows(added_kmts: Tensor) -> Tensor:
    """Biases and masks whose rows begin at multiples of 8 elements, so that no kernel copies them.

    (kinds, m, t, s), the same shape and values.
    """
    keys = added_kmts.shape[-1]
    return F.pad(added_kmts, (0, -keys % _MASK_ROW))[..., :keys]
