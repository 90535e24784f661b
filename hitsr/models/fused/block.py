"""A block, fused: in eval mode, both branches go through a few rows at a time (`cpu/strips.py`).

Shapes: b batch, h height, w width, c channels.
"""

from functools import partial
from typing import TYPE_CHECKING

from torch import Tensor

from hitsr.models.attention import Attention
from hitsr.models.correlation import Correlation
from hitsr.models.fused.correlation import HALO
from hitsr.models.fused.cpu.strips import Strip, by_strips
from hitsr.models.windows import extend
from hitsr.specs.network import is_large

if TYPE_CHECKING:
    from hitsr.models.block import Block


def forward_by_strips(block: "Block", x_bhwc: Tensor) -> Tensor:
    """`Block.forward` in eval mode: (b, h, w, c) -> (b, h, w, c)."""
    mix, shift, halo = partial(_mix, block), block.mixer.shift, _halo_of_mixer(block)
    if halo is None:
        x_bhwc = x_bhwc + block.normed(block.mix, block.norm1, x_bhwc)
    else:
        x_bhwc = by_strips(
            mix, x_bhwc, multiple=block.multiple, halo=halo, shift=shift, residual=True
        )
    kernel = block.ffn.depthwise
    halo = 0 if kernel is None else kernel.kernel_size[0] // 2
    return by_strips(partial(_feed_forward, block), x_bhwc, halo=halo, residual=True)


def _mix(block: "Block", x_bhwc: Tensor, strip: Strip) -> Tensor:
    """The first branch, on a strip; its rows are whole windows already, its columns are not."""
    width = x_bhwc.shape[2]

    def mixed(x_bhwc: Tensor) -> Tensor:
        mixed = block.mixer(extend(x_bhwc, block.multiple, (2,)), strip)
        return strip.without_padding(mixed)[:, :, :width]

    return block.normed(mixed, block.norm1, x_bhwc)


def _feed_forward(block: "Block", x_bhwc: Tensor, strip: Strip) -> Tensor:
    """The second branch, on a strip."""
    return block.normed(lambda x: strip.without_halo(block.ffn(x)), block.norm2, x_bhwc)


def _halo_of_mixer(block: "Block") -> int | None:
    """Rows beyond its windows that a mixer's result depends on; None for no strips.

    Mixers get the whole picture instead if they have an n-gram context, which depends on other
    windows; if their windows are large, so that few rows of them are the whole picture; if they
    shift rows that are not whole windows; and if they are channel attention, which takes no strips.
    """
    mixer = block.mixer
    match mixer:
        case Attention(context=None) if not is_large(mixer.heads, mixer.window, mixer.fold):
            return None if mixer.shift and block.pads_mixer else 0
        case Correlation(context=None, shift=0):
            return HALO
        case _:
            return None
