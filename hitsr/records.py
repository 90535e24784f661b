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

from hitsr.config import RunSpec
from hitsr.errors import RecordError, SpecError
from hitsr.files import write_text
from hitsr.spec import Formulation, Scale
from hitsr.values import Value

Hash = str


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


class ComplexityRecord(Record):
    """Parameters and FLOPs of a network at one output size.

    FLOPs are what fvcore counts: multiply-accumulates, plus five per LayerNorm element.
    """

    KIND = "complexity"

    network: str
    scale: Scale
    output_size: tuple[PositiveInt, PositiveInt]  # width, height
    input_size: tuple[PositiveInt, PositiveInt]  # width, height
    counter: Literal["torch", "fvcore"]
    formulation: Formulation
    params: PositiveInt
    flops: PositiveInt
    flops_by_operator: dict[str, int]
    uncounted: dict[str, int]  # operator -> number of calls that add nothing to the count


class LatencyRecord(Record):
    """Raw forward times of one network on one device."""

    KIND = "latency"

    network: str
    scale: Scale
    output_size: tuple[PositiveInt, PositiveInt]  # width, height
    input_size: tuple[PositiveInt, PositiveInt]  # width, height
    formulation: Formulation
    dtype: Literal["float32"] = "float32"
    batch: PositiveInt = 1
    clock: Literal["cuda_events", "wall"]
    warmup: NonNegativeInt  # forwards before the first sample
    samples_ms: tuple[PositiveFloat, ...] = Field(min_length=1)
    peak_memory_bytes: NonNegativeInt
    memory_kind: Literal["resident_set", "cuda_allocator"]  # above the resting process


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


class PictureScore(Value):
    name: str
    psnr_db: float | None  # None where the pictures are identical (infinite)
    ssim: float


class QualityRecord(Record):
    """Scores of finished pictures, one by one."""

    KIND = "quality"

    method: str  # the network's name, or "bicubic"
    dataset: str
    scale: Scale
    border: NonNegativeInt
    signatures: dict[str, str]  # metric -> how it was taken
    pictures: tuple[PictureScore, ...] = Field(min_length=1)


def read_log(path: Path) -> list[LogLine]:
    """All lines of a run's log.jsonl; RecordError names a line that is damaged."""
    lines = []
    for number, text in enumerate(path.read_text().splitlines(), 1):
        try:
            lines.append(LogLine.model_validate_json(text))
        except ValueError as error:
            raise RecordError(f"{path}:{number}: damaged log line: {error}") from None
    return lines
