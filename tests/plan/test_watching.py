"""Changed pictures change the job that prepares them, and touched ones do not."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import hitsr.plan.watching as watching
from hitsr.cli.doing.preparing import prepare
from hitsr.data.images import write_png
from hitsr.plan.jobs import PrepareJob
from hitsr.plan.layout import Layout
from hitsr.plan.watching import lost, noticed


def picture(path: Path, seed: int) -> None:
    noise = np.random.default_rng(seed)
    write_png(path, noise.integers(0, 256, (16, 16, 3), dtype=np.uint8))


@pytest.fixture
def job(tmp_path: Path) -> PrepareJob:
    for seed, name in enumerate(("ant", "bee", "cat")):
        picture(tmp_path / f"set/HR/{name}.png", seed)
    return PrepareJob(
        name="set-x2",
        output=tmp_path / "record.json",
        dataset="set",
        scale=2,
        source=str(tmp_path / "set"),
        folder=tmp_path / "set",
        seen=tmp_path / "seen.json",
    )


def replace(folder: Path) -> None:
    picture(folder / "HR/ant.png", 9)


def replace_with_its_stamp(folder: Path) -> None:
    """Another picture with the size and time of the file before, as `cp -p` may leave it."""
    file = folder / "HR/ant.png"
    stat = file.stat()
    file.write_bytes(file.read_bytes()[:-1] + b"\0")
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def move_in(folder: Path) -> None:
    shutil.move(folder / "HR/ant.png", folder / "HR/bee.png")


def add(folder: Path) -> None:
    picture(folder / "HR/dog.png", 9)


def delete(folder: Path) -> None:
    (folder / "HR/cat.png").unlink()


def rename(folder: Path) -> None:
    (folder / "HR/cat.png").rename(folder / "HR/lion.png")


def edit_lr(folder: Path) -> None:
    picture(folder / "LR_bicubic/X2/antx2.png", 9)


@pytest.mark.parametrize(
    "change", [replace, replace_with_its_stamp, move_in, add, delete, rename, edit_lr]
)
def test_changed_pictures_change_the_job(
    job: PrepareJob, change: Callable[[Path], None], tmp_path: Path
) -> None:
    assert noticed(job) == job
    prepare(job)
    assert noticed(job) == job
    shutil.copytree(tmp_path / "set", tmp_path / "before")
    change(job.folder)
    changed = noticed(job)
    assert changed.content
    assert changed.hash == job.hash
    assert noticed(job) == noticed(changed) == changed
    # What was done meanwhile is undone: nothing has changed.
    shutil.rmtree(job.folder)
    (tmp_path / "before").rename(job.folder)
    assert noticed(changed) == job


def test_a_prepared_change_is_the_new_state(job: PrepareJob) -> None:
    prepare(job)
    replace(job.folder)
    changed = noticed(job)
    prepare(changed)
    assert noticed(job) == noticed(changed) == changed
    delete(job.folder)
    assert noticed(changed) not in (job, changed)


def test_touched_pictures_are_hashed_once_and_are_no_change(
    job: PrepareJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(job)
    assert noticed(job) == job
    hashed: list[Path] = []
    sha256 = watching.sha256
    monkeypatch.setattr(watching, "sha256", lambda path: hashed.append(path) or sha256(path))
    assert noticed(job) == job
    assert hashed == []
    for path in (touched := sorted(job.folder.glob("HR/*.png"))):
        os.utime(path, ns=(1, 1))
    for _ in range(2):
        assert noticed(job) == job
        assert sorted(hashed) == touched


def test_absent_sets_and_other_files_are_no_change(job: PrepareJob) -> None:
    prepare(job)
    for name in ("Thumbs.db", ".DS_Store", "._ant.png", "notes.txt"):
        (job.folder / "HR" / name).write_bytes(b"1")
    shutil.rmtree(job.folder / "LR_bicubic")
    assert noticed(job) == job
    job.folder.rename(job.folder.with_name("elsewhere"))
    assert noticed(job) == job


def test_damaged_memory_is_as_none(job: PrepareJob) -> None:
    prepare(job)
    assert job.seen is not None
    job.seen.write_text("{")
    assert noticed(job) == job


def test_deleted_results_are_noticed_until_the_page_is_written_again(
    tmp_path: Path, job: PrepareJob
) -> None:
    layout = Layout(tmp_path / "results")
    page, records = layout.report / "index.html", layout.results / "records"
    shown = [
        job.model_copy(update={"output": layout.output("prepare", name)}) for name in ("a", "b")
    ]

    def write(*paths: Path | None) -> None:
        for path in paths:
            assert path is not None
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("{}")

    assert lost(layout, page, shown) == ""  # nothing was made yet
    write(page, *(each.output for each in shown))
    assert lost(layout, page, shown) == ""
    (records / "prepare/a.json").unlink()
    first = lost(layout, page, shown)
    assert first == lost(layout, page, shown) != ""
    write(shown[0].output)
    os.utime(page, ns=(10**18, 10**18))  # written again
    assert lost(layout, page, shown) == first
    (records / "prepare/a.json").unlink()
    second = lost(layout, page, shown)
    assert second != first
    records.rename(tmp_path / "away")  # of a results folder, only some parts were copied
    assert lost(layout, page, shown) == second
