"""Convolutions of channels-last features with a sum, fused: one kernel on a CUDA device.

Shapes: b batch, h height, w width, c and o channels.
"""

from functools import partial

import torch
from torch import Tensor, nn

from hitsr.models.fused.backend import backend_of
from hitsr.models.fused.cache import EvalCache
from hitsr.models.fused.cuda.choice import best
from hitsr.models.precision import autocast_dtype
from hitsr.runtime.trials import Way


def convolve(conv: nn.Conv2d, x_bhwc: Tensor) -> Tensor:
    """(b, h, w, c) -> (b, h, w, o); nothing is copied between layouts."""
    out: Tensor = conv(x_bhwc.permute(0, 3, 1, 2))
    return out.permute(0, 2, 3, 1)


def convolve_and_add(
    conv: nn.Conv2d, x_bhwc: Tensor, residual_bhwo: Tensor, cache: EvalCache
) -> Tensor:
    """The convolution of x, plus the residual: (b, h, w, c) -> (b, h, w, o)."""

    def plain(x: Tensor, residual: Tensor) -> Tensor:
        return convolve(conv, x) + residual

    if torch.is_grad_enabled() or backend_of(x_bhwc) != "cuda":
        return plain(x_bhwc, residual_bhwo)

    def kernel() -> Way | None:
        from hitsr.models.fused.cuda.kernels import convolution as kernels

        dtype = autocast_dtype(x_bhwc.device.type) or x_bhwc.dtype
        if conv._forward_hooks or conv._forward_pre_hooks or kernels.why_not(x_bhwc, conv):
            return None
        weight = cache.get(conv, "weight", partial(kernels.laid_out, conv, dtype))
        return lambda x, residual: kernels.convolve(
            x, conv, weight=weight, residual=residual, dtype=dtype
        )

    inputs, sizes = (x_bhwc, residual_bhwo), {"outputs": conv.out_channels}
    return best("convolution and sum", kernel, plain, inputs, sizes=sizes)(*inputs)
