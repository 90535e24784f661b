"""`hitsr train --gpus 2` and torchrun, as users start them; on a CPU, two processes."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import pytest
from typer.testing import CliRunner

from hitsr.cli import app
from hitsr.data.images import write_png
from hitsr.records import TrainingRecord, read_log
from hitsr.specs.recipe import Recipe
from hitsr.specs.run import RunSpec
from hitsr.specs.zoo import NETWORKS

DEADLINE_S = 1800  # far above what any command takes: it only ends what hangs
HITSR = [sys.executable, "-c", "from hitsr.cli import main; main()"]
TORCHRUN = [
    *(sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"),
    *("--no-python", *HITSR),
]
CHANGES = {"depths": [1], "windows.ratios": [1], "windows.base": 4, "width": 24}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder with a set of one picture."""
    hr = np.random.default_rng(0).integers(0, 256, (64, 48, 3), dtype=np.uint8)
    write_png(tmp_path / "data/mine/HR/a.png", hr)
    set_of = ("prepare", tmp_path / "data/mine/HR", "--out", tmp_path / "data/mine", "-s", "2")
    assert CliRunner().invoke(app, [*map(str, set_of)]).exit_code == 0
    return tmp_path / "data"


def _words(data: Path, out: Path, parts: int = 2) -> list[str]:
    """A training of some seconds, saved every step."""
    run = RunSpec(
        network=NETWORKS["swinir_light"].patch(CHANGES), scale=2, seed=1, data="mine",
        validation="mine",
        recipe=Recipe(
            steps=150, batch=2, parts=parts, patch=8, learning_rate=1e-3, log_every=1,
            validate_every=150,
        ),
    )  # fmt: skip
    (data / "run.json").write_text(run.to_json())
    words = ("train", data / "run.json", "--data", data, "--out", out, "--device", "cpu")
    return [*map(str, words)]


def _ended(command: list[str], out: Path, act: Callable[[psutil.Process], None]) -> tuple[int, str]:
    """Exit status and words of a command on which `act` acts once it has logged some steps."""
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        log, started = out / "log.part.jsonl", time.monotonic()
        size = log.stat().st_size if log.exists() else 0
        while not (log.exists() and log.stat().st_size > size):
            assert process.poll() is None, process.stderr.read() if process.stderr else ""
            assert time.monotonic() - started < DEADLINE_S
            time.sleep(0.01)
        act(psutil.Process(process.pid))
        _, said = process.communicate(timeout=DEADLINE_S)
    return process.returncode, said


def _kill_one(command: psutil.Process) -> None:
    next(p for p in command.children() if p.environ()["RANK"] == "1").kill()


def test_after_a_kill_and_a_signal_torchrun_ends_in_the_bytes_of_one_process(
    data: Path, tmp_path: Path
):
    out, alone = tmp_path / "out", tmp_path / "alone"
    assert CliRunner().invoke(app, _words(data, alone)).exit_code == 0
    words = _words(data, out)
    together = [*HITSR, *words, "--gpus", "2"]

    status, said = _ended(together, out, _kill_one)
    assert status == 1
    assert said.count("hitsr: process 2 of the 2 of this training was ended by SIGKILL") == 1
    assert "Traceback" not in said

    status, said = _ended(together, out, lambda command: command.send_signal(signal.SIGTERM))
    assert status == 75
    assert said.count(" of 150 is saved; the same command goes on from there") == 1
    assert said.count("train swinir_light-x2-s1: ") == 1  # progress

    done = subprocess.run(
        [*TORCHRUN, *words], capture_output=True, text=True, timeout=DEADLINE_S, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("swinir_light-x2-s1: goes on from step ") == 1
    record = TrainingRecord.load(out / "record.json")
    assert [session.devices for session in record.sessions] == [2, 2]
    assert len(read_log(out / "log.jsonl")) == 150
    assert (out / "weights.safetensors").read_bytes() == (
        alone / "weights.safetensors"
    ).read_bytes()


def test_parts_that_do_not_come_out_and_no_number_are_refused_before_anything_starts(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(subprocess, "Popen", None)
    words = _words(data, tmp_path / "out", parts=1)
    for gpus, reason in (
        ("2", "gpus: 2 does not divide the recipe's parts, 1, which the processes share; write"),
        ("many", "--gpus many: must be a number of GPUs, such as 4, or auto"),
    ):
        refused = CliRunner().invoke(app, [*words, "--gpus", gpus])
        assert reason in str(refused.exception)
    assert not (tmp_path / "out").exists()
