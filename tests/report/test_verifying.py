"""Verifying a results folder: files against the manifest, records against what they name."""

import json
import os
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hitsr.base.writers import become_sole_user
from hitsr.cli import app
from hitsr.plan.layout import Layout
from hitsr.plan.manifest import write_manifest

QUALITY = "records/quality/hit_sir-x2-s1.test.json"


@pytest.fixture
def kept(finished, tmp_path: Path) -> Path:
    """A copy of a finished folder, listed, in another place than it was made."""
    folder = tmp_path / "another place"
    shutil.copytree(finished.path, folder)
    write_manifest(Layout(folder))
    return folder


def verified(folder: Path, *options: str) -> tuple[int, str, str]:
    """Exit status, and what was said on stdout and stderr."""
    done = CliRunner().invoke(app, ["verify", str(folder), *options])
    return done.exit_code, done.stdout, done.stderr


def state(folder: Path) -> list[tuple[str, int]]:
    return sorted((str(path), path.lstat().st_mtime_ns) for path in folder.rglob("*"))


def test_a_copy_in_another_place_is_sound_and_nothing_is_written(kept: Path) -> None:
    before = state(kept.parent)
    os.chmod(kept, 0o555)
    status, said, wrong = verified(kept)
    os.chmod(kept, 0o755)
    assert (status, wrong) == (0, "")
    records = len([*kept.glob("records/*/*"), *kept.glob("weights/*/record.json")])
    files = len(Layout(kept).manifest.read_bytes().splitlines())
    assert said == f"{kept}: {files} files are as listed, {records} records are sound\n"
    assert state(kept.parent) == before


def test_what_is_wrong_is_told_by_name_with_what_to_do(kept: Path) -> None:
    pictures = kept / "pictures/hit_sir-x2-s1.test"
    for name in ("brick", "cat"):
        (pictures / f"{name}.png").unlink()
    (kept / "records/complexity/hit_sir-x2.json").unlink()
    (kept / "stray.txt").touch()
    (kept / "logs").mkdir(exist_ok=True)
    status, _, wrong = verified(kept)
    assert status == 1
    assert wrong.splitlines() == [
        f"hitsr: {pictures}: brick.png and cat.png: missing; delete {pictures} and rerun the "
        "pipeline",
        f"hitsr: {kept}/records/complexity/hit_sir-x2.json: missing; delete "
        f"{kept}/records/complexity/hit_sir-x2.json and rerun the pipeline",
        f"hitsr: {kept}/stray.txt: not in the manifest; delete it, or, if it belongs there, add it "
        f"with `hitsr verify --update {kept}`",
    ]


def test_a_changed_score_is_told_even_if_the_list_was_written_anew(kept: Path) -> None:
    other = json.loads((kept / "records/quality/swinir_light-x2-s1.test.json").read_text())
    (kept / QUALITY).write_text(json.dumps(other))
    status, _, wrong = verified(kept)
    assert status == 1
    assert f"{kept / QUALITY}: changed; delete" in wrong
    assert f"{kept / QUALITY}: holds swinir_light-x2-s1 as job" in wrong
    status, _, wrong = verified(kept, "--update")
    assert status == 1  # a record that cannot be used is not accepted
    assert f"{kept / QUALITY}: changed" in verified(kept)[2]
    write_manifest(Layout(kept))
    status, _, wrong = verified(kept)
    assert status == 1
    assert [line.partition(" holds")[1] for line in wrong.splitlines()] == [" holds"]


@pytest.mark.parametrize("name", ["log.jsonl", "weights.safetensors"])
def test_a_training_is_tied_to_its_log_and_weights(kept: Path, name: str) -> None:
    file = kept / "weights/hit_sir-x2-s1" / name
    file.write_bytes(file.read_bytes()[:-1] if file.exists() else b"other weights")
    write_manifest(Layout(kept))
    status, _, wrong = verified(kept)
    assert status == 1
    assert "weights/hit_sir-x2-s1" in wrong


def test_files_are_accepted_once_they_are_meant(kept: Path) -> None:
    (kept / "report").mkdir(exist_ok=True)
    (kept / "report/index.html").write_text("written by hand")
    assert verified(kept)[0] == 1
    assert verified(kept, "--update")[0] == 0
    assert verified(kept)[0] == 0


def test_no_list_is_written_while_a_pipeline_is_at_work(kept: Path) -> None:
    before, release = Layout(kept).manifest.read_bytes(), become_sole_user(kept)
    (kept / "stray.txt").touch()
    done = CliRunner().invoke(app, ["verify", str(kept), "--update"])
    assert "is at work here; wait until it has ended" in str(done.exception)
    assert Layout(kept).manifest.read_bytes() == before
    release()
    assert verified(kept, "--update")[0] == 0


def test_a_folder_without_a_list_says_what_to_do(kept: Path) -> None:
    Layout(kept).manifest.unlink()
    status, said, wrong = verified(kept)
    assert status == 1
    assert "no such file; the pipeline writes it at its end" in wrong
    assert "0 files are as listed" in said
    assert verified(kept, "--update")[0] == 0
    assert verified(kept / "nowhere")[0] == 1
