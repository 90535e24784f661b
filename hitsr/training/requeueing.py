"""Put a training's job of Slurm back into the queue when it was asked to end and is saved.

The job keeps its number, so whoever waits for it goes on waiting: a training that is longer than a
job may be becomes a chain of sessions of one job.
"""

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from hitsr.base.errors import TO_BE_CONTINUED, HitsrError, ToBeContinuedError
from hitsr.plan.queued import REQUEUE
from hitsr.records.checkpoint import folder_of
from hitsr.training.stopping import watched

_PATIENCE_S = 60.0  # for an answer of Slurm, and for the end of this process once it has agreed


@contextmanager
def requeued(out: Path, say: Callable[[str], None]) -> Iterator[None]:
    """Around a training in the folder `out`: what is to be continued, Slurm starts again later.

    Only in a job of Slurm where HITSR_REQUEUE is 1. `say` is told what becomes of the job. A job
    that Slurm is ending already, as after `scancel`, is left to it. HitsrError if the block saved
    no step: the next session would not either, and so on without end.
    """
    job = os.environ.get("SLURM_JOB_ID")
    if job is None or os.environ.get(REQUEUE) != "1":
        yield
        return
    before = _saved(out)
    try:
        yield
    except (ToBeContinuedError, SystemExit) as end:
        if isinstance(end, SystemExit) and end.code != TO_BE_CONTINUED:
            raise
        with watched() as is_ended:  # the status stays, though Slurm sends SIGTERM
            _put_back(job, bool(_saved(out) - before), is_ended, say)
        raise


def _saved(out: Path) -> set[str]:
    """Names of a training's checkpoints, which hold step and hash."""
    return {path.name for path in folder_of(out).glob("*.safetensors")}


def _put_back(
    job: str, has_progress: bool, is_ended: Callable[[], bool], say: Callable[[str], None]
) -> None:
    """Put a running job back into the queue, and wait until Slurm ends this process."""
    state = _answer("squeue", "--noheader", "--job", job, "--format", "%T")
    if "RUNNING" not in state.split():  # there may be a warning before it
        words = state.lower() or "not in the queue"
        say(f"job {job} of Slurm: {words}, so it is not put back into the queue here")
        return
    if not has_progress:
        raise HitsrError(
            f"job {job} of Slurm was asked to end before a step was saved, and would be again, so "
            "it is not put back into the queue; give trainings more time, by `runtime` of `train` "
            "in the profile, then repeat the command"
        )
    say(f"job {job} of Slurm goes back into the queue, and later goes on from what is saved")
    latest = time.monotonic() + _PATIENCE_S
    refused = _answer("scontrol", "requeue", job)
    while not is_ended() and not refused and time.monotonic() < latest:
        time.sleep(0.1)
    if refused and not is_ended():
        say(f"job {job} of Slurm: {refused}; repeat the command of the pipeline")


def _answer(*command: str) -> str:
    """What a command of Slurm prints, or why it cannot be asked."""
    try:
        done = subprocess.run(
            command,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8", errors="replace",
            timeout=_PATIENCE_S, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{command[0]}: {error}"
    return " ".join(done.stdout.split())
