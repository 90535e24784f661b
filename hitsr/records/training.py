"""Records of training runs, and the lines of their logs."""

from pathlib import Path

from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt

from hitsr.base.errors import RecordError
from hitsr.base.values import Value
from hitsr.records.record import Record
from hitsr.specs.config import RunSpec


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


def read_log(path: Path) -> list[LogLine]:
    """All lines of a run's log.jsonl; RecordError names a line that is damaged."""
    lines = []
    for number, text in enumerate(path.read_text().splitlines(), 1):
        try:
            lines.append(LogLine.model_validate_json(text))
        except ValueError as error:
            raise RecordError(f"{path}:{number}: damaged log line: {error}") from None
    return lines
