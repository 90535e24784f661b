"""What a checkpoint says of itself: of which training it is, and how far that is.

It stands in the header of the checkpoint's file, which is read here without torch and without the
tensors; `training.checkpoints` writes and reads whole files.
"""

import re
from pathlib import Path

from pydantic import NonNegativeFloat, NonNegativeInt, PositiveInt, StrictBool
from safetensors import SafetensorError, safe_open

from hitsr.base.errors import RecordError, SpecError, in_one_line, printable
from hitsr.base.files import visible
from hitsr.base.reading import parse_json
from hitsr.base.values import Value
from hitsr.records.training import GateResult, Session
from hitsr.specs.run import RunSpec

CHECKPOINT_NAME = re.compile(r"(\d+)-([0-9a-f]{16})\.safetensors")
KEY = "hitsr"  # of the metadata: one, since safetensors writes several in random order


class Identity(Value):
    """What a training is of; a checkpoint of another one is never continued."""

    job_hash: str
    run: RunSpec
    pictures: str  # hash of the training pictures' names and content
    validation: str = ""  # likewise, of those that the log's PSNR is of
    start_sha256: str | None = None  # of the file of weights that it starts from


class Means(Value):
    """With what steps were computed, as the record says it."""

    settings: dict[str, str]
    graph: StrictBool
    no_graph: str | None


class Position(Value):
    """How far a training is, and what its log and record will say of the steps so far."""

    step: PositiveInt
    seconds: NonNegativeFloat
    device_seconds: NonNegativeFloat
    sessions: tuple[Session, ...]
    skipped: tuple[PositiveInt, ...]
    in_a_row: NonNegativeInt  # skipped steps at the end
    gates: tuple[GateResult, ...]
    losses: tuple[NonNegativeFloat, ...]  # of steps since the last line of the log
    last_loss: NonNegativeFloat | None  # in that line
    means: Means


class CheckpointHeader(Value):
    """What a checkpoint's file holds besides its tensors."""

    identity: Identity
    position: Position


def folder_of(training: Path) -> Path:
    """Where a training in this folder keeps its checkpoints."""
    return training / "checkpoints"


def newest_first(folder: Path) -> list[Path]:
    """Files of checkpoints in a folder, by falling step."""
    found = (p for p in visible(folder, "*.safetensors") if CHECKPOINT_NAME.fullmatch(p.name))
    return sorted(found, key=step_of, reverse=True)


def step_of(path: Path) -> int:
    """The step after which a checkpoint was written, by the name of its file."""
    matched = CHECKPOINT_NAME.fullmatch(path.name)
    assert matched
    return int(matched[1])


def read_header(path: Path) -> CheckpointHeader:
    """The header of a checkpoint's file, whose content is not compared with its name.

    Raises RecordError if it is damaged or of another version.
    """
    try:
        with safe_open(path, "np") as file:
            metadata = (file.metadata() or {})[KEY]
        return CheckpointHeader.parse(parse_json(metadata), str(path))
    except (OSError, SafetensorError, SpecError, ValueError, KeyError) as error:
        reason = printable(in_one_line(error))
        raise RecordError(f"{path}: not a checkpoint of this version of hitsr ({reason})") from None
