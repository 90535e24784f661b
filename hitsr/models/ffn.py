"""The feed-forward network, with or without a depthwise convolution (SRFormer's ConvFFN)."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from hitsr.models.strips import in_cache
from hitsr.specs.network import Formulation


class FeedForward(nn.Module):
    """Expand, GELU, reduce: (b, h, w, c) -> (b, h, w, c).

    With a kernel, the expanded features gain their own depthwise convolution in between.
    """

    def __init__(
        self, width: int, ratio: int, kernel: int | None, formulation: Formulation = "fused"
    ) -> None:
        super().__init__()
        hidden = width * ratio
        self.reach = kernel // 2 if kernel else 0  # how many pixels away it looks
        self.fused = formulation == "fused"
        self.expand = nn.Linear(width, hidden)
        self.reduce = nn.Linear(hidden, width)
        self.depthwise = (
            nn.Conv2d(hidden, hidden, kernel, padding=kernel // 2, groups=hidden)
            if kernel
            else None
        )

    def forward(self, x_bhwc: Tensor) -> Tensor:
        """Mix channels, and with a depthwise convolution neighbours too."""
        x = self.expand(x_bhwc)
        ours = self.fused and in_cache(x)
        if ours and not torch.is_grad_enabled():
            # Nobody else holds these features, and memory that is new costs more.
            torch.ops.aten.gelu_(x)
            if self.depthwise is not None:
                x += torch.ops.aten.gelu_(self._convolved(x, ours))
        else:
            x = F.gelu(x)
            if self.depthwise is not None:
                x = x + F.gelu(self._convolved(x, ours))
        out: Tensor = self.reduce(x)
        return out

    def _convolved(self, x_bhwc: Tensor, ours: bool) -> Tensor:
        """The depthwise convolution, whose gradient may be `ours`."""
        assert self.depthwise is not None
        x = x_bhwc.permute(0, 3, 1, 2)
        weight, bias = self.depthwise.weight, self.depthwise.bias
        x = _Depthwise.apply(x, weight, bias) if ours else self.depthwise(x)
        around: Tensor = x.permute(0, 2, 3, 1)
        return around


class _Depthwise(torch.autograd.Function):
    """A depthwise convolution that keeps the size, whose gradient is convolutions as well.

    On a CPU PyTorch's own takes twice the time for a batch of patches.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return F.conv2d(x, weight, bias, padding=weight.shape[-1] // 2, groups=len(weight))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        to_x = to_weight = to_bias = None
        same = {"padding": weight.shape[-1] // 2, "groups": len(weight)}
        if ctx.needs_input_grad[0]:
            to_x = F.conv2d(grad, weight.flip(2, 3), **same)
        if ctx.needs_input_grad[1]:
            # How far each picture goes along with its gradient, moved by each place of the kernel.
            pairs = zip(x.split(1), grad.unsqueeze(2), strict=True)
            moved = [F.conv2d(picture, kernel, **same) for picture, kernel in pairs]
            to_weight = torch.cat(moved).sum(0).view_as(weight)
        if ctx.needs_input_grad[2]:
            to_bias = grad.sum((0, 2, 3))
        return to_x, to_weight, to_bias
