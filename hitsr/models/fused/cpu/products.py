"""Linear layers of features on a CPU, by matrix products or as convolutions of one pixel.

PyTorch hands matrix products of float32 to MKL and convolutions to oneDNN. They compute the same
sums, but MKL uses AVX-512 on Intel's processors alone. Which is faster is tried once on a machine,
and remembered.

Shapes: n tokens, c channels.
"""

import time
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import Parameter
from torch.nn import functional as F
from torch.nn.grad import conv2d_weight

from hitsr.models.fused.backend import backend_of
from hitsr.runtime.trials import Way, fastest

# Products of fewer multiplications per thread are matrix products: a convolution takes 25
# microseconds more to start.
_LEAST_WORK = 2**21
_PICTURES = range(16, 257)  # with one thread, PyTorch gives oneDNN batches of 16 pictures or more
_MOST_TOKENS = 4096  # that are the kernels of one convolution; it slows beyond
# A trial is of a layer for queries, keys and values, on as many pixels as a training patch has.
_TRIED = (4096, 60, 180)
_MARGIN = 0.15
_RUNS = 3


def linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """`F.linear`: (..., c) -> (..., c')."""
    if not _can_convolve(x, weight):
        return F.linear(x, weight, bias)
    ways: dict[str, Way] = {"convolution": _convolved, "matrix product": F.linear}
    return _chosen("linear layer", ways, x, weight, bias)(x, weight, bias)


def linear_tokens_last(x_nc: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """The same with the result transposed: (n, c) -> (c', n), contiguous."""
    if not _can_convolve(x_nc, weight):
        return _product_tokens_last(x_nc, weight, bias)
    ways: dict[str, Way] = {
        "convolution": _convolved_tokens_last,
        "matrix product": _product_tokens_last,
    }
    return _chosen("linear layer, tokens last", ways, x_nc, weight, bias)(x_nc, weight, bias)


def _can_convolve(x: Tensor, weight: Tensor) -> bool:
    """Whether oneDNN takes the product, and it is large enough."""
    return (
        type(x) in (Tensor, Parameter)  # not tensors without values
        and backend_of(x) == "cpu"
        and x.dtype == torch.float32
        and x.numel() * len(weight) >= _LEAST_WORK * torch.get_num_threads()
        and _pictures(x.numel() // x.shape[-1]) is not None
        and torch.backends.mkldnn.is_available()
    )


def _chosen(what: str, ways: dict[str, Way], x: Tensor, weight: Tensor, bias: Tensor | None) -> Way:
    wanted = torch.is_grad_enabled() and any(
        each is not None and each.requires_grad for each in (x, weight, bias)
    )
    threads = torch.get_num_threads()
    asked = f"{what}, {threads} thread{'s' * (threads > 1)}"
    return fastest(asked, ways, _sample(wanted), _wall, margin=_MARGIN, remember=True)


@lru_cache(2)
def _sample(gradients: bool) -> tuple[Tensor, Tensor, Tensor]:
    """x, weight and bias for a trial."""
    tokens, before, after = _TRIED
    with torch.inference_mode(False):
        x, weight = torch.ones(tokens, before), torch.ones(after, before)
        bias = torch.ones(after)
    for each in (x, weight, bias):
        each.requires_grad_(gradients)
    return x, weight, bias


def _wall(run: Callable[[], object], _: torch.device) -> float:
    """Least seconds of several runs: other load on the machine lengthens some of them."""
    times = []
    for _run in range(_RUNS):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times)


def _convolved(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    out: Tensor = _Convolved.apply(x.reshape(-1, x.shape[-1]), weight, bias)
    return out.view(*x.shape[:-1], -1)


class _Convolved(torch.autograd.Function):
    """With a gradient of its own, because PyTorch's rearranges features whose strides it misreads:
    (n, c) -> (n, c').
    """

    @staticmethod
    def forward(ctx: Any, x_nc: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x_nc, weight)
        return _of_pixels(F.conv2d(_pixels(x_nc), weight[:, :, None, None], bias))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_nc: Tensor) -> tuple[Tensor | None, ...]:
        x_nc, weight = ctx.saved_tensors
        grad_nc = grad_nc.contiguous()
        to_x = to_weight = to_bias = None
        if ctx.needs_input_grad[0]:
            to_x = _of_pixels(F.conv2d(_pixels(grad_nc), weight.t()[:, :, None, None]))
        if ctx.needs_input_grad[1]:
            shape = (*weight.shape, 1, 1)
            to_weight = conv2d_weight(_pixels(x_nc), shape, _pixels(grad_nc))[:, :, 0, 0]
        if ctx.needs_input_grad[2]:
            to_bias = grad_nc.sum(0)
        return to_x, to_weight, to_bias


def _pixels(x_nc: Tensor) -> Tensor:
    """Tokens as pixels of pictures of one row each: (n, c) -> (pictures, c, 1, width)."""
    pictures = _pictures(len(x_nc))
    assert pictures is not None
    return x_nc.view(pictures, 1, -1, x_nc.shape[1]).permute(0, 3, 1, 2)


def _of_pixels(x_bchw: Tensor) -> Tensor:
    """Undoes `_pixels`."""
    return x_bchw.permute(0, 2, 3, 1).reshape(-1, x_bchw.shape[1])


def _convolved_tokens_last(x_nc: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    if torch.is_grad_enabled():
        return _convolved(x_nc, weight, bias).t().contiguous()
    # Tokens and weights change places: rows of the weights are pixels, tokens are kernels.
    columns = next(each for each in (10, 6, 5, 4, 3, 2, 1) if len(weight) % each == 0)
    pixels = weight.reshape(-1, 1, columns, weight.shape[1]).permute(0, 3, 1, 2)
    out = x_nc.new_empty(len(weight), len(x_nc))
    for tokens, kernels in zip(out.split(_MOST_TOKENS, 1), x_nc.split(_MOST_TOKENS), strict=True):
        product = _of_pixels(F.conv2d(pixels, kernels[:, :, None, None]))
        torch.add(product, bias[:, None], out=tokens)
    return out


def _product_tokens_last(x_nc: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return torch.addmm(bias[:, None], weight, x_nc.t())


@lru_cache(256)
def _pictures(tokens: int) -> int | None:
    """A number of pictures that tokens can be parted into, if there is one."""
    return next((each for each in _PICTURES if tokens % each == 0), None)
