import subprocess
import sys
from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import Field, ValidationError

from hitsr.base.errors import SpecError
from hitsr.base.values import Count, Number, Several, Value


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


class Counted(Value):
    count: Count = 1
    number: Number = 1.0
    several: Several[Count] = (1,)
    pair: tuple[int, int] = (1, 2)


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ({"count": True}, "count: must be a whole number (got true)"),
        ({"count": "2"}, "count: must be a whole number (got '2')"),
        ({"count": 2.0}, "count: must be a whole number (got 2.0)"),
        ({"count": None}, "count: must be a whole number (got null)"),
        ({"count": 0}, "count: must be at least 1 (got 0)"),
        ({"count": 10**23}, "count: must be at most 65536 (got 1" + 23 * "0" + ")"),
        ({"number": True}, "number: must be a number (got true)"),
        ({"number": "1"}, "number: must be a number (got '1')"),
        ({"number": 10**400}, "number: must be a number (got 1000000"),
        ({"several": []}, "several: must have at least 1 entries (got [])"),
        ({"several": ["a"]}, "several.0: must be a whole number (got 'a')"),
        ({"several": [2, 3, 2]}, "several: 2 is listed twice; keep one (got [2, 3, 2])"),
        ({"several": 2}, "several: must be a list, such as [a, b] (got 2)"),
        ({"pair": [1]}, "pair: entry 2 is missing (got [1])"),
        ({"pair": [1, 2, 3]}, "pair: must have at most 2 entries (got [1, 2, 3])"),
        ({3: 4}, "key: 3 is no name; put it in quotes"),
    ],
)
def test_what_is_allowed_is_told_in_plain_words(data: object, told: str):
    with pytest.raises(SpecError) as caught:
        Counted.parse(data, "a.yaml")
    (line,) = str(caught.value).splitlines()
    assert line.startswith(f"a.yaml: {told}")


def test_a_whole_number_is_a_number():
    assert Counted.parse({"number": 2}, "").number == 2.0


def test_a_message_repeats_little_of_a_value():
    bomb: object = "x"
    for _ in range(100):
        bomb = [bomb] * 100
    for value in (bomb, "x" * 10**7, {"a": bomb}, 10**4000):
        for data in ({"title": [value]}, {"title": "a", "others": value}, {"frame": value}):
            assert max(map(len, _problem(data).splitlines())) < 200
    assert len(_problem({"title": "a", "x" * 10**6: 1})) < 300
