import pytest

from hitsr.base import progress
from hitsr.base.progress import Progress


def test_a_log_gets_a_line_at_the_end(capsys: pytest.CaptureFixture[str]):
    with Progress("train a", 3, "step") as bar:
        for _ in range(3):
            bar.note("loss 0.1")
            bar.advance()
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("train a: 3/3 step, ")
    assert line.endswith("done, loss 0.1")


def test_a_log_line_tells_the_time_left(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(progress, "PLAIN_INTERVAL_S", 0.0)
    with Progress("train a", 2, "step") as bar:
        bar.advance()
    assert "1/2 step" in capsys.readouterr().err.splitlines()[0]


def test_what_was_done_before_tells_nothing_of_the_rate(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    clock = 0.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock)
    with Progress("train a", 100, "step", done=50) as bar:
        for _ in range(20):
            clock += 2.0
            bar.advance()
    first, last = capsys.readouterr().err.splitlines()
    assert first == "train a: 65/100 step, 00:30 spent, 0.5 step/s, 01:10 left"
    assert last == "train a: 70/100 step, 00:40 spent, 0.5 step/s, done"


def test_before_the_first_unit_is_done_no_time_left_is_told(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(progress, "PLAIN_INTERVAL_S", 0.0)
    with Progress("set.zip", 900, "MB", done=300) as bar:
        bar.advance(0)  # less than a MB came
    first, _ = capsys.readouterr().err.splitlines()
    assert first == "set.zip: 300/900 MB, 00:00 spent"


def test_after_an_error_the_last_line_says_stopped(capsys: pytest.CaptureFixture[str]):
    def fail() -> None:
        with Progress("train a", 3, "step") as bar:
            bar.advance()
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert "1/3 step" in (said := capsys.readouterr().err)
    assert "stopped" in said


def test_quiet_says_nothing(capsys: pytest.CaptureFixture[str]):
    with Progress("train a", 1, "step", quiet=True) as bar:
        bar.advance()
    assert capsys.readouterr().err == ""
