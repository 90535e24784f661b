"""The feed-forward network, fused: on a CPU, in place where no gradient is wanted.

Shapes: b batch, h height, w width, c channels.
"""

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hitsr.models.fused.backend import backend_of
from hitsr.models.fused.cpu.depthwise import depthwise_convolution
from hitsr.models.fused.cpu.products import linear

if TYPE_CHECKING:
    from hitsr.models.ffn import FeedForward


def forward(ffn: "FeedForward", x_bhwc: Tensor) -> Tensor:
    """`FeedForward.paper`: (b, h, w, c) -> (b, h, w, c)."""
    if backend_of(x_bhwc) != "cpu":
        return ffn.paper(x_bhwc)
    x = linear(x_bhwc, ffn.expand.weight, ffn.expand.bias)
    if torch.is_grad_enabled():
        x = F.gelu(x)
        if ffn.depthwise is not None:
            x = x + F.gelu(_convolved(ffn.depthwise, x))
    else:
        # In place, because on a CPU newly allocated memory costs more than the GELU.
        torch.ops.aten.gelu_(x)
        if ffn.depthwise is not None:
            x += torch.ops.aten.gelu_(_convolved(ffn.depthwise, x))
    return linear(x, ffn.reduce.weight, ffn.reduce.bias)


def _convolved(conv: nn.Conv2d, x_bhwc: Tensor) -> Tensor:
    assert conv.bias is not None
    x = depthwise_convolution(x_bhwc.permute(0, 3, 1, 2), conv.weight, conv.bias)
    return x.permute(0, 2, 3, 1)
