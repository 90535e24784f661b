"""Records of forward times, with the machine that they were taken on."""

from typing import Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from hitsr.base.values import Value
from hitsr.records.record import Record
from hitsr.specs.config import Dtype
from hitsr.specs.network import Formulation, Kernel, Scale

OWN = "own"  # stands for the formulation in the names of files


class MachineState(Value):
    """What the platform told of clocks and driver at one moment; None where it did not tell."""

    cpu_mhz: PositiveFloat | None = None  # mean over logical processors
    cpu_governor: str | None = None  # such as "performance"
    gpu_driver: str | None = None
    gpu_mhz: float | None = None  # of the multiprocessors, now
    gpu_max_mhz: float | None = None
    gpu_memory_mhz: float | None = None
    gpu_temperature_c: float | None = None
    gpu_power_limit_w: float | None = None


class Energy(Value):
    """What a whole device consumed, other processes and idle power included."""

    joules: NonNegativeFloat
    seconds: PositiveFloat  # what that took, gaps between forwards included


class Timing(Value):
    """Raw forward times of one batch on one device, and how they were taken.

    Weights and pictures have the dtype and, if `channels_last`, that layout. With `autocast`,
    convolutions and matrix products compute in bfloat16 all the same. `clock` "wall" waits for the
    device to finish before it reads the time.
    """

    dtype: Dtype = "float32"
    batch: PositiveInt = 1  # pictures in one forward
    channels_last: bool = False
    compiled: bool = False  # by torch.compile
    compile_seconds: PositiveFloat | None = None  # the first forward, which compiles
    autocast: bool = False
    clock: Literal["cuda_events", "wall"]
    warmup: NonNegativeInt  # forwards before the first sample, compiling aside
    warmup_ms: tuple[PositiveFloat, ...] | None = None  # their times
    warmup_stable: bool | None = None  # it ended since its last times agreed, not at its limit
    samples_ms: tuple[PositiveFloat, ...] = Field(min_length=1)  # of the whole batch
    # Equal in records whose forwards took turns, sample by sample; None of one that ran alone.
    session: str | None = None
    energy: Energy | None = None  # of all samples, of a model that ran alone
    settings: dict[str, str] = Field(default={})  # of torch, that trade exactness for speed
    before: MachineState | None = None  # at rest, before the warm-up
    after: MachineState | None = None  # right after the last sample


class PeakMemory(Value):
    """Highest use of memory above that of the resting process, model and pictures in it."""

    peak_memory_bytes: NonNegativeInt
    memory_kind: Literal["resident_set", "cuda_allocator", "mps_allocator"]


class LatencyRecord(Timing, PeakMemory, Record):
    """Raw forward times of one network on one device, and the memory of the same forwards."""

    KIND = "latency"

    network: str
    scale: Scale
    output_size: tuple[PositiveInt, PositiveInt]  # width, height
    input_size: tuple[PositiveInt, PositiveInt]  # width, height
    formulation: Formulation | None  # None for a network of one's own, which has but one
    kernel: Kernel | None = None  # what computed the products of its mixers, where it is ours

    @property
    def setup(self) -> str:
        """What tells its file from others of the same network: see `latency_setup`."""
        return latency_setup(
            self.provenance.device,
            self.formulation,
            self.batch,
            self.dtype,
            self.channels_last,
            self.compiled,
            self.autocast,
        )

    def over(self, other: "LatencyRecord") -> tuple[float, ...]:
        """How many times as long each forward took as the `other`'s beside it.

        Empty where they did not take turns: what the machine did then met only one of them.
        """
        if self.session is None or self.session != other.session:
            return ()
        return tuple(a / b for a, b in zip(self.samples_ms, other.samples_ms, strict=True))


def latency_setup(
    device: str,
    formulation: Formulation | None,
    batch: int = 1,
    dtype: Dtype = "float32",
    channels_last: bool = False,
    compiled: bool = False,
    autocast: bool = False,
) -> str:
    """How a latency is taken, as its file says it: `cuda.fused`, `cpu.paper.b4.float16.compiled`.

    What is as usual (one picture, float32, no layout or compiling asked for) is not named.
    """
    parts = (
        device.partition(":")[0],
        formulation or OWN,
        f"b{batch}" if batch > 1 else "",
        dtype if dtype != "float32" else "",
        "channels_last" if channels_last else "",
        "compiled" if compiled else "",
        "autocast" if autocast else "",
    )
    return ".".join(filter(None, parts))
