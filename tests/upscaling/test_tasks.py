from pathlib import Path

import pytest

from hitsr.base.errors import DataError
from hitsr.upscaling.tasks import UpscaleTask, plan_tasks


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b.png", "a.JPG", "deep/c.tif", "notes.txt", ".hidden.png"):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path / "in"


def _names(tasks: list[UpscaleTask]) -> list[str]:
    return [f"{task.source.name} > {task.target.name}" for task in tasks]


def test_files_folders_and_patterns_are_found_once(folder: Path):
    inputs = [str(folder / "b.png"), str(folder), str(folder / "**" / "*.*")]
    tasks = plan_tasks(inputs, folder / "out")
    assert _names(tasks) == ["b.png > b.png", "a.JPG > a.jpg", "c.tif > c.tif"]
    assert [task.format for task in tasks] == ["png", "jpeg", "tiff"]
    assert {task.target.parent for task in tasks} == {folder / "out"}


def test_another_format_changes_the_suffix(folder: Path):
    tasks = plan_tasks([str(folder)], folder / "out", "tiff")
    assert _names(tasks) == ["a.JPG > a.tif", "b.png > b.tif"]
    assert {task.format for task in tasks} == {"tiff"}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("absent.png", "no such file or folder"),
        ("*.gif", "matches no picture"),
        ("notes.txt", "not a known picture format"),
    ],
)
def test_inputs_without_pictures_are_refused(folder: Path, given: str, message: str):
    with pytest.raises(DataError, match=message):
        plan_tasks([str(folder / given)], folder / "out")


def test_a_folder_without_pictures_is_refused(tmp_path: Path):
    with pytest.raises(DataError, match="no picture in it"):
        plan_tasks([str(tmp_path)], tmp_path / "out")


def test_two_inputs_with_one_output_are_refused(folder: Path):
    (folder / "a.png").touch()
    with pytest.raises(DataError, match=r"a\.JPG and .*a\.png would both become .*a\.png"):
        plan_tasks([str(folder)], folder / "out", "png")


def test_an_input_is_never_replaced(folder: Path):
    with pytest.raises(DataError, match="would replace an input"):
        plan_tasks([str(folder / "b.png")], folder / "deep" / "..")
