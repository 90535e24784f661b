"""Checkpoints of a training: all that its next steps depend on, in one file that is whole.

`checkpoints/00005000-<hash>.safetensors` is the state after 5000 steps; its name holds the first 16
hex digits of the file's SHA-256. A file is written under a temporary name, flushed to the disk and
renamed, so a kill leaves the ones before. The last two are kept; of a finished training the last,
from which its results can be written again: Snakemake deletes them if it was killed beside it.
"""

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from hitsr.base.changes import flat
from hitsr.base.errors import RecordError, cut, in_one_line, printable, shortened
from hitsr.base.files import sha256, sweep, sync_folder, write_bytes
from hitsr.records import LogLine
from hitsr.records.checkpoint import (
    CHECKPOINT_NAME,
    KEY,
    CheckpointHeader,
    Identity,
    Position,
    newest_first,
    read_header,
    step_of,
)

KEPT = 2
_LOG = "log"
# What another hash in an Identity means.
_HASHES = {
    "pictures": "other pictures",
    "validation": "other pictures to validate with",
    "start_sha256": "other weights to start from",
    "job_hash": "other settings, such as `compile`",
}


class Checkpoint(NamedTuple):
    """A position, the log up to it, and its tensors by name."""

    position: Position
    log: bytes
    tensors: Mapping[str, Tensor]


def save_checkpoint(
    folder: Path, identity: Identity, checkpoint: Checkpoint, kept: int = KEPT
) -> None:
    """Write a checkpoint, and delete all but the last `kept`.

    Raises OSError, naming the file, if it cannot be written; older ones are then kept.
    """
    metadata = CheckpointHeader(identity=identity, position=checkpoint.position)
    tensors = {**checkpoint.tensors, _LOG: _as_tensor(checkpoint.log)}
    content = save(tensors, {KEY: metadata.model_dump_json()})
    digest = hashlib.sha256(content).hexdigest()[:16]
    write_bytes(folder / f"{checkpoint.position.step:08d}-{digest}.safetensors", content)
    sync_folder(folder.parent)  # which holds this one, perhaps since now
    for path in newest_first(folder)[kept:]:
        path.unlink(missing_ok=True)


def last_checkpoint(
    folder: Path, identity: Identity, tell: Callable[[str], None]
) -> Checkpoint | None:
    """The newest checkpoint of this training that is whole; None if there is none.

    A damaged one is renamed, `tell` is told of it, and the one before is taken. If checkpoints are
    of another training, `tell` is told what differs, and they are put into a folder of their own.
    """
    all_of_them = newest_first(folder)
    for path in all_of_them:
        try:
            found, checkpoint = _read(path)
        except RecordError as error:
            aside = path.with_name(f"{path.name}.damaged")
            path.replace(aside)
            tell(f"{error}; it is set aside as {aside.name}")
            continue
        if found != identity:
            aside = set_aside(folder)
            tell(
                f"{path}: of another training ({_difference(found, identity)}); it is kept in "
                f"{aside}, and the training starts anew"
            )
            return None
        return checkpoint
    if all_of_them:
        tell(f"{folder}: no other checkpoint; the training starts anew")
    return None


def delete_damaged(folder: Path) -> None:
    """Delete checkpoints of a finished training that are damaged or not whole."""
    sweep(folder)
    for path in folder.glob("*.damaged"):
        path.unlink()


def last_saved_step(folder: Path) -> int | None:
    """Step of the newest checkpoint in a folder; None if there is none."""
    return next(map(step_of, newest_first(folder)), None)


def _read(path: Path) -> tuple[Identity, Checkpoint]:
    """A checkpoint and what it is of; RecordError if it is damaged or of another version."""
    matched = CHECKPOINT_NAME.fullmatch(path.name)
    assert matched
    try:
        digest = sha256(path)[:16]
    except OSError as error:
        raise RecordError(f"{path}: cannot be read: {error.strerror}") from None
    if digest != matched[2]:
        raise RecordError(f"{path}: damaged checkpoint: its content has another hash than its name")
    header = read_header(path)
    try:
        with safe_open(path, "pt") as file:
            # Copies: what is read from the file later would change or end with it.
            names = file.keys()
            tensors = {name: file.get_tensor(name).clone() for name in names}
        log = tensors.pop(_LOG).numpy().tobytes()
        for line in log.splitlines():
            LogLine.model_validate_json(line)
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        reason = printable(in_one_line(error))
        raise RecordError(f"{path}: not a checkpoint of this version of hitsr ({reason})") from None
    return header.identity, Checkpoint(header.position, log, tensors)


def _as_tensor(text: bytes) -> Tensor:
    return torch.from_numpy(np.frombuffer(text, np.uint8).copy())


def set_aside(folder: Path) -> Path:
    """Rename a folder of checkpoints, which no training goes on from; its new name."""
    number = 1
    while (aside := folder.with_name(f"{folder.name}.other-{number}")).exists():
        number += 1
    folder.replace(aside)
    return aside


def _difference(found: Identity, wanted: Identity) -> str:
    """The first fields in which two trainings differ: "run.recipe.learning_rate was 0.1"."""
    before, after = (flat(each.model_dump(mode="json")) for each in (found, wanted))
    keys = [key for key in {**before, **after} if before.get(key) != after.get(key)]
    if len(keys) > 1 and "job_hash" in keys:
        keys.remove("job_hash")  # which is also of the fields of the run
    said = [
        _HASHES.get(key) or f"{key} was {_word(before.get(key))}, is {_word(after.get(key))}"
        for key in keys
    ]
    return "; ".join(said[:4])


def _word(value: object) -> str:
    return cut(value) if isinstance(value, str) else shortened(value)
