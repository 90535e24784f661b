"""Locks between real processes, some of which are killed."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hitsr.base import writers
from hitsr.base.errors import HitsrError
from hitsr.base.writers import become_sole_user, has_user, sole_writer

Start = Callable[[str], subprocess.Popen[str]]
HOLD = "with writers.sole_writer(target, print): print('holds', flush=True); sys.stdin.read()"
USE = "end = writers.become_sole_user(target); print('holds', flush=True); sys.stdin.read()"


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a process that does something with the folder `runs`; all are killed at the end."""
    started: list[subprocess.Popen[str]] = []

    def run(code: str) -> subprocess.Popen[str]:
        code = (
            "import sys; from pathlib import Path; from hitsr.base import writers; "
            f"target = Path({str(tmp_path / 'runs')!r})\n{code}"
        )
        pipe = subprocess.PIPE
        process = subprocess.Popen(
            [sys.executable, "-c", code], stdin=pipe, stdout=pipe, stderr=pipe, text=True
        )
        started.append(process)
        return process

    yield run
    for process in started:
        process.kill()
        process.communicate()


def says(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def test_a_second_writer_is_told_of_the_first_and_waits_for_its_end(start: Start) -> None:
    first = start(HOLD)
    assert says(first) == "holds\n"
    second = start(HOLD)
    told = says(second)
    assert f"process {first.pid}, since 2" in told
    assert "waiting" in told
    assert second.poll() is None
    first.communicate("")
    assert says(second) == "holds\n"


@pytest.mark.parametrize("code", [HOLD, USE])
def test_a_killed_process_holds_nothing(start: Start, tmp_path: Path, code: str) -> None:
    first = start(code)
    assert says(first) == "holds\n"
    assert has_user(tmp_path / "runs")
    first.kill()
    first.wait()
    assert not has_user(tmp_path / "runs")
    with sole_writer(tmp_path / "runs", pytest.fail) as has_waited:
        assert not has_waited
    become_sole_user(tmp_path / "runs")()


def test_a_second_user_is_refused_with_who_is_the_first(start: Start, tmp_path: Path) -> None:
    first = start(USE)
    assert says(first) == "holds\n"
    with pytest.raises(HitsrError, match=f"process {first.pid}, since .* is at work here; wait"):
        become_sole_user(tmp_path / "runs")


def test_a_user_of_another_machine_is_not_taken_for_dead(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = start(USE)
    assert says(first) == "holds\n"
    first.kill()
    first.wait()
    monkeypatch.setattr(writers.platform, "node", lambda: "elsewhere")
    with pytest.raises(HitsrError, match=r"elsewhere cannot tell; .* delete .*\.runs\.writer"):
        become_sole_user(tmp_path / "runs")
    (tmp_path / ".runs.writer").unlink()
    become_sole_user(tmp_path / "runs")()


def test_no_file_stays_and_nobody_writes_beside_another(start: Start, tmp_path: Path) -> None:
    code = (
        "for _ in range(20):\n"
        "    with writers.sole_writer(target, lambda _: None):\n"
        "        (target.parent / 'inside').touch(exist_ok=False)\n"
        "        (target.parent / 'inside').unlink()\n"
    )
    writing = [start(code) for _ in range(4)]
    assert [process.communicate()[1] for process in writing] == [""] * 4
    assert not list(tmp_path.iterdir())
