"""Checkpoints under damage, kills and full disks; of the training only the files are real."""

import errno
import hashlib
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save

from hitsr.records import LogLine
from hitsr.records.checkpoint import Identity, Means, Position, folder_of
from hitsr.specs.recipe import Recipe
from hitsr.specs.run import RunSpec
from hitsr.specs.zoo import NETWORKS
from hitsr.training.checkpoints import (
    KEPT,
    Checkpoint,
    delete_damaged,
    last_checkpoint,
    save_checkpoint,
)

RUN = RunSpec(
    network=NETWORKS["hit_sir"], scale=2, data="train", validation="test", seed=1,
    recipe=Recipe(steps=9, batch=1, patch=8, learning_rate=1e-3, log_every=1, validate_every=9),
)  # fmt: skip
IDENTITY = Identity(job_hash="0", run=RUN, pictures="a")


def log_of(step: int) -> bytes:
    line = LogLine(step=step, loss=0.5, learning_rate=1e-3, seconds=step)
    return f"{line.model_dump_json()}\n".encode()


def save_step(out: Path, step: int, identity: Identity = IDENTITY, kept: int = KEPT) -> Path:
    """Save a checkpoint of this step; its file."""
    position = Position(
        step=step, seconds=step, device_seconds=step, sessions=(), skipped=(), in_a_row=0,
        gates=(), losses=(), last_loss=None, means=Means(settings={}, graph=False, no_graph=None),
    )  # fmt: skip
    tensors = {"weight": torch.full((3,), float(step)), "step": torch.tensor(float(step))}
    checkpoint = Checkpoint(position, log_of(step), tensors)
    save_checkpoint(folder_of(out), identity, checkpoint, kept)
    return next(folder_of(out).glob(f"{step:08d}-*.safetensors"))


def names(out: Path) -> list[str]:
    """Steps of checkpoints, with what follows their names."""
    found = [path.name for path in folder_of(out).iterdir() if not path.name.startswith(".")]
    return sorted(re.sub(r"-[0-9a-f]{16}\.safetensors", "", name) for name in found)


def resumed(out: Path, identity: Identity = IDENTITY) -> tuple[int | None, list[str]]:
    """The step that a training goes on from, and what is said."""
    said: list[str] = []
    found = last_checkpoint(folder_of(out), identity, said.append)
    if found is None:
        return None, said
    assert found.tensors["weight"].tolist() == [found.position.step] * 3
    assert found.tensors["step"].shape == ()
    assert found.log == log_of(found.position.step)
    return found.position.step, said


def test_the_last_two_are_kept_and_are_named_by_what_they_hold(tmp_path: Path) -> None:
    files = [save_step(tmp_path, step) for step in (2, 4, 6)]
    assert names(tmp_path) == ["00000004", "00000006"]
    for file in files[1:]:
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        assert file.name == f"{file.name[:8]}-{digest[:16]}.safetensors"
    assert resumed(tmp_path) == (6, [])


def test_the_last_of_a_finished_training_stays_alone(tmp_path: Path) -> None:
    for step in (2, 4):
        save_step(tmp_path, step)
    save_step(tmp_path, 6).rename(folder_of(tmp_path) / "00000006.safetensors.damaged")
    save_step(tmp_path, 8, kept=1)
    delete_damaged(folder_of(tmp_path))
    assert names(tmp_path) == ["00000008"]
    assert resumed(tmp_path) == (8, [])


def test_without_checkpoints_nothing_is_said(tmp_path: Path) -> None:
    assert resumed(tmp_path) == (None, [])


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def _rewrite(path: Path, content: bytes) -> None:
    """Put another content in its place, with a name that fits it."""
    path.unlink()
    digest = hashlib.sha256(content).hexdigest()[:16]
    path.with_name(f"{path.name[:8]}-{digest}.safetensors").write_bytes(content)


def _as_of_another_schema(path: Path) -> None:
    _rewrite(path, save({"weight": torch.zeros(3)}, {"hitsr": '{"identity": {}, "steps": 6}'}))


