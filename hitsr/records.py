"""What was measured, how, by which code: every result file is one class of this module.

Records keep raw samples; averages belong to the report. Units end the field names. A quantity that
was not measured is absent (None), never zero or NaN.
"""

import json
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from pydantic import (
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from hitsr.config import Dtype, RunSpec
from hitsr.errors import RecordError, SpecError
from hitsr.files import write_text
from hitsr.spec import Formulation, Kernel, Scale
from hitsr.values import Value

Hash = str
Over = Literal["window", "picture"]  # what a cost grows with
OWN = "own"  # stands for the formulation in the names of files


class Provenance(Value):
    """Which code, on which machine, with what, and for how long."""

    commit: str | None  # None outside a git checkout
    dirty: bool | None
    versions: dict[str, str]  # package -> version; python among them
    device: str  # "cpu", "cuda:0"
    device_name: str
    threads: PositiveInt
    command: str
    seed: int | None = None
    seconds: NonNegativeFloat


class Record(Value):
    """A result file: its schema, the hash of what it measures, and provenance."""

    KIND: ClassVar[str]
    VERSION: ClassVar[int] = 1

    schema_: str = Field(alias="schema", default="")
    subject: str  # name of the run or network that was measured
    subject_hash: Hash
    provenance: Provenance

    model_config = ConfigDict(populate_by_name=True, serialize_by_alias=True)

    @model_validator(mode="before")
    @classmethod
    def _schema_is_this_class(cls, data: Any) -> Any:
        return {"schema": cls.schema_name(), **data} if isinstance(data, dict) else data

    @classmethod
    def schema_name(cls) -> str:
        return f"{cls.KIND}/{cls.VERSION}"

    def save(self, path: Path) -> None:
        """Write whole or not at all."""
        write_text(path, self.to_json())

    @classmethod
    def load(cls, path: Path, subject_hash: Hash | None = None) -> Self:
        """Read a record; RecordError if damaged, of another schema or, where given, subject."""
        try:
            data = json.loads(path.read_text())
            found = data["schema"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RecordError(f"{path}: not a record ({error!r}); delete it and rerun") from None
        if found != cls.schema_name():
            raise RecordError(
                f"{path}: schema is {found!r}, this version reads {cls.schema_name()!r}; "
                "delete it and rerun"
            )
        try:
            record = cls.parse(data, str(path))
        except SpecError as error:
            raise RecordError(f"{error}\n{path}: damaged record; delete it and rerun") from None
        if subject_hash is not None and record.subject_hash != subject_hash:
            raise RecordError(
                f"{path}: measures {record.subject_hash}, but {record.subject} is now "
                f"{subject_hash}; delete it and rerun"
            )
        return record


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


class TrainingRecord(Record):
    """What a training run did; its curve is in the log beside it."""

    KIND = "training"

    run: RunSpec
    params: PositiveInt
    pictures: PositiveInt  # in the training set
    final_loss: NonNegativeFloat  # mean absolute error over the last logging interval, in [0, 1]
    final_validation_psnr_db: float | None
    weights_sha256: str


class LogLine(Value):
    """One line of a run's log.jsonl."""

    step: PositiveInt
    loss: NonNegativeFloat  # mean since the last line
    learning_rate: PositiveFloat
    seconds: NonNegativeFloat  # since the start
    validation_psnr_db: float | None = None


class PictureFile(Value):
    """One pair of a prepared set: which files, of what size."""

    name: str
    lr_size: tuple[PositiveInt, PositiveInt]  # width, height
    hr_size: tuple[PositiveInt, PositiveInt]  # width, height; before cropping to a multiple
    lr_sha256: str
    hr_sha256: str


class DatasetRecord(Record):
    """The pairs of one set at one scale, as they were found when the pipeline ran."""

    KIND = "dataset"

    scale: Scale
    pictures: tuple[PictureFile, ...] = Field(min_length=1)


class ChannelScore(Value):
    psnr_db: float | None  # None where the pictures are identical (infinite)
    ssim: float


class PictureScore(ChannelScore):
    """One picture's scores: PSNR and SSIM on luma, and what else was asked for."""

    name: str
    rgb: ChannelScore | None = None
    grey: ChannelScore | None = None  # of a grey HR picture, scored on its samples as they are
    others: dict[str, float] = Field(default={})  # metric of pyiqa -> value


class QualityRecord(Record):
    """Scores of finished pictures, one by one."""

    KIND = "quality"

    method: str  # the network's name, or "bicubic"
    dataset: str
    scale: Scale
    border: NonNegativeInt
    signatures: dict[str, str]  # metric -> how it was taken
    unavailable: dict[str, str] = Field(default={})  # metric -> why not
    pictures: tuple[PictureScore, ...] = Field(min_length=1)


class AttributionSettings(Value):
    """How local attribution maps are taken; the defaults are those of the field (LAM_Demo)."""

    objective: Literal["gradient_magnitude"] = "gradient_magnitude"  # summed over the window
    path: Literal["gaussian_blur"] = "gaussian_blur"  # from sigma to 0
    sigma: float = Field(default=1.2, gt=0.25)  # LR pixels; below, nothing would be blurred
    kernel: PositiveInt = Field(default=9, ge=3)  # LR pixels; odd
    steps: PositiveInt = 50
    quadrature: Literal["right", "midpoint"] = "right"

    @model_validator(mode="after")
    def _kernel_is_odd(self) -> Self:
        if self.kernel % 2 == 0:
            raise ValueError(f"kernel: {self.kernel} is even; it needs a centre")
        return self


class RefinedAttribution(Value):
    """The same map along a path refined until its completeness error was below 1 %."""

    steps: PositiveInt
    quadrature: Literal["midpoint"] = "midpoint"
    diffusion_index: NonNegativeFloat
    completeness_error: NonNegativeFloat


class WindowAttribution(Value):
    """What one window of one picture draws on."""

    picture: str
    lr_sha256: str
    lr_size: tuple[PositiveInt, PositiveInt]  # width, height; after cropping around the window
    window: tuple[NonNegativeInt, NonNegativeInt, PositiveInt]  # x, y, side; HR pixels of the crop
    corner: tuple[NonNegativeInt, NonNegativeInt] = (0, 0)  # x, y of the crop in the LR picture
    diffusion_index: float = Field(ge=0, le=100)
    information_area: float = Field(gt=0, le=1)  # share of LR pixels with 90 % of the density
    completeness_error: NonNegativeFloat  # relative
    refined: RefinedAttribution | None
    channels: str  # .npy beside the record: (3, h, w) float32, signed
    overlay: str  # .png beside the record: picture, map, density


class AttributionRecord(Record):
    """Local attribution maps of one network, window by window."""

    KIND = "attribution"

    network: str
    scale: Scale
    dataset: str | None  # None where pictures were named one by one
    window_rule: Literal["given", "busiest"]
    settings: AttributionSettings
    weights_sha256: str | None  # None for a network of one's own, which brings its weights
    windows: tuple[WindowAttribution, ...] = Field(min_length=1)


def read_log(path: Path) -> list[LogLine]:
    """All lines of a run's log.jsonl; RecordError names a line that is damaged."""
    lines = []
    for number, text in enumerate(path.read_text().splitlines(), 1):
        try:
            lines.append(LogLine.model_validate_json(text))
        except ValueError as error:
            raise RecordError(f"{path}:{number}: damaged log line: {error}") from None
    return lines
