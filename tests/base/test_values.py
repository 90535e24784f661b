import subprocess
import sys
from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import Field, ValidationError

from hitsr.base.errors import DataError, SpecError
from hitsr.base.values import Value, read_csv, read_yaml


class Round(Value):
    kind: Literal["round"] = "round"
    radius: float = 1.0


class Square(Value):
    kind: Literal["square"] = "square"
    side: int = 1


class Drawing(Value):
    title: str
    shape: Annotated[Round | Square, Field(discriminator="kind")] = Round()
    frame: Square | None = None
    others: tuple[Round, ...] = ()


def _problem(data: object) -> str:
    with pytest.raises(SpecError) as caught:
        Drawing.parse(data, "a.yaml")
    return str(caught.value)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"titel": "a"}, "no field 'titel'; did you mean 'title'?"),
        (
            {"title": "a", "zzz": 1},
            "no field 'zzz'; known: frame, others, shape, title",
        ),
        (
            {"title": "a", "frame": {"sdie": 2}},
            "no field 'frame.sdie'; did you mean 'frame.side'?",
        ),
        (
            {"title": "a", "shape": {"kind": "round", "raduis": 2}},
            "no field 'shape.raduis'; did you mean 'shape.radius'?",
        ),
        (
            {"title": "a", "shape": {"kind": "square", "radius": 2}},
            "no field 'shape.radius'; known: shape.kind, shape.side",
        ),
        (
            {"title": "a", "others": [{}, {"raduis": 2}]},
            "no field 'others.1.raduis'; did you mean 'others.1.radius'?",
        ),
    ],
)
def test_an_unknown_field_names_the_nearest_with_its_whole_path(data: object, message: str):
    assert f"a.yaml: {message}" in _problem(data).splitlines()


@pytest.mark.parametrize(
    ("data", "path"),
    [
        ({}, "'title' is missing"),
        ({"title": 3}, "title: "),
        ({"title": "a", "frame": {"side": "wide"}}, "frame.side: "),
        ({"title": "a", "shape": {"kind": "round", "radius": "wide"}}, "shape.radius: "),
        ({"title": "a", "shape": {"kind": "triangle"}}, "shape: "),
        ({"title": "a", "shape": {"kind": "round", "radius": float("nan")}}, "shape.radius: "),
        ({"title": "a", "shape": {"kind": "round", "radius": float("inf")}}, "shape.radius: "),
        ([1, 2], "needs fields, each `name: value`; found list"),
        (None, "needs fields, each `name: value`; it is empty"),
    ],
)
def test_an_invalid_value_is_named_by_its_path(data: object, path: str):
    message = _problem(data)
    assert message.startswith("a.yaml: ")
    assert path in message


def test_all_problems_are_reported_at_once():
    lines = _problem({"frame": {"side": "wide"}, "tite": 1}).splitlines()
    assert len(lines) == 3
    assert all(line.startswith("a.yaml: ") for line in lines)


def test_a_value_is_frozen():
    drawing = Drawing(title="a")
    with pytest.raises(ValidationError, match="frozen"):
        drawing.title = "b"
    assert hash(drawing) == hash(Drawing(title="a"))  # it can be a key


def test_json_gives_the_value_back():
    drawing = Drawing(title="ä", shape=Square(side=3), others=(Round(radius=0.1), Round()))
    again = Drawing.model_validate_json(drawing.to_json())
    assert again == drawing
    assert again.hash == drawing.hash


@pytest.mark.parametrize("suffix", ["json", "yaml"])
def test_reads_what_it_wrote(suffix: str, tmp_path: Path):
    drawing = Drawing(title="a", frame=Square(side=3))
    file = tmp_path / f"drawing.{suffix}"
    file.write_text(drawing.to_json() if suffix == "json" else "title: a\nframe: {side: 3}\n")
    assert Drawing.read(file) == drawing


def test_hash_depends_on_every_value_and_on_nothing_else():
    drawings = [
        Drawing(title="a"),
        Drawing(title="b"),
        Drawing(title="a", shape=Square()),
        Drawing(title="a", frame=Square()),
        Drawing(title="a", frame=Square(side=2)),
        Drawing(title="a", others=(Round(),)),
        Drawing(title="a", others=(Round(), Round())),
    ]
    assert len({drawing.hash for drawing in drawings}) == len(drawings)
    written_out = Drawing.parse(
        {"others": [], "frame": None, "shape": {"radius": 1, "kind": "round"}, "title": "a"}, ""
    )
    assert written_out.hash == drawings[0].hash


def test_hash_is_the_same_in_every_process():
    code = "from hitsr.specs.zoo import NETWORKS; print(*(n.hash for n in NETWORKS.values()))"
    found = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(found) == 1
    assert len(set(found.pop().split())) == 6


@pytest.mark.parametrize("text", ["a: [1", "a: b: c", "\tx: 1"])
def test_a_malformed_file_is_named(text: str, tmp_path: Path):
    file = tmp_path / "a.yaml"
    file.write_text(text)
    with pytest.raises(SpecError, match=r"a\.yaml: not YAML"):
        read_yaml(file)


@pytest.mark.parametrize("text", ["a: 1\nb: 2\na: 3", "b: {a: 1, a: 1}"])
def test_a_key_that_stands_twice_is_named(text: str, tmp_path: Path):
    file = tmp_path / "a.yaml"
    file.write_text(text)
    with pytest.raises(SpecError, match=r"a\.yaml: not YAML: key 'a' is given twice"):
        read_yaml(file)


def test_a_binary_file_is_named(tmp_path: Path):
    file = tmp_path / "a.yaml"
    file.write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(SpecError, match=r"a\.yaml: not YAML"):
        read_yaml(file)


def test_files_of_windows_editors_are_read(tmp_path: Path):
    file = tmp_path / "a.csv"
    file.write_bytes('\ufeffname,note\r\nü,"a\r\nb"\r\n'.encode())
    assert read_csv(file) == [{"name": "ü", "note": "a\r\nb"}]
    for text in ("name: ü\r\nnote: b\r\n", '{"name": "ü",\r\n "note": "b"}'):
        file.write_bytes(f"\ufeff{text}".encode())
        assert read_yaml(file) == {"name": "ü", "note": "b"}


def test_a_table_that_cannot_be_read_is_named(tmp_path: Path):
    (tmp_path / "a.csv").write_bytes(b"name\n\xff\n")
    with pytest.raises(DataError, match=r"a\.csv: not UTF-8; restore it"):
        read_csv(tmp_path / "a.csv")
    with pytest.raises(DataError, match=r"b\.csv: No such file or directory; restore it"):
        read_csv(tmp_path / "b.csv")


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(SpecError, match=r"gone\.yaml: no such file"):
        read_yaml(tmp_path / "gone.yaml")


def test_yaml_tags_cannot_run_code(tmp_path: Path):
    file = tmp_path / "a.yaml"
    file.write_text(f"!!python/object/apply:pathlib.Path.touch [{tmp_path / 'ran'}]\n")
    with pytest.raises(SpecError):
        read_yaml(file)
    assert not (tmp_path / "ran").exists()
