from pathlib import Path

import pytest

from hitsr.base.errors import DataError
from hitsr.upscaling.user_files import Job, plan


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b.png", "a.JPG", "deep/c.tif", "notes.txt", ".hidden.png"):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path / "in"


def _names(jobs: list[Job]) -> list[str]:
    return [f"{job.source.name} > {job.target.name}" for job in jobs]


def test_files_folders_and_patterns_are_found_once(folder: Path):
    inputs = [str(folder / "b.png"), str(folder), str(folder / "**" / "*.*")]
    jobs = plan(inputs, folder / "out")
    assert _names(jobs) == ["b.png > b.png", "a.JPG > a.jpg", "c.tif > c.tif"]
    assert [job.form for job in jobs] == ["png", "jpeg", "tiff"]
    assert {job.target.parent for job in jobs} == {folder / "out"}


def test_a_format_renames(folder: Path):
    jobs = plan([str(folder)], folder / "out", "tiff")
    assert _names(jobs) == ["a.JPG > a.tif", "b.png > b.tif"]
    assert {job.form for job in jobs} == {"tiff"}


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("absent.png", "no such file or folder"),
        ("*.gif", "matches no picture"),
        ("notes.txt", "not a known kind of picture"),
    ],
)
def test_what_is_not_there_is_told(folder: Path, given: str, told: str):
    with pytest.raises(DataError, match=told):
        plan([str(folder / given)], folder / "out")


def test_a_folder_without_pictures_is_told(tmp_path: Path):
    with pytest.raises(DataError, match="no picture in it"):
        plan([str(tmp_path)], tmp_path / "out")


def test_two_inputs_of_one_output_are_told(folder: Path):
    (folder / "a.png").touch()
    with pytest.raises(DataError, match=r"a\.JPG and .*a\.png would both become .*a\.png"):
        plan([str(folder)], folder / "out", "png")


def test_an_input_is_never_replaced(folder: Path):
    with pytest.raises(DataError, match="would replace an input"):
        plan([str(folder / "b.png")], folder / "deep" / "..")
