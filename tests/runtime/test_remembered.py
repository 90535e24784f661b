from pathlib import Path

import pytest

from hitsr.runtime import remembered as module
from hitsr.runtime.remembered import remembered

ANSWERS = ("left", "right")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HITSR_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def never() -> str:
    raise AssertionError("it was decided before")


def test_the_first_answer_holds_from_then_on():
    assert remembered("which way", ANSWERS, lambda: "left") == "left"
    assert remembered("which way", ANSWERS, never) == "left"
    assert remembered("which other way", ANSWERS, lambda: "right") == "right"


def test_other_processors_and_versions_of_pytorch_decide_for_themselves(
    monkeypatch: pytest.MonkeyPatch,
):
    remembered("which way", ANSWERS, lambda: "left")
    monkeypatch.setattr(module, "cpu_name", lambda: "another processor")
    assert remembered("which way", ANSWERS, lambda: "right") == "right"


@pytest.mark.parametrize("text", [b"", b"\xff\xfe", b"up\nwhich way\n"])
def test_what_is_damaged_or_no_answer_any_more_is_decided_anew_and_kept(text: bytes, cache: Path):
    remembered("which way", ANSWERS, lambda: "left")
    (file,) = cache.rglob("*.txt")
    file.write_bytes(text)
    assert remembered("which way", ANSWERS, lambda: "right") == "right"
    assert remembered("which way", ANSWERS, never) == "right"


def test_of_two_that_decide_at_a_time_the_first_one_to_finish_is_right():
    def slow() -> str:
        remembered("which way", ANSWERS, lambda: "left")  # another process meanwhile
        return "right"

    assert remembered("which way", ANSWERS, slow) == "left"
    assert remembered("which way", ANSWERS, never) == "left"


def test_where_nothing_can_be_kept_the_answer_holds_for_this_time(cache: Path):
    cache.write_text("a file in the folder's place")
    assert remembered("which way", ANSWERS, lambda: "left") == "left"
    assert remembered("which way", ANSWERS, lambda: "right") == "right"