DAMAGES: dict[str, Callable[[Path], Any]] = {
    "truncated": lambda path: os.truncate(path, path.stat().st_size - 1),
    "one bit flipped": _flip,
    "empty": lambda path: path.write_bytes(b""),
    "renamed": lambda path: path.rename(path.with_name(f"00000006-{'0' * 16}.safetensors")),
    "no safetensors": lambda path: _rewrite(path, b"{}"),
    "no metadata": lambda path: _rewrite(path, save({"weight": torch.zeros(3)})),
    "no JSON": lambda path: _rewrite(path, save({"weight": torch.zeros(3)}, {"hitsr": "{"})),
    "another schema": _as_of_another_schema,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_one_is_set_aside_with_a_word_and_the_one_before_is_taken(
    tmp_path: Path, damage: str
) -> None:
    save_step(tmp_path, 4)
    DAMAGES[damage](save_step(tmp_path, 6))
    step, said = resumed(tmp_path)
    assert step == 4
    (word,) = said
    assert f"{folder_of(tmp_path)}/00000006-" in word
    assert re.search(r"it is set aside as 00000006-[0-9a-f]{16}\.safetensors\.damaged$", word)
    assert names(tmp_path) == ["00000004", "00000006.damaged"]
    save_step(tmp_path, 6)
    assert names(tmp_path)[-2:] == ["00000006", "00000006.damaged"]


@pytest.mark.parametrize("damage", DAMAGES)
def test_if_all_are_damaged_the_training_starts_anew_with_a_word(
    tmp_path: Path, damage: str
) -> None:
    DAMAGES[damage](save_step(tmp_path, 6))
    step, said = resumed(tmp_path)
    assert step is None
    assert said[-1] == f"{folder_of(tmp_path)}: no other checkpoint; the training starts anew"
    assert len(said) == 2


OTHERS = {
    "run.recipe.learning_rate was 0.001, is 0.002": IDENTITY.model_copy(
        update={
            "run": RUN.model_copy(
                update={"recipe": RUN.recipe.model_copy(update={"learning_rate": 2e-3})}
            )
        }
    ),
    "run.seed was 1, is 2": IDENTITY.model_copy(
        update={"run": RUN.model_copy(update={"seed": 2}), "job_hash": "1"}
    ),
    "other pictures": IDENTITY.model_copy(update={"pictures": "b"}),
    "other weights to start from": IDENTITY.model_copy(update={"start_sha256": "c"}),
    "other pictures to validate with": IDENTITY.model_copy(update={"validation": "b"}),
    "other settings, such as `compile`": IDENTITY.model_copy(update={"job_hash": "1"}),
}


@pytest.mark.parametrize("difference", OTHERS)
def test_checkpoints_of_another_training_are_kept_apart_and_the_difference_is_told(
    tmp_path: Path, difference: str
) -> None:
    save_step(tmp_path, 4)
    newest = save_step(tmp_path, 6)
    step, said = resumed(tmp_path, OTHERS[difference])
    aside = tmp_path / "checkpoints.other-1"
    assert (step, said) == (
        None,
        [
            f"{newest}: of another training ({difference}); it is kept in {aside}, and the "
            "training starts anew"
        ],
    )
    assert len(list(aside.glob("*.safetensors"))) == 2
    save_step(tmp_path, 2, OTHERS[difference])
    assert resumed(tmp_path, IDENTITY)[0] is None
    assert (tmp_path / "checkpoints.other-2").is_dir()


@pytest.mark.parametrize("call", ["write", "fsync", "replace"])
def test_a_kill_before_the_rename_leaves_the_ones_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    for step in (2, 4):
        save_step(tmp_path, step)
    child = os.fork()
    if not child:  # which is never cleaned up, as after a kill
        place = os if call == "fsync" else Path
        name = "write_bytes" if call == "write" else call
        monkeypatch.setattr(place, name, lambda *_: os._exit(9))
        save_step(tmp_path, 6)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    assert len(list(folder_of(tmp_path).glob(".hitsr-*.part"))) == 1
    assert resumed(tmp_path) == (4, [])
    delete_damaged(folder_of(tmp_path))
    assert [path.name[:8] for path in sorted(folder_of(tmp_path).iterdir())] == [
        "00000002",
        "00000004",
    ]


def test_a_full_disk_keeps_the_ones_before_and_names_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for step in (2, 4):
        save_step(tmp_path, step)

    def full(path: Path, content: bytes) -> None:
        with path.open("wb") as file:
            file.write(content[:9])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left on device") as caught:
        save_step(tmp_path, 6)
    assert re.search(r"/checkpoints/00000006-[0-9a-f]{16}\.safetensors$", caught.value.filename)
    assert names(tmp_path) == ["00000002", "00000004"]
    assert resumed(tmp_path) == (4, [])
