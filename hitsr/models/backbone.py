"""The one backbone: shallow features, groups of blocks, and an upsampler.

Features are (b, h, w, c) between blocks. Convolutions take the same memory as (b, c, h, w) in
channels-last order, so nothing is copied between layouts.

Shapes: b batch, h height, w width, c channels.
"""

import math
from collections.abc import Callable
from typing import Self, get_args

import torch
from torch import Tensor, nn

from hitsr.base.errors import SpecError
from hitsr.models import released
from hitsr.models.block import Block
from hitsr.models.fused import convolution as fused
from hitsr.models.fused.cache import EvalCache
from hitsr.models.fused.norm import layer_norm_of
from hitsr.models.upsample import upsampler
from hitsr.models.windows import extend
from hitsr.runtime.compiling import check_compiler
from hitsr.runtime.graphed import Graphs
from hitsr.specs.network import Formulation, NetworkSpec, Scale, ScaledNetwork
from hitsr.specs.zoo import find


class Group(nn.Module):
    """Residual group: blocks, then a convolution, added to x: (b, h, w, c) -> (b, h, w, c)."""

    def __init__(self, blocks: list[Block], width: int, formulation: Formulation) -> None:
        super().__init__()
        self.formulation = formulation
        self.blocks = nn.Sequential(*blocks)
        self.conv = nn.Conv2d(width, width, 3, padding=1)
        self.cache = EvalCache()

    def forward(self, x_bhwc: Tensor) -> Tensor:
        """Features of the same shape."""
        y = self.blocks(x_bhwc)
        return convolve_and_add(self.conv, y, x_bhwc, self.formulation, self.cache)


