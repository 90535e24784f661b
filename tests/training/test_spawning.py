"""Processes that share a training, here of a few lines each that need no torch."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from hitsr.base.errors import HitsrError
from hitsr.training.spawning import run_together

pytestmark = pytest.mark.usefixtures("_heard_signals")

DEADLINE_S = 600  # far above what any process here takes: it only ends what hangs
BEGIN = """
import os, signal, sys, time
from pathlib import Path
rank, folder = int(os.environ["RANK"]), Path(sys.argv[1])
print("rank", rank, "speaks", file=sys.stderr, flush=True)
def wait(name, seconds=600):
    for _ in range(20 * seconds):
        if (folder / name).exists():
            return
        time.sleep(0.05)
    sys.exit("waited too long")
"""


def _run(folder: Path, lines: str, count: int = 3) -> int:
    return run_together([sys.executable, "-c", BEGIN + lines, str(folder)], count)


def test_only_the_first_is_heard(tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    lines = """
names = ("LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE")
(folder / f"{rank}.txt").write_text(" ".join(os.environ[name] for name in names))
"""
    assert _run(tmp_path, lines) == 0
    written = [(tmp_path / f"{rank}.txt").read_text() for rank in range(3)]
    assert written == ["0 3 3", "1 3 3", "2 3 3"]
    assert capfd.readouterr().err == "rank 0 speaks\n"


def test_a_process_that_fails_is_heard_and_ends_the_others(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    # The first notices, as it does in its next exchange; another hangs.
    lines = """
if rank == 2:
    print("hitsr: no such thing", file=sys.stderr)
    (folder / "failed").touch()
    sys.exit(3)
wait("failed")
if rank == 0:
    sys.exit(76)
time.sleep(600)
"""
    monkeypatch.setattr("hitsr.training.spawning._PATIENCE_S", 0.5)
    assert _run(tmp_path, lines) == 3
    assert capfd.readouterr().err == "rank 0 speaks\nrank 2 speaks\nhitsr: no such thing\n"


def test_an_error_of_all_is_told_once(tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    assert _run(tmp_path, "sys.exit('hitsr: too many steps')") == 1
    assert capfd.readouterr().err == "rank 0 speaks\nhitsr: too many steps\n"


def test_a_process_that_is_killed_ends_the_others(tmp_path: Path):
    lines = """
if rank == 1:
    os.kill(os.getpid(), signal.SIGKILL)
sys.exit(76)
"""
    with pytest.raises(HitsrError, match=r"process 2 of the 3 .* ended by SIGKILL.* goes on from"):
        _run(tmp_path, lines)


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGUSR1"])
def test_a_signal_reaches_all_and_they_end_to_be_continued(tmp_path: Path, name: str):
    lines = f"""
def saved(*_):
    (folder / f"saved {{rank}}").touch()
    for other in range(3):
        wait(f"saved {{other}}")
    sys.exit(75)
signal.signal(signal.SIGTERM, saved)
(folder / f"ready {{rank}}").touch()
if rank == 0:
    for other in range(3):
        wait(f"ready {{other}}")
    os.kill(os.getppid(), signal.{name})
time.sleep(600)
"""
    before = signal.getsignal(getattr(signal, name))
    assert _run(tmp_path, lines) == 75
    assert signal.getsignal(getattr(signal, name)) is before


def test_a_signal_that_comes_too_early_ends_all_as_it_ends_one(tmp_path: Path):
    lines = """
if rank == 0:
    os.kill(os.getppid(), signal.SIGTERM)
time.sleep(600)
"""
    assert _run(tmp_path, lines) == 128 + signal.SIGTERM


def test_processes_end_when_the_one_that_started_them_is_killed(tmp_path: Path):
    lines = """
from hitsr.training.spawning import under_parent
with under_parent():
    (folder / f"{rank}.ready").touch()
    time.sleep(600)
"""
    code = "import sys, hitsr.training.spawning as s; s.run_together(sys.argv[1:], 2)"
    member = [sys.executable, "-c", BEGIN + lines, str(tmp_path)]
    with subprocess.Popen([sys.executable, "-c", code, *member]) as parent:
        try:
            _wait_for(tmp_path / "1.ready")
            _wait_for(tmp_path / "0.ready")
            members = psutil.Process(parent.pid).children()
            assert len(members) == 2
        finally:
            parent.kill()
    _, alive = psutil.wait_procs(members, timeout=DEADLINE_S)
    assert not alive


def _wait_for(file: Path) -> None:
    started = time.monotonic()
    while not file.exists():
        assert time.monotonic() - started < DEADLINE_S
        time.sleep(0.05)
