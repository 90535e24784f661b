"""Records of training runs, and the lines of their logs."""

import hashlib
from pathlib import Path
from typing import Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, StrictBool

from hitsr.base.errors import RecordError, SpecError, shortened
from hitsr.base.files import content_of
from hitsr.base.reading import MOST_JSON, UTF_8, parse_json
from hitsr.base.values import Value
from hitsr.records.pictures import BICUBIC_LR
from hitsr.records.record import Decibels, Hash, Record
from hitsr.specs.recipe import Gate
from hitsr.specs.run import RunSpec

_REMEDY = "delete the training’s folder, and rerun"


class Session(Value):
    """What one start of a training did; a training that was stopped has several."""

    first_step: PositiveInt
    last_step: PositiveInt
    seconds: NonNegativeFloat
    device_name: str
    devices: PositiveInt = 1  # processes that shared each batch, a device each
    commit: str | None = None  # of hitsr
    code: str | None = None  # hash of the code of training (`plan.fingerprint`)
    torch: str | None = None  # its version
    threads: PositiveInt | None = None

    @property
    def place(self) -> str:
        """ "4 × NVIDIA H100"."""
        several = f"{self.devices}\u00a0× " if self.devices > 1 else ""
        return several + self.device_name


class GateResult(Value):
    """Validation PSNR at a gate of the training."""

    gate: Gate
    reached_db: Decibels

    @property
    def is_passed(self) -> bool:
        return self.reached_db >= self.gate.psnr_db - self.gate.tolerance_db


class TrainingRecord(Record):
    """The result of a training run; the log beside it holds the curve."""

    KIND = "training"

    run: RunSpec
    params: PositiveInt
    pictures: PositiveInt  # in the training set
    # Of torch, which choose kernels, by name; empty: made before records held them.
    settings: dict[str, str] = Field(default={})
    sessions: tuple[Session, ...] = ()  # empty: made before records held them
    skipped: tuple[PositiveInt, ...] = ()  # steps whose loss or gradient was not finite
    gates: tuple[GateResult, ...] = ()
    graph: StrictBool = False  # whether steps were launched as a CUDA graph
    no_graph: str | None = None  # why not, if one was wanted
    degradation: str = BICUBIC_LR  # how its LR pictures were made, as in a DatasetRecord
    final_loss: NonNegativeFloat  # mean absolute error over the last logging interval, in [0, 1]
    final_validation_psnr_db: Decibels | None
    weights_sha256: str
    log_sha256: str | None = None  # None: made before records named their logs

    @property
    def validated(self) -> Literal["weights", "averaged weights"]:
        """What its validation PSNR is of."""
        recipe = self.run.recipe
        is_average = recipe.ema is not None and recipe.validated == "average"
        return "averaged weights" if is_average else "weights"

    @property
    def is_average(self) -> bool:
        """Whether the weights are the average of the training's."""
        return self.run.recipe.ema is not None


class LogLine(Value):
    """One line of a run's log.jsonl."""

    step: PositiveInt
    # Mean since the last line; None: until now no step had a finite gradient.
    loss: NonNegativeFloat | None
    learning_rate: PositiveFloat
    seconds: NonNegativeFloat  # of training so far, in all sessions
    # Of all devices together: seconds of GPUs, processor time of CPUs. None: older logs.
    device_seconds: NonNegativeFloat | None = None
    validation_psnr_db: Decibels | None = None
    job_hash: Hash | None = None  # of the training; None: made before logs named it


def read_log(path: Path, record: TrainingRecord | None = None) -> list[LogLine]:
    """All lines of a run's log.jsonl, which is the log of `record` if that is given.

    RecordError names a line that is damaged, or says that the log is missing or of another training
    than the record.
    """
    try:
        content = content_of(path, MOST_JSON)
        text, digest = content.decode(UTF_8), hashlib.sha256(content).hexdigest()
    except FileNotFoundError:
        raise RecordError(f"{path}: no such file; {_REMEDY}") from None
    except (OSError, UnicodeDecodeError) as error:
        problem = error.strerror if isinstance(error, OSError) else "not text"
        raise RecordError(f"{path}: cannot be read: {problem}; {_REMEDY}") from None
    if record and record.log_sha256 not in (None, digest):
        raise RecordError(
            f"{path}: not the log of the training that {record.subject}’s record is of; {_REMEDY}"
        )
    lines = []
    for number, line in enumerate(text.splitlines(), 1):
        where = f"{path}:{number}: damaged log line"
        try:
            data = parse_json(line)
        except ValueError as error:
            raise RecordError(f"{where}: {error} (got {shortened(line)}); {_REMEDY}") from None
        if not isinstance(data, dict):
            got = shortened(line)
            raise RecordError(f"{where}: must have keys and values, got {got}; {_REMEDY}")
        try:
            lines.append(LogLine.parse(data, where))
        except SpecError as error:
            raise RecordError(f"{error}; {_REMEDY}") from None
    return lines
