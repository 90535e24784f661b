"""Attention in windows on a CUDA device: a kernel of ours; or PyTorch's, with padded heads.

With PyTorch's operators: one gather, products with padded heads, one gather back.

Shapes: b batch, h height, w width, c channels, n windows, t tokens of a window, s keys of a window,
m heads, d channels of a head, padded.
"""

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from hitsr.models.fused.cuda.by_size import kept
from hitsr.models.fused.cuda.choice import best
from hitsr.models.fused.cuda.heads import PaddedWeights, padded_weights, with_aligned_rows
from hitsr.models.fused.cuda.order import Layout, cell_by_cell, order_of
from hitsr.models.position import table_bias
from hitsr.models.precision import autocast_dtype
from hitsr.runtime.trials import Way, fastest

if TYPE_CHECKING:
    from hitsr.models.attention import Attention

_MOST_SCORES = 2**27  # held at once, step by step: 512 MB in float32


class _Prepared(NamedTuple):
    """What depends on parameters alone."""

    weights: PaddedWeights
    added: Tensor | None  # bias plus mask of each kind of window: (kinds, m, t, s)


def attention(mixer: "Attention", x_bhwc: Tensor) -> Tensor:
    """`Attention._paper`: (b, h, w, c) -> (b, h, w, c)."""

    def kernel() -> Way | None:
        from hitsr.models.fused.cuda.kernels import attention as kernels

        heads, window, fold = mixer.heads, mixer.window, mixer.fold
        if kernels.why_not(x_bhwc, heads=heads, window=window, fold=fold):
            return None

        def way(x: Tensor) -> Tensor:
            mixed = kernels.window_attention(
                mixer.qkv(x),
                bias_of_cells(mixer),
                heads=heads,
                window=window,
                shift=mixer.shift,
                fold=fold,
            )
            projected: Tensor = mixer.proj(mixed)
            return projected

        return way

    plain, sizes = partial(_by_gather, mixer), sizes_of(mixer)
    return best("attention", kernel, plain, (x_bhwc,), _parameters(mixer), sizes)(x_bhwc)


def sizes_of(mixer: "Attention") -> dict[str, int]:
    """What makes attention another program."""
    positions = mixer.bias_table is not None
    sizes = {"window": mixer.window, "shift": mixer.shift, "fold": mixer.fold}
    return sizes | {"heads": mixer.heads, "positions": int(positions)}


def bias_of_cells(mixer: "Attention") -> Tensor | None:
    """Position biases of each cell towards each cell: (m, s, s)."""
    table = mixer.bias_table
    if table is None:
        return None

    def compute() -> Tensor:
        return table_bias(table, mixer.window // mixer.fold, 1).contiguous()

    return mixer.cache.get(mixer, "of cells", compute)


def _parameters(mixer: "Attention") -> list[Tensor]:
    own: list[Tensor] = [*mixer.qkv.parameters(), *mixer.proj.parameters()]
    return own if mixer.bias_table is None else [*own, mixer.bias_table]


def _by_gather(mixer: "Attention", x_bhwc: Tensor) -> Tensor:
    b, h, w, _ = x_bhwc.shape
    layout = Layout(b, h, w, mixer.window, mixer.shift, mixer.fold)
    order = kept(order_of, x_bhwc, layout)
    dtype = autocast_dtype(x_bhwc.device.type) or x_bhwc.dtype
    weights, added = mixer.cache.get(mixer, "prepared", partial(_prepare, mixer, dtype))
    q, k, v = _heads(mixer, weights, order.by_window(x_bhwc))
    attend = _way(mixer, q, k, v, added)
    kinds = [(kind, count) for kind, count in enumerate(order.kinds) if count]
    parts = zip(*(x.split([count for _, count in kinds]) for x in (q, k, v)), strict=True)
    mixed = [
        attend(*part, *([] if added is None else [added[kind]]))
        for (kind, _), part in zip(kinds, parts, strict=True)
    ]
    mixed_ntmd = mixed[0] if len(mixed) == 1 else torch.cat(mixed)
    return order.by_picture(F.linear(mixed_ntmd.flatten(0, 1).flatten(1), *weights.proj))


def _heads(
    mixer: "Attention", weights: PaddedWeights, x_tc: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Queries (n, t, m, d), keys and values (n, s, m, d): views of one product or of two."""
    products, side, by_head = weights.products, mixer.window, (mixer.heads, weights.width)
    if mixer.fold == 1:
        q, k, v = F.linear(x_tc, *products[0]).view(-1, side**2, 3, *by_head).unbind(2)
        return q, k, v
    q = F.linear(x_tc, *products[0]).view(-1, side**2, *by_head)
    cells = x_tc.view(-1, mixer.fold**2 * x_tc.shape[1])
    k, v = F.linear(cells, *products[1]).view(-1, (side // mixer.fold) ** 2, 2, *by_head).unbind(2)
    return q, k, v


def _way(mixer: "Attention", q: Tensor, k: Tensor, v: Tensor, added: Tensor | None) -> Way:
    """The fastest way from q, k, v and what is added to their scores to (n, t, m, d)."""
    scale = (mixer.widths[0] // mixer.heads) ** -0.5  # of the width without padding
    ways: dict[str, Way] = {"scaled_dot_product_attention": partial(_in_one_kernel, scale)}
    scores = q.shape[0] * q.shape[1] * k.shape[1] * mixer.heads
    if q.dtype == torch.float32 and scores <= _MOST_SCORES:
        ways["step by step"] = partial(_step_by_step, scale)
    return fastest("attention by PyTorch", ways, (q, k, v, *([] if added is None else [added[0]])))


def _in_one_kernel(
    scale: float, q: Tensor, k: Tensor, v: Tensor, added_mts: Tensor | None = None
) -> Tensor:
    q, k, v = (x.transpose(1, 2) for x in (q, k, v))
    added = None if added_mts is None else added_mts[None]
    return F.scaled_dot_product_attention(q, k, v, added, scale=scale).transpose(1, 2)


def _step_by_step(
    scale: float, q: Tensor, k: Tensor, v: Tensor, added_mts: Tensor | None = None
) -> Tensor:
    scores = q.transpose(1, 2) @ k.permute(0, 2, 3, 1)
    scores = scores * scale if added_mts is None else torch.add(added_mts, scores, alpha=scale)
    return (scores.softmax(-1) @ v.transpose(1, 2)).transpose(1, 2)


def _prepare(mixer: "Attention", dtype: torch.dtype) -> _Prepared:
    weights = padded_weights(mixer, dtype)
    table, device = mixer.bias_table, mixer.qkv.weight.device
    added = None if table is None else table_bias(table, mixer.window, mixer.fold)[None]
    if mixer.shift:
        masks = mixer.masks_of_kinds()[:, None].expand(-1, mixer.heads, -1, -1)
        added = masks if added is None else added + masks
    if added is None:
        return _Prepared(weights, None)
    added = added.index_select(2, cell_by_cell(mixer.window, mixer.fold, device))
    return _Prepared(weights, with_aligned_rows(added.to(dtype)))
