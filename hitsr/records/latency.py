"""Records of forward times, and of the state of the machine."""

from typing import Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from hitsr.base.values import Value
from hitsr.records.record import Record
from hitsr.specs.network import Formulation, Kernel, Scale
from hitsr.specs.steps import Launch, Precision


class MachineState(Value):
    """Clocks, load and temperature at one moment, and who else is there; None if unknown."""

    cpu_mhz: PositiveFloat | None = None  # mean over logical processors
    cpu_governor: str | None = None  # such as "performance"
    cpu_load: NonNegativeFloat | None = None  # mean of the last minute, this process included
    cpus: PositiveInt | None = None  # logical processors
    gpu_driver: str | None = None
    gpu_mhz: float | None = None  # of the multiprocessors, now
    gpu_max_mhz: float | None = None
    gpu_memory_mhz: float | None = None
    gpu_temperature_c: float | None = None
    gpu_power_limit_w: float | None = None
    gpu_held_down_by: tuple[str, ...] | None = None  # why its clocks are lower than they could be
    gpu_other_processes: NonNegativeInt | None = None  # besides this one and its children
    gpu_other_memory_mb: NonNegativeFloat | None = None  # of these together


class Energy(Value):
    """Energy that a whole device used, including other processes and idle power."""

    joules: NonNegativeFloat
    seconds: PositiveFloat  # measured time, including gaps between forwards


class Timing(Value):
    """Raw forward times of one batch on one device, and how they were measured.

    With `channels_last`, weights and pictures have that memory layout. Clock "wall" waits for the
    device to finish before it reads the time.
    """

    precision: Precision = "float32"
    launch: Launch = "eager"
    batch: PositiveInt = 1  # pictures in one forward
    channels_last: bool = False
    # Of the first forward, which compiles or captures the graph; None for "eager".
    preparation_seconds: PositiveFloat | None = None
    clock: Literal["cuda_events", "wall"]
    warmup: NonNegativeInt  # forwards before the first sample, after the preparation
    warmup_ms: tuple[PositiveFloat, ...] | None = None  # times of the warm-up
    # True: the last times agreed; False: they did not at the limit; None: too few to tell.
    warmup_stable: bool | None = None
    samples_ms: tuple[PositiveFloat, ...] = Field(min_length=1)  # of the whole batch
    # Equal in records whose forwards took turns, sample by sample; None for a network timed alone.
    session: str | None = None
    energy: Energy | None = None  # of all samples; only for a network timed alone
    # Torch settings that trade exactness for speed, Triton kernels of a forward, choices by trial.
    settings: dict[str, str] = Field(default={})
    before: MachineState | None = None  # at rest, before the warm-up
    after: MachineState | None = None  # right after the last sample


TRITON_KERNELS = "triton_kernels"  # a setting: names of those that a forward launches, or "none"


class PeakMemory(Value):
    """Peak memory above that at rest, when the process already holds model and pictures."""

    peak_memory_bytes: NonNegativeInt
    memory_kind: Literal["resident_set", "cuda_allocator", "mps_allocator"]


class LatencyRecord(Timing, PeakMemory, Record):
    """Raw forward times of one network on one device, and its peak memory."""

    KIND = "latency"

    network: str
    scale: Scale
    output_size: tuple[PositiveInt, PositiveInt]  # width, height
    input_size: tuple[PositiveInt, PositiveInt]  # width, height
    formulation: Formulation | None  # None for a user's own network
    kernel: Kernel | None = (
        None  # what computed the mixers' products; None for a user's own network
    )

    def over(self, other: "LatencyRecord") -> tuple[float, ...]:
        """Ratios of the times of neighbouring forwards: this record's over the other's.

        Empty if the two did not take turns, since other load may then have slowed only one of them.
        """
        if self.session is None or self.session != other.session:
            return ()
        return tuple(a / b for a, b in zip(self.samples_ms, other.samples_ms, strict=True))
