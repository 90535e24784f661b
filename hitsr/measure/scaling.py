"""Fit how a cost grows with a size: the exponent of a power law, with its standard error.

The paper's claim that correlation is "linear to window sizes" is about one window. A fixed picture
has fewer windows if they are larger, so a cost that grows as tokens^p for the picture grows as
tokens^(p + 1) per window: attention tends to p = 1, correlation to p = 0.
"""

import math
from collections.abc import Sequence
from statistics import median

import torch
from torch import Tensor, nn

from hitsr.measure.forwards import Work
from hitsr.measure.latency import measure
from hitsr.records import PowerLaw, SizeTime, TimeGrowth
from hitsr.specs.network import NetworkSpec

MIXER = "groups.0.blocks.0.mixer"  # in a network with one block
PICTURES = (192, 384, 576, 768)  # sides in LR pixels; windows of 4 to 64 pixels divide them all
# Timed pictures are smaller, to save time. Windows of 4 to 64 pixels divide them too.
TIMED_PICTURES = (64, 128, 192)
LARGEST_TIMED_WINDOW = 64


class Fed(nn.Module):
    """A module that ignores its argument and computes on a stored input.

    This lets inputs of different sizes take turns in `measure`.
    """

    def __init__(self, module: nn.Module, given: Tensor) -> None:
        super().__init__()
        self.module = module
        self.register_buffer("given", given)

    def forward(self, _: Tensor) -> Tensor:
        """The module's output for the stored input."""
        out: Tensor = self.module(self.given)
        return out


def time_growth(
    sides: Sequence[int],
    models: Sequence[Fed],
    input_sizes: Sequence[tuple[int, int]],
    device: torch.device,
    *,
    warmup: int,
    samples: int,
) -> TimeGrowth:
    """Time forwards at every size, in turns, and fit a power law to the medians."""
    # Each model has a stored input, so the size in Work is not used.
    timings = measure(models, Work((1, 1), device), warmup=warmup, samples=samples)
    points = tuple(
        SizeTime(side=side, tokens=side**2, input_size=size, samples_ms=timing.samples_ms)
        for side, size, timing in zip(sides, input_sizes, timings, strict=True)
    )
    medians = [median(point.samples_ms) for point in points]
    return TimeGrowth(points=points, law=fit_power_law([p.tokens for p in points], medians))


def timed_side(networks: Sequence[NetworkSpec]) -> int:
    """Side of the smallest square that needs no padding in any of the networks."""
    return math.lcm(*(multiple for network in networks for multiple in network.multiples))


def fit_power_law(sizes: Sequence[float], costs: Sequence[float]) -> PowerLaw:
    """Fit cost ~ size^p by ordinary least squares on the logarithms.

    Raises ValueError for fewer than three different sizes, and for sizes or costs below or at 0.
    """
    if len(set(sizes)) < 3:
        raise ValueError(f"a fit needs 3 different sizes or more, got {sorted(set(sizes))}")
    if min(*sizes, *costs) <= 0:
        raise ValueError("sizes and costs must be above zero")
    x, y = [math.log(size) for size in sizes], [math.log(cost) for cost in costs]
    n, mean_x, mean_y = len(x), math.fsum(x) / len(x), math.fsum(y) / len(y)
    spread = math.fsum((a - mean_x) ** 2 for a in x)
    slope = math.fsum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True)) / spread
    residuals = (b - mean_y - slope * (a - mean_x) for a, b in zip(x, y, strict=True))
    variance = math.fsum(residual**2 for residual in residuals) / (n - 2)
    return PowerLaw(exponent=slope, standard_error=math.sqrt(variance / spread))


def windows_of(network: NetworkSpec) -> tuple[int, ...]:
    """Window sides 1 to 8 times the base window, the largest ratio of the paper's networks."""
    return tuple(network.windows.base * ratio for ratio in (1, 2, 3, 4, 6, 8))


def one_block(network: NetworkSpec, window: int) -> NetworkSpec:
    """The network reduced to one block with windows of this side; SpecError if impossible."""
    windows = {**network.windows.model_dump(), "ratios": (window / network.windows.base,)}
    data = {**network.model_dump(), "depths": (1,), "windows": windows}
    return NetworkSpec.parse(data, f"{network.name} in windows of {window}")


def common_picture(windows: Sequence[int]) -> tuple[int, int]:
    """A (width, height) in LR pixels that windows of every side, and 2-grams of them, divide."""
    side = math.lcm(*windows)
    return 4 * side, 2 * side
