"""Records of parameters, FLOPs, activations and memory, and of how costs grow with sizes."""

from typing import Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from hitsr.base.values import Value
from hitsr.records.record import Record
from hitsr.specs.network import Formulation, Scale

Over = Literal["window", "picture"]  # what a cost grows with


class ModuleCost(Value):
    """What one module adds to a network's cost, what is inside it included."""

    name: str  # such as "groups.0.blocks.2.mixer"
    kind: str  # its class
    params: NonNegativeInt
    flops: NonNegativeInt
    activations: NonNegativeInt | None


class Complexity(Value):
    """What one forward of one picture costs.

    FLOPs are what fvcore counts: multiply-accumulates, plus five per LayerNorm element. Activations
    are what fvcore counts too: elements that convolutions and matrix products put out. Peak memory
    is of the tensors that are alive at once between operators, in float32, above weights and
    picture: found from shapes, so without any kernel's workspace. What the record does not hold
    was not asked for, or written before it could be.
    """

    counter: Literal["torch", "fvcore"]
    params: NonNegativeInt
    flops: NonNegativeInt
    flops_by_operator: dict[str, int]  # sums to flops
    uncounted: dict[str, int]  # operator -> number of calls that add nothing to the count
    activations: NonNegativeInt | None = None
    activations_by_operator: dict[str, int] = Field(default={})  # sums to activations
    peak_activation_bytes: NonNegativeInt | None = None
    peak_activation_at: str | None = None  # innermost module that was running then
    modules: tuple[ModuleCost, ...] = ()  # in the order of the network; a part follows its whole


class ComplexityRecord(Complexity, Record):
    """What a network costs at one output size."""

    KIND = "complexity"

    network: str
    scale: Scale
    output_size: tuple[PositiveInt, PositiveInt]  # width, height
    input_size: tuple[PositiveInt, PositiveInt]  # width, height
    formulation: Formulation | None  # None for a network of one's own, which has but one
    params: PositiveInt
    flops: PositiveInt


class PowerLaw(Value):
    """A cost ~ size^exponent, fitted to the logarithms of both by least squares."""

    exponent: float
    standard_error: NonNegativeFloat


class SizeCost(Value):
    """What one forward costs where windows, or the picture, have this many tokens."""

    side: PositiveInt  # of a window, or of the picture, in LR pixels
    tokens: PositiveInt  # the size whose powers are fitted: side squared
    input_size: tuple[PositiveInt, PositiveInt]  # width, height
    flops: PositiveInt
    activations: PositiveInt
    peak_activation_bytes: PositiveInt


class ScalingRecord(Record):
    """How a network's cost grows with the size of its windows, or of the picture.

    Over windows: FLOPs and activations of the mixer of a one-block network, peak memory of that
    network, at one picture that every window divides. A cost of the whole picture that grows as
    tokens^p grows as tokens^(p + 1) in each window: linear per window is p = 0. Over pictures: all
    of the whole network.
    """

    KIND = "scaling"

    network: str
    scale: Scale
    formulation: Formulation
    over: Over
    points: tuple[SizeCost, ...] = Field(min_length=3)
    flops: PowerLaw
    activations: PowerLaw
    peak_activation_bytes: PowerLaw


class SizeTime(Value):
    """Raw times of forwards where windows, or the picture, have this many tokens."""

    side: PositiveInt  # of a window, or of the picture, in LR pixels
    tokens: PositiveInt  # the size whose powers are fitted: side squared
    input_size: tuple[PositiveInt, PositiveInt]  # width, height
    samples_ms: tuple[PositiveFloat, ...] = Field(min_length=1)


class TimeGrowth(Value):
    """Times at several sizes, which took turns, and the power law of their medians."""

    points: tuple[SizeTime, ...] = Field(min_length=3)
    law: PowerLaw


class ScalingTimeRecord(Record):
    """How a network's time grows on one device with the size of its windows, or of the picture.

    Over windows: the mixer of a one-block network, at one picture that every window divides. Over
    pictures: the whole network.
    """

    KIND = "scaling_time"

    network: str
    scale: Scale
    formulation: Formulation
    windows: TimeGrowth | None  # None where only the other was asked for
    pictures: TimeGrowth | None
