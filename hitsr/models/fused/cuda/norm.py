"""Layer norm over few channels: by a kernel of ours, by PyTorch's, or by reductions.

PyTorch's kernel gives each row a block of threads, most of which idle when a row has 60 channels.
Without Triton, statistics can be reductions of many rows at a time. They are float32 whatever x is,
and centred before they are squared, so that means far from zero cost no exactness.

Shapes: r rows, c channels.
"""

import math
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from hitsr.models.fused.cuda.choice import best
from hitsr.models.fused.cuda.kernels.launch import fits
from hitsr.models.precision import autocast_dtype
from hitsr.runtime.trials import Way, fastest


def layer_norm(norm: nn.LayerNorm, x: Tensor) -> Tensor:
    """`precision.layer_norm` by whichever way is fastest, in the dtype of the weights: (..., c)."""
    if autocast_dtype(x.device.type) is not None:
        x = x.float()  # as autocast does on CUDA

    def own(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        if x.dtype == weight.dtype:
            return F.layer_norm(x, norm.normalized_shape, weight, bias, norm.eps)
        wide_weight, wide_bias = weight.to(x.dtype), bias.to(x.dtype)
        out = F.layer_norm(x, norm.normalized_shape, wide_weight, wide_bias, norm.eps)
        return out.to(weight.dtype)

    def by_reductions(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        normed: Tensor = _Normed.apply(x, weight, bias, norm.eps)
        return normed

    def plain(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ways: dict[str, Way] = {"PyTorch's": own, "reductions": by_reductions}
        return fastest("layer norm by PyTorch", ways, (x, weight, bias))(x, weight, bias)

    def kernel() -> Way | None:
        from hitsr.models.fused.cuda.kernels import norm as kernels

        if x.shape[-1] > kernels.MOST_CHANNELS or not fits(x.numel()):
            return None
        return partial(kernels.layer_norm, eps=norm.eps, dtype=norm.weight.dtype)

    inputs = (x, norm.weight, norm.bias)
    return best("layer norm", kernel, plain, inputs)(*inputs)


class _Normed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
        wide = torch.promote_types(x.dtype, torch.float32)
        root = math.sqrt(x.shape[-1])
        mean = x.mean(-1, keepdim=True, dtype=wide)
        centred = x - mean
        # Of a row: the root of c times its variance plus eps.
        length = torch.linalg.vector_norm(centred, dim=-1, keepdim=True)
        length = torch.hypot(length, torch.tensor(root * math.sqrt(eps), dtype=wide))
        ctx.save_for_backward(x, weight, mean, length)
        out = torch.empty_like(x, dtype=weight.dtype)
        centred /= length
        return torch.addcmul(bias, centred, weight, value=root, out=out)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mean, length = ctx.saved_tensors
        root = math.sqrt(x.shape[-1])
        normed = (x - mean) * (root / length)
        grad = grad.to(normed.dtype)
        rows = tuple(range(grad.dim() - 1))
        to_weight, to_bias = (grad * normed).sum(rows), grad.sum(rows)
        scaled = grad * weight
        along = (scaled * normed).mean(-1, keepdim=True)
        to_x = (scaled - scaled.mean(-1, keepdim=True) - normed * along) * (root / length)
        return (
            to_x.to(x.dtype),
            to_weight.to(weight.dtype),
            to_bias.to(weight.dtype),
            None,
        )
