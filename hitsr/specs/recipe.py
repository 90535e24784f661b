"""How a network is trained: every value that changes the trained weights."""

from typing import Self

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from hitsr.base.values import Value


class Recipe(Value):
    """How a network is trained: L1, Adam, and a learning rate that falls at milestones."""

    steps: PositiveInt
    batch: PositiveInt
    patch: PositiveInt  # side of the LR patch, in pixels
    learning_rate: PositiveFloat
    betas: tuple[float, float] = (0.9, 0.99)
    milestones: tuple[PositiveInt, ...] = ()  # steps after which the rate is multiplied by decay
    decay: float = Field(default=0.5, gt=0, lt=1)
    log_every: PositiveInt = 100  # steps
    validate_every: PositiveInt = 1000  # steps; the last step is always validated
    autocast: bool = False  # products in bfloat16, which changes the trained weights

    @model_validator(mode="after")
    def _milestones_rise(self) -> Self:
        if list(self.milestones) != sorted(set(self.milestones)):
            raise ValueError(f"milestones: {self.milestones} must increase")
        if self.milestones and self.milestones[-1] >= self.steps:
            raise ValueError(f"milestones: {self.milestones[-1]} must be before step {self.steps}")
        return self
