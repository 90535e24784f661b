"""What a network in float16 computes in float32: values beyond 65504, where float16 ends.

In a trained HiT-SRF, features of the correlation reach 96,000 and its output 1e14, before a norm
brings them back. bfloat16 has the range of float32, and gains no exactness from wider products.
"""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def widened(x: Tensor) -> Tensor:
    """x in float32 if it is in float16, else x itself."""
    return x.float() if x.dtype == torch.float16 else x


def linear(layer: nn.Linear, x: Tensor) -> Tensor:
    """`layer(x)`, with the weights in the dtype of x."""
    return F.linear(x, layer.weight.to(x.dtype), layer.bias.to(x.dtype))


def layer_norm(norm: nn.LayerNorm, x: Tensor) -> Tensor:
    """`norm(x)`; in float32 if x was widened and the weights are in float16."""
    if (x.dtype, norm.weight.dtype) != (torch.float32, torch.float16):
        out: Tensor = norm(x)
        return out
    return F.layer_norm(x, norm.normalized_shape, norm.weight.float(), norm.bias.float(), norm.eps)


def without_float16_autocast(device: torch.device) -> AbstractContextManager[object]:
    """A context in which no autocast makes float16 of what was widened."""
    if autocast_dtype(device.type) != torch.float16:
        return nullcontext()
    return torch.autocast(device.type, enabled=False)


def autocast_dtype(device: str) -> torch.dtype | None:
    """The dtype that autocast now gives matrix products on this type of device; None if off."""
    if not (torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)):
        return None
    return torch.get_autocast_dtype(device)
