"""How a network is trained: every value that changes the trained weights, or the log."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, StrictBool, model_validator

from hitsr.base.errors import SpecError
from hitsr.base.names import FolderName, Name
from hitsr.base.values import Count, Number, Steps, Value
from hitsr.specs.network import Scale

Beta = Annotated[Number, Field(ge=0, lt=1)]
StepsOrNone = Annotated[Steps, Field(ge=0)]
# How products are computed; weights are float32. tf32: with 10 bits of mantissa, on NVIDIA GPUs.
# By autocast, bfloat16: with 7 bits; float16: with 10 and a small range, so the loss is scaled.
TrainingPrecision = Literal["float32", "tf32", "bfloat16", "float16"]


class Recipe(Value):
    """How a network is trained: L1, Adam, and a learning rate that rises, stays and falls.

    The defaults are those of HiT-SR; `specs.recipes` knows those of other networks by name. Where
    training starts from a network of another scale, its upsampler starts from random weights.
    """

    steps: Steps  # of Adam; never epochs
    batch: Count  # patches of a step, on all devices together
    # Equal parts that a batch is computed in, one after another or on several devices at once.
    # Their gradients are added in order, so the number of devices changes no bit.
    parts: Count = 1
    patch: Count  # side of the LR patch, in pixels
    learning_rate: Number = Field(gt=0, le=1)
    betas: tuple[Beta, Beta] = (0.9, 0.99)
    # Steps in which the rate rises in a straight line: first ones, or those after upsampler_only.
    warm_up: StepsOrNone = 0
    # Steps after which the rate is multiplied by decay; of all steps, the warm-up's included.
    milestones: tuple[Steps, ...] = ()
    decay: Number = Field(default=0.5, gt=0, lt=1)
    # The rate falls to this part of itself along half a cosine, from the warm-up to the last step.
    cosine_to: Annotated[Number, Field(ge=0, lt=1)] | None = None
    # First steps, in which only the upsampler learns, at the full rate, as in SwinIR-NG's code for
    # x3 and x4; after them Adam's moments start anew.
    upsampler_only: StepsOrNone = 0
    # Decay of the exponential moving average (EMA) of weights, which then is the result.
    ema: Annotated[Number, Field(gt=0, lt=1)] | None = None
    clip: Annotated[Number, Field(gt=0)] | None = None  # the largest norm of a step's gradient
    log_every: Steps = 100  # steps
    validate_every: Steps = 1000  # steps; the last step is always validated
    validated: Literal["average", "weights"] = "average"  # with `ema`
    precision: TrainingPrecision = "float32"
    deterministic: StrictBool = True  # only kernels that repeat every bit; false: the fastest

    @model_validator(mode="before")
    @classmethod
    def _no_old_name(cls, data: Any) -> Any:
        if isinstance(data, dict) and "autocast" in data:
            raise ValueError(
                "autocast: was replaced by `precision`; write `precision: bfloat16` for true, and "
                "leave it out for false"
            )
        return data

    @model_validator(mode="after")
    def _milestones_rise(self) -> Self:
        if list(self.milestones) != sorted(set(self.milestones)):
            raise ValueError("milestones: must increase, each listed once")
        if self.milestones and self.milestones[-1] >= self.steps:
            raise ValueError(f"milestones: {self.milestones[-1]} must be below steps, {self.steps}")
        if self.milestones and self.cosine_to is not None:
            raise ValueError("milestones, cosine_to: the rate falls in one of these ways; keep one")
        return self

    @model_validator(mode="after")
    def _beginnings_end(self) -> Self:
        if (first := self.upsampler_only + self.warm_up) >= self.steps:
            raise ValueError(
                f"warm_up, upsampler_only: together {first}, must be below steps, {self.steps}"
            )
        return self

    @model_validator(mode="after")
    def _parts_are_equal(self) -> Self:
        if self.batch % self.parts:
            raise ValueError(
                f"parts: a batch of {self.batch} cannot be parted into {self.parts} equal parts"
            )
        return self


def check_sharing(parts: int, processes: int, where: str = "") -> None:
    """Raise SpecError, which begins with `where`, unless processes can share the parts equally."""
    if parts % processes:
        raise SpecError(
            f"{where}gpus: {processes} does not divide the recipe's parts, {parts}, which the "
            "processes share; write gpus that do, or, for other weights, a multiple of "
            f"{processes} as parts"
        )


class Gate(Value):
    """A PSNR that trainings of a network had at a step, by which a bad one is noticed early."""

    network: Name
    scale: Scale
    validation: FolderName  # the set
    step: Steps
    psnr_db: Number = Field(gt=0, lt=160)
    tolerance_db: Number = Field(default=0.1, ge=0)
    source: str  # who says so
