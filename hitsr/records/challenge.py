"""Record of a network measured by the protocol of the NTIRE challenge on efficient SR."""

from typing import Annotated, Literal, Self

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from hitsr.base.values import Value
from hitsr.records.latency import MachineState, PeakMemory
from hitsr.records.pictures import NAMED_ONCE
from hitsr.records.record import Decibels, Record, Sha256
from hitsr.specs.network import Formulation


class EntryPicture(Value):
    """One LR picture that the network upscaled, and its HR picture if it was scored."""

    name: str
    lr_size: tuple[PositiveInt, PositiveInt]  # width, height
    lr_sha256: Sha256
    hr_sha256: Sha256 | None = None


class EntryRun(PeakMemory):
    """One pass over all pictures in a fresh process, without a warm-up."""

    times_ms: tuple[PositiveFloat, ...] = Field(min_length=1)  # of each picture, in order
    # Of each picture, on RGB; None: identical. None for all: there were no HR pictures.
    psnr_db: tuple[Decibels | None, ...] | None = None
    clock: Literal["cuda_events", "wall"]
    settings: dict[str, str] = Field(default={})  # torch settings that trade exactness for speed


class NtireRecord(Record):
    """What the challenge's test code would say of a network on these pictures and this device.

    FLOPs (multiply-accumulates, as fvcore counts), activations (elements of the outputs of
    `nn.Conv2d` and `nn.ConvTranspose2d` modules) and their calls are those of a 256x256 picture;
    peak memory includes the weights.
    """

    KIND = "ntire"

    network: str
    scale: Literal[4] = 4
    formulation: Formulation | None  # None for a user's own network
    weights_sha256: Sha256 | None = None  # None: random, or loaded by a user's own code
    params: PositiveInt
    flops: NonNegativeInt
    unknown: dict[str, int] = Field(default={})  # as in `Complexity`
    activations: NonNegativeInt
    convolutions: NonNegativeInt
    pictures: Annotated[tuple[EntryPicture, ...], Field(min_length=1), NAMED_ONCE]
    runs: tuple[EntryRun, ...] = Field(min_length=1)
    before: MachineState | None = None
    after: MachineState | None = None

    @model_validator(mode="after")
    def _every_run_has_every_picture(self) -> Self:
        for run in self.runs:
            for values in filter(None, (run.times_ms, run.psnr_db)):
                if len(values) != len(self.pictures):
                    raise ValueError(f"{len(values)} values for {len(self.pictures)} pictures")
        return self
