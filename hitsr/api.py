"""Functions that build a network and measure it: `models` and `measure` do not know each other."""

import copy
from collections.abc import Sequence

import torch
from torch import nn

from hitsr.base.progress import Progress
from hitsr.measure.complexity import FlopCounter, count, input_size_for
from hitsr.measure.scaling import (
    LARGEST_TIMED_WINDOW,
    MIXER,
    TIMED_PICTURES,
    Fed,
    common_picture,
    one_block,
    time_growth,
    timed_side,
    windows_of,
)
from hitsr.models.backbone import create
from hitsr.records import Complexity, ModuleCost, SizeCost, TimeGrowth
from hitsr.specs.network import Formulation, NetworkSpec


def complexity(
    network: str | NetworkSpec,
    scale: int,
    output_size: tuple[int, int] = (1280, 720),
    *,
    counter: FlopCounter = "torch",
    formulation: Formulation = "paper",
) -> Complexity:
    """Count parameters, FLOPs and activations of a network at an output size of (width, height).

    FLOPs are what fvcore counts: multiply-accumulates, plus five per LayerNorm element. Published
    FLOPs match the paper formulation. There both counters give equal integers; "torch" takes
    seconds and "fvcore" minutes. Only "torch" can count the fused formulation. Raises SpecError
    for an unknown network or scale.
    """
    return _cost(network, scale, input_size_for(output_size, scale), counter, formulation)


def own_complexity(
    model: nn.Module, scale: int, output_size: tuple[int, int], counter: FlopCounter = "torch"
) -> Complexity:
    """Like `complexity`, for any module; operators that cannot be counted are listed."""
    return count(model, input_size_for(output_size, scale), counter, strict=False)


def costs_over_windows(
    network: NetworkSpec, scale: int, windows: Sequence[int], formulation: Formulation
) -> tuple[SizeCost, ...]:
    """Count the mixer of a one-block network at each window side, on one picture for all sides.

    Raises SpecError for a side that is impossible for the network.
    """
    networks = {side: one_block(network, side) for side in windows}
    size = common_picture(windows)
    points = []
    with Progress(f"{network.name} over windows", len(windows), "size") as progress:
        for side, variant in networks.items():
            cost = _cost(variant, scale, size, "torch", formulation)
            mixer = next(module for module in cost.modules if module.name == MIXER)
            points.append(_point(side, size, mixer, cost))
            progress.advance()
    return tuple(points)


def costs_over_pictures(
    network: NetworkSpec, scale: int, sides: Sequence[int], formulation: Formulation
) -> tuple[SizeCost, ...]:
    """Count the network on square pictures of each side, in LR pixels."""
    points = []
    with Progress(f"{network.name} over pictures", len(sides), "size") as progress:
        for side in sides:
            cost = _cost(network, scale, (side, side), "torch", formulation)
            points.append(_point(side, (side, side), cost, cost))
            progress.advance()
    return tuple(points)


def times_over_windows(
    network: NetworkSpec,
    scale: int,
    formulation: Formulation,
    device: torch.device,
    *,
    warmup: int,
    samples: int,
) -> TimeGrowth:
    """Time the mixer of a one-block network at each window side, on one picture."""
    sides = [side for side in windows_of(network) if side <= LARGEST_TIMED_WINDOW]
    variants = [one_block(network, side) for side in sides]
    side = timed_side(variants)
    models = []
    for variant in variants:
        mixer = create(variant, scale, formulation=formulation).get_submodule(MIXER)
        models.append(Fed(mixer, torch.randn(1, side, side, network.width)))
    sizes = [(side, side)] * len(sides)
    return time_growth(sides, models, sizes, device, warmup=warmup, samples=samples)


def times_over_pictures(
    network: NetworkSpec,
    scale: int,
    formulation: Formulation,
    device: torch.device,
    *,
    warmup: int,
    samples: int,
) -> TimeGrowth:
    """Time the network on square pictures of several sides."""
    sides = TIMED_PICTURES
    model = create(network, scale, formulation=formulation)
    models = [Fed(copy.deepcopy(model), torch.rand(1, 3, side, side)) for side in sides]
    sizes = [(side, side) for side in sides]
    return time_growth(sides, models, sizes, device, warmup=warmup, samples=samples)


def _cost(
    network: str | NetworkSpec,
    scale: int,
    input_size: tuple[int, int],
    counter: FlopCounter,
    formulation: Formulation,
) -> Complexity:
    # The fused formulation and fvcore need real samples; otherwise shapes suffice (meta device).
    with torch.device("meta" if counter == "torch" and formulation != "fused" else "cpu"):
        model = create(network, scale, formulation=formulation)
    return count(model, input_size, counter)


def _point(
    side: int, size: tuple[int, int], part: Complexity | ModuleCost, whole: Complexity
) -> SizeCost:
    assert part.activations is not None
    assert whole.peak_activation_bytes is not None
    return SizeCost(
        side=side,
        tokens=side**2,
        input_size=size,
        flops=part.flops,
        activations=part.activations,
        peak_activation_bytes=whole.peak_activation_bytes,
    )
