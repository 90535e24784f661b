"""Record of how long steps of training take on a device, measured on noise before a training."""

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, StrictBool

from hitsr.base.values import Value
from hitsr.records.record import Record
from hitsr.specs.network import NetworkSpec, Scale
from hitsr.specs.recipe import TrainingPrecision


class StepWork(Value):
    """All that the time of a training step depends on, besides the device."""

    network: NetworkSpec  # whose name plays no part: see `work_of`
    scale: Scale
    batch: PositiveInt
    parts: PositiveInt = 1
    patch: PositiveInt
    precision: TrainingPrecision = "float32"
    deterministic: StrictBool = True
    compile: StrictBool = False
    recompute: StrictBool = False

    @property
    def pixels(self) -> int:
        """LR pixels of a step."""
        return self.batch * self.patch**2


class StepTimeRecord(Record):
    """Raw times of steps, after some that warmed up. Without validations and checkpoints."""

    KIND = "step_time"

    work: StepWork
    params: PositiveInt
    samples_s: tuple[PositiveFloat, ...] = Field(min_length=1)
    # Of all devices together: seconds of GPUs, processor time of CPUs.
    device_samples_s: tuple[NonNegativeFloat, ...] = Field(min_length=1)
