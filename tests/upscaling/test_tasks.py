import os
from pathlib import Path

import pytest

from hitsr.base.errors import DataError
from hitsr.upscaling.tasks import UpscaleTask, plan_tasks, shown


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
    parents = [task.target.parent.relative_to(folder / "out") for task in tasks]
    assert list(map(str, parents)) == [".", ".", "deep"]


def test_another_format_changes_the_suffix(folder: Path):
    tasks = plan_tasks([str(folder)], folder / "out", "tiff")
    assert _names(tasks) == ["a.JPG > a.tif", "b.png > b.tif", "c.tif > c.tif"]
    assert {task.format for task in tasks} == {"tiff"}


def test_folders_with_brackets_in_their_names_are_no_patterns(folder: Path):
    holiday = folder.rename(folder.parent / "photos [2024]*?")
    (holiday.parent / "photos 2").mkdir()
    assert _names(plan_tasks([str(holiday / "*.png")], folder / "out")) == ["b.png > b.png"]
    with pytest.raises(DataError, match="no such file or folder"):
        plan_tasks([str(holiday / "absent.png")], folder / "out")


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


@pytest.fixture
def nested(tmp_path: Path) -> Path:
    for name in ("in/a/x.png", "in/b/x.png", "in/b/c/x.bmp"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path / "in"


@pytest.mark.parametrize(
    "inputs",
    [["in"], ["in/a", "in/b"], ["in/**/*.png", "in/b/c/x.bmp"], ["in/*"], ["in/a/x.png", "in/b"],
     ["in/a/x.png", "in/b/x.png", "in/b/c/x.bmp"], ["in/../in/a", "./in"]],
)  # fmt: skip
def test_subfolders_are_kept(nested: Path, inputs: list[str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(nested.parent)
    tasks = plan_tasks(inputs, Path("out"))
    found = {str(task.source.resolve().relative_to(nested)): str(task.target) for task in tasks}
    assert found == {name: f"out/{name}" for name in ("a/x.png", "b/x.png", "b/c/x.bmp")}


def test_what_is_left_out_is_told(folder: Path):
    for name in ("four.gif", "two.bmp"):
        (folder / name).touch()
    (folder / "linked").symlink_to("deep")
    (folder / "circle").symlink_to(".")
    told: list[str] = []
    tasks = plan_tasks([str(folder)], folder / "out", tell=told.append)
    assert [task.source.name for task in tasks] == ["a.JPG", "b.png", "c.tif", "two.bmp"]
    lines = sorted(line.removeprefix(f"{folder}/") for line in told)
    assert [line.split(",")[0] for line in lines] == [
        f"{name}: skipped" for name in ("circle", "four.gif", "linked", "notes.txt")
    ]
    told.clear()
    plan_tasks([str(folder / "*.*")], folder / "out", tell=told.append)
    assert [line.split(": ")[0] for line in told] == [
        str(folder / name) for name in ("four.gif", "notes.txt")
    ]


def test_links_in_circles_are_not_followed(folder: Path):
    for name in ("one", "two", "three"):
        (folder / name).symlink_to(".")
    for text in (str(folder), str(folder / "**" / "*.*")):
        tasks = plan_tasks([text], folder / "out")
        assert [task.source.name for task in tasks] == ["a.JPG", "b.png", "c.tif"]


def test_a_bad_link_or_pipe_is_a_task_of_its_own(folder: Path):
    """It fails when it is read; before that, it stops no other."""
    (folder / "loop.png").symlink_to("loop.png")
    (folder / "nowhere.png").symlink_to("nothing")
    os.mkfifo(folder / "pipe.png")
    (folder / "empty.png").mkdir()
    expected = ["a.JPG", "b.png", "c.tif", "empty.png", "loop.png", "nowhere.png", "pipe.png"]
    found = plan_tasks([str(folder)], folder / "out")
    assert [task.source.name for task in found] == expected
    named = [str(folder / name) for name in (*expected[:2], *expected[3:], "notes.txt")]
    assert [str(task.source) for task in plan_tasks(named, folder / "out")] == named


def test_earlier_outputs_are_not_upscaled_again(folder: Path):
    (folder / "out/deep").mkdir(parents=True)
    (folder / "out/deep/c.tif").touch()
    told: list[str] = []
    for text in (str(folder), str(folder / "**" / "*.*")):
        tasks = plan_tasks([text], folder / "out", tell=told.append)
        assert [task.source.name for task in tasks] == ["a.JPG", "b.png", "c.tif"]
    assert f"{folder / 'out'}: skipped, as the upscaled pictures go there" in told


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("x.png", "X.png"),
        ("x.jpg", "x.JPG"),
        ("stra\u00dfe.png", "STRASSE.png"),
        ("\u00e9.png", "e\u0301.png"),
    ],
)
def test_outputs_that_some_file_systems_take_for_one_are_refused(
    tmp_path: Path, first: str, second: str
):
    for name in (first, second):
        (tmp_path / name).touch()
    if len(list(tmp_path.iterdir())) < 2:
        pytest.skip("this file system is one of them")
    with pytest.raises(DataError, match=r"would both become .*; rename one"):
        plan_tasks([str(tmp_path)], tmp_path / "out")


def test_names_are_shown_in_one_line():
    assert shown(Path("a\nb.png")) == r"a\nb.png"
    assert shown(Path(os.fsdecode(b"n\xff.png"))) == r"n\udcff.png"
    assert shown(Path("größe/日本.png")) == "größe/日本.png"


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
