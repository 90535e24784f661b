"""How a cost grows with a size: the exponent of a power law, fitted, with its standard error.

The paper's claim that correlation is "linear to window sizes" is about one window. At a fixed
picture there are fewer windows the larger they are, so a cost that grows as tokens^p there grows as
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

MIXER = "groups.0.blocks.0.mixer"  # of a network with one block
PICTURES = (192, 384, 576, 768)  # sides in LR pixels; windows of 4 to 64 pixels divide them all
# Those that are timed are smaller: they take their time. Windows up to 64 pixels divide them too.
TIMED_PICTURES = (64, 128, 192)
LARGEST_TIMED_WINDOW = 64


class Fed(nn.Module):
    """A module with its input, whatever picture it is given: sizes can take turns."""

    def __init__(self, module: nn.Module, given: Tensor) -> None:
        super().__init__()
        self.module = module
        self.register_buffer("given", given)

    def forward(self, _: Tensor) -> Tensor:
        """The module's output for its own input."""
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
    """Time forwards at every size, in turns, and fit the power law of their medians."""
    # Each model has its own input; that of the work is not looked at.
    timings = measure(models, Work((1, 1), device), warmup=warmup, samples=samples)
    points = tuple(
        SizeTime(side=side, tokens=side**2, input_size=size, samples_ms=timing.samples_ms)
        for side, size, timing in zip(sides, input_sizes, timings, strict=True)
    )
    medians = [median(point.samples_ms) for point in points]
    return TimeGrowth(points=points, law=fit_power_law([p.tokens for p in points], medians))


def timed_side(networks: Sequence[NetworkSpec]) -> int:
    """Side of the smallest square that windows of all networks fill, n-grams of them too."""
    return math.lcm(*(multiple for network in networks for multiple in network.multiples))


def fit_power_law(sizes: Sequence[float], costs: Sequence[float]) -> PowerLaw:
    """Exponent p of cost ~ size^p: ordinary least squares on the logarithms.

    Raises ValueError for fewer than three different sizes, or numbers that have no logarithm.
    """
    if len(set(sizes)) < 3:
        raise ValueError(f"want 3 different sizes or more to fit, got {sorted(set(sizes))}")
    if min(*sizes, *costs) <= 0:
        raise ValueError("want sizes and costs above zero")
    x, y = [math.log(size) for size in sizes], [math.log(cost) for cost in costs]
    n, mean_x, mean_y = len(x), math.fsum(x) / len(x), math.fsum(y) / len(y)
    spread = math.fsum((a - mean_x) ** 2 for a in x)
    slope = math.fsum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True)) / spread
    residuals = (b - mean_y - slope * (a - mean_x) for a, b in zip(x, y, strict=True))
    variance = math.fsum(residual**2 for residual in residuals) / (n - 2)
    return PowerLaw(exponent=slope, standard_error=math.sqrt(variance / spread))


def windows_of(network: NetworkSpec) -> tuple[int, ...]:
    """Window sides from a network's base on, as far as the paper's expanding windows go."""
    return tuple(network.windows.base * ratio for ratio in (1, 2, 3, 4, 6, 8))


def one_block(network: NetworkSpec, window: int) -> NetworkSpec:
    """A network cut down to one block, with windows of this side; SpecError where none can be."""
    windows = {**network.windows.model_dump(), "ratios": (window / network.windows.base,)}
    data = {**network.model_dump(), "depths": (1,), "windows": windows}
    return NetworkSpec.parse(data, f"{network.name} in windows of {window}")


def common_picture(windows: Sequence[int]) -> tuple[int, int]:
    """A (width, height) in LR pixels that whole windows of every side fill, n-grams of them too."""
    side = math.lcm(*windows)
    return 4 * side, 2 * side
