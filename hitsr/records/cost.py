"""Records of parameters, FLOPs, activations and memory, and of how costs grow with sizes."""

from typing import Literal, Self

from pydantic import (
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from hitsr.base.values import Value
from hitsr.records.record import Record
from hitsr.specs.config import Over
from hitsr.specs.network import Formulation, Scale


class ModuleCost(Value):
    """The cost of one module, including its submodules."""

    name: str  # such as "groups.0.blocks.2.mixer"
    kind: str  # its class
    params: NonNegativeInt
    flops: NonNegativeInt
    activations: NonNegativeInt | None


class Complexity(Value):
    """The cost of one forward of one picture.

    FLOPs and activations follow fvcore. FLOPs are multiply-accumulates, plus five per LayerNorm
    element. Activations are elements of the outputs of convolutions and matrix products. Peak
    memory is that of the tensors alive at once between operators, in float32, above weights and
    picture; it is computed from shapes, so the workspace of kernels is not included. None: the
    quantity was not requested, or is newer than the record.
    """

    counter: Literal["torch", "fvcore"]
    params: NonNegativeInt
    flops: NonNegativeInt
    flops_by_operator: dict[str, int]  # sums to flops
    uncounted: dict[str, int]  # operator -> number of calls that add nothing to the count
    # Operator or kernel -> number of calls whose FLOPs, if any, are not in the count.
    unknown: dict[str, int] = Field(default={})
    activations: NonNegativeInt | None = None
    activations_by_operator: dict[str, int] = Field(default={})  # sums to activations
    peak_activation_bytes: NonNegativeInt | None = None
    peak_activation_at: str | None = None  # innermost module that was running at the peak
    modules: tuple[
        ModuleCost, ...
    ] = ()  # in the order of the network; submodules follow their module

    @model_validator(mode="after")
    def _operators_sum_to_the_total(self) -> Self:
        for total, parts in (
            (self.flops, self.flops_by_operator),
            (self.activations, self.activations_by_operator),
        ):
            if parts and total is not None and sum(parts.values()) != total:
                raise ValueError(f"operators sum to {sum(parts.values())}, not to {total}")
        return self


class ComplexityRecord(Complexity, Record):
    """The cost of a network at one output size."""

    KIND = "complexity"

    network: str
    scale: Scale
    output_size: tuple[PositiveInt, PositiveInt]  # width, height
    input_size: tuple[PositiveInt, PositiveInt]  # width, height
    formulation: Formulation | None  # None for a user's own network


class PowerLaw(Value):
    """cost ~ size^exponent, fitted by least squares to the logarithms of both."""

    exponent: float
    standard_error: NonNegativeFloat


class SizeCost(Value):
    """The cost of one forward with windows, or a picture, of this many tokens."""

    side: PositiveInt  # of the window or picture, in LR pixels
    tokens: PositiveInt  # side squared; the size in the power law
    input_size: tuple[PositiveInt, PositiveInt]  # width, height
    flops: PositiveInt
    activations: PositiveInt
    peak_activation_bytes: PositiveInt


class ScalingRecord(Record):
    """How a network's cost grows with the size of its windows, or of the picture.

    Over windows, FLOPs and activations are those of the mixer of a one-block network, peak memory
    is that of the one-block network, on one picture that every window divides. A cost that grows as
    tokens^p on that picture grows as tokens^(p + 1) per window: p = 0 is linear per window. Over
    pictures, all costs are those of the whole network.
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
    """Raw times of forwards with windows, or a picture, of this many tokens."""

    side: PositiveInt  # of the window or picture, in LR pixels
    tokens: PositiveInt  # side squared; the size in the power law
    input_size: tuple[PositiveInt, PositiveInt]  # width, height
    samples_ms: tuple[PositiveFloat, ...] = Field(min_length=1)


class TimeGrowth(Value):
    """Times at several sizes that took turns, and the power law fitted to their medians."""

    points: tuple[SizeTime, ...] = Field(min_length=3)
    law: PowerLaw


class ScalingTimeRecord(Record):
    """How a network's time grows on one device with the size of its windows, or of the picture.

    Over windows, the mixer of a one-block network is timed, on one picture that every window
    divides. Over pictures, the whole network is timed.
    """

    KIND = "scaling_time"

    network: str
    scale: Scale
    formulation: Formulation
    windows: TimeGrowth | None  # None if only pictures were requested
    pictures: TimeGrowth | None  # None if only windows were requested