class SuperResolver(nn.Module):
    """A network for one upscaling factor: (b, 3, h, w) in [0, 1] -> (b, 3, h*scale, w*scale).

    Any h, w >= 1. Outputs are not clamped. With `autocast`, convolutions and matrix products
    compute in bfloat16, or in the given dtype; weights, input and output stay as they are. With
    `graph`, forwards are replayed as CUDA graphs where that is possible
    (`runtime.graphed.Graphed`).
    """

    mean: Tensor

    def __init__(
        self,
        network: NetworkSpec,
        scale: Scale,
        formulation: Formulation,
        autocast: bool | torch.dtype = False,
        graph: bool = False,
    ) -> None:
        super().__init__()
        self.network, self.scale, self.formulation = network, scale, formulation
        self.autocast = torch.bfloat16 if autocast is True else autocast or None
        self.cache = EvalCache()
        self.graphs = Graphs() if graph else None
        width = network.width
        self.multiple = math.lcm(*network.multiples) if network.padding == "picture" else 1
        self.register_buffer("mean", _mean(network), persistent=False)
        self.first = nn.Conv2d(3, width, 3, padding=1)
        self.first_norm = nn.LayerNorm(width)
        rates = iter(_drop_rates(network))
        self.groups = nn.Sequential(
            *(
                Group(
                    [Block(network, i, next(rates), formulation) for i in range(depth)],
                    width,
                    formulation,
                )
                for depth in network.depths
            )
        )
        self.last_norm = nn.LayerNorm(width)
        self.last = nn.Conv2d(width, width, 3, padding=1)
        self.upsample = upsampler(network.upsampler, width, scale)
        self.apply(_initialise)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Convert weights, such as to a dtype or device; the mean is rounded anew from the spec."""
        if self.graphs is not None:
            self.graphs.clear()  # what moves the network frees its graphs' memory too
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        for module in self.modules():
            if isinstance(cache := getattr(module, "cache", None), EvalCache):
                cache.clear()
        self.mean = _mean(self.network).to(self.mean)
        return self

    @property
    def subject(self) -> ScaledNetwork:
        """What the network is, without its weights."""
        return ScaledNetwork(network=self.network, scale=self.scale)

    def forward(self, lr: Tensor) -> Tensor:
        """Upscale a batch of pictures. The released formulation refuses 16-bit ones (SpecError)."""
        if self.formulation == "released":
            released.check_precision(lr.dtype)
        if self.graphs is None:
            return self._plain(lr)
        hr: Tensor = self.graphs.run(self, self._plain, lr)
        return hr

    def _plain(self, lr: Tensor) -> Tensor:
        if self.autocast is None:
            return self._upscaled(lr)
        with torch.autocast(lr.device.type, self.autocast):
            return self._upscaled(lr)

    def _upscaled(self, lr: Tensor) -> Tensor:
        h, w = lr.shape[-2:]
        x = extend((lr - self.mean).permute(0, 2, 3, 1), self.multiple)
        shallow = convolve(self.first, x, self.formulation)
        normed = layer_norm_of(self.formulation)
        deep = normed(self.last_norm, self.groups(normed(self.first_norm, shallow)))
        features = convolve_and_add(self.last, deep, shallow, self.formulation, self.cache)
        hr: Tensor = self.upsample(features.permute(0, 3, 1, 2)) + self.mean
        return hr[..., : h * self.scale, : w * self.scale]


def create(
    network: str | NetworkSpec,
    scale: int,
    *,
    formulation: Formulation = "fused",
    compile: bool = False,
    autocast: bool | torch.dtype = False,
    graph: bool = False,
) -> SuperResolver:
    """Build a network by name or spec, with fresh weights drawn from torch's global generator.

    All formulations compute one function: "fused" is fast, "paper" the textbook formula, and
    "released" does what the published code does, also where it builds masks on the CPU.
    `compile` uses torch.compile, which compiles at the first forward of each picture size, for at
    most eight sizes. `autocast` computes convolutions and matrix products in bfloat16, or in the
    given dtype, on weights of any type. docs/speed.md has measured speed-ups and differences of
    both. `graph` launches forwards without gradients on a CUDA device as one CUDA graph, from the
    second of a size on, for at most eight sizes; elsewhere a warning says once that it runs
    plainly, and why.

    Raises SpecError for an unknown name or formulation, a scale other than 2, 3 and 4, with
    `compile` if no C++ compiler is found, and for `graph` together with `compile` or with the
    formulation "released".
    """
    if formulation not in (known := get_args(Formulation)):
        raise SpecError(f"formulation {formulation!r}: must be {' or '.join(map(repr, known))}")
    checked = ScaledNetwork.parse({"network": find(network), "scale": scale}, "create")
    if compile and graph:
        raise SpecError("compile and graph: each replaces how a forward is launched; choose one")
    if graph and formulation == "released":
        raise SpecError(
            "graph: no CUDA graph holds the formulation 'released', which makes masks on the CPU "
            "in each forward; use 'paper' or 'fused'"
        )
    made = SuperResolver(checked.network, checked.scale, formulation, autocast, graph)
    if compile:
        check_compiler()
        made.compile(dynamic=False)
    return made


def convolve(conv: nn.Conv2d, x_bhwc: Tensor, formulation: Formulation) -> Tensor:
    """A convolution on channels-last features: (b, h, w, c) -> (b, h, w, c')."""
    return (
        released.convolve(conv, x_bhwc)
        if formulation == "released"
        else fused.convolve(conv, x_bhwc)
    )


def convolve_and_add(
    conv: nn.Conv2d, x_bhwc: Tensor, residual: Tensor, formulation: Formulation, cache: EvalCache
) -> Tensor:
    """`convolve` plus features of the same shape."""
    if formulation == "fused":
        return fused.convolve_and_add(conv, x_bhwc, residual, cache)
    return convolve(conv, x_bhwc, formulation) + residual


def _mean(network: NetworkSpec) -> Tensor:
    """Mean of each channel of the training pictures: (1, 3, 1, 1) in [0, 1]."""
    return torch.tensor(network.mean).view(1, 3, 1, 1)


def _drop_rates(network: NetworkSpec) -> list[float]:
    """Drop rate of each block, rising linearly from 0 to the spec's rate (SwinIR)."""
    last = max(network.blocks - 1, 1)
    return [network.stochastic_depth * i / last for i in range(network.blocks)]


def _initialise(module: nn.Module) -> None:
    """Initialise linear layers as in SwinIR; convolutions and norms keep PyTorch's values."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        nn.init.zeros_(module.bias)
