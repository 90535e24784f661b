"""How a network is trained: every value that changes the trained weights."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, StrictBool, model_validator

from hitsr.base.values import Count, Number, Steps, Value

Beta = Annotated[Number, Field(ge=0, lt=1)]
# How products are computed; weights are float32. tf32: with 10 bits of mantissa, on NVIDIA GPUs.
# bfloat16: by autocast, with 7 bits.
TrainingPrecision = Literal["float32", "tf32", "bfloat16"]


class Recipe(Value):
    """How a network is trained: L1, Adam, and a learning rate that falls at milestones."""

    steps: Steps
    batch: Count
    patch: Count  # side of the LR patch, in pixels
    learning_rate: Number = Field(gt=0, le=1)
    betas: tuple[Beta, Beta] = (0.9, 0.99)
    milestones: tuple[Steps, ...] = ()  # steps after which the rate is multiplied by decay
    decay: Number = Field(default=0.5, gt=0, lt=1)
    log_every: Steps = 100  # steps
    validate_every: Steps = 1000  # steps; the last step is always validated
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
        return self
