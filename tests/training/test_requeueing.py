"""A training that was asked to end puts its job of Slurm back into the queue, or says why not."""

import os
import sys
from pathlib import Path

import pytest

from hitsr.base.errors import TO_BE_CONTINUED, HitsrError, ToBeContinuedError
from hitsr.training.requeueing import requeued

# Agrees to everything and ends the process that asks to be put back into the queue, as Slurm does.
SCONTROL = 'echo "$@" >> {folder}/asked; kill -TERM $PPID'


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of a training in job 7 of Slurm, which is running."""
    stand_in(tmp_path, "squeue", "echo RUNNING")
    stand_in(tmp_path, "scontrol", SCONTROL.format(folder=tmp_path))
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setenv("HITSR_REQUEUE", "1")
    return tmp_path


def stand_in(folder: Path, name: str, script: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


def asked(folder: Path) -> str:
    """What Slurm was asked to do."""
    return (folder / "asked").read_text() if (folder / "asked").is_file() else ""


def end(folder: Path, step: int | None, error: BaseException | None = None) -> list[str]:
    """A session that saves this step, if any, and ends; what is said."""
    said: list[str] = []
    error = error or ToBeContinuedError("a: step 5 is saved")
    try:
        with requeued(folder, said.append):
            if step is not None:
                (folder / "checkpoints").mkdir(exist_ok=True)
                (folder / f"checkpoints/{step:08d}-0123456789abcdef.safetensors").touch()
            raise error
    except BaseException as raised:
        if raised is not error:
            raise
        return said
    raise AssertionError("the error is lost")


def test_a_saved_training_goes_back_into_the_queue(cluster: Path) -> None:
    said = end(cluster, step=5)
    assert asked(cluster) == "requeue 7\n"
    assert said == ["job 7 of Slurm goes back into the queue, and later goes on from what is saved"]


def test_several_processes_of_a_training_go_back_together(cluster: Path) -> None:
    end(cluster, step=5, error=SystemExit(TO_BE_CONTINUED))
    assert asked(cluster) == "requeue 7\n"


def test_a_session_without_a_saved_step_ends_the_chain(cluster: Path) -> None:
    end(cluster, step=5)
    (cluster / "asked").unlink()
    with pytest.raises(HitsrError, match=r"before a step was saved.* by `runtime` of `train`"):
        end(cluster, step=None)
    assert asked(cluster) == ""


@pytest.mark.parametrize("error", [HitsrError("no finite gradient"), SystemExit(1), SystemExit(76)])
def test_what_failed_is_not_repeated(cluster: Path, error: BaseException) -> None:
    assert end(cluster, step=5, error=error) == []
    assert asked(cluster) == ""


def test_a_job_that_slurm_is_ending_is_left_to_it(cluster: Path) -> None:
    stand_in(cluster, "squeue", "echo COMPLETING")
    (told,) = end(cluster, step=5)
    assert told == "job 7 of Slurm: completing, so it is not put back into the queue here"
    assert asked(cluster) == ""


def test_a_refusal_is_told(cluster: Path) -> None:
    stand_in(cluster, "scontrol", "echo Requested operation is presently disabled >&2; exit 1")
    said = end(cluster, step=5)
    assert said[-1] == (
        "job 7 of Slurm: Requested operation is presently disabled; repeat the command of the "
        "pipeline"
    )


def test_a_machine_without_slurms_commands_is_told(
    cluster: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent))
    (told,) = end(cluster, step=5)
    assert told.startswith("job 7 of Slurm: squeue: [errno 2]")


@pytest.mark.parametrize("name", ["SLURM_JOB_ID", "HITSR_REQUEUE"])
def test_a_job_that_does_more_than_its_training_is_left_alone(
    cluster: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.delenv(name)
    assert end(cluster, step=5) == []
    assert asked(cluster) == ""
