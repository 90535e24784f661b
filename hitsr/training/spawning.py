"""Start the processes that share a training on this machine, and end all of them if one fails.

They find one another by the environment variables of torchrun, which can start them as well, on
several machines. On one machine it is not used, since it takes the exit status of a training that
is to be continued for a failure.
"""

import math
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from tempfile import TemporaryFile
from typing import IO, NamedTuple

from torch.distributed import TCPStore  # type: ignore[attr-defined]

from hitsr.base.errors import TO_BE_CONTINUED, HitsrError
from hitsr.training.processes import LostError
from hitsr.training.stopping import watched

LOST = 76  # exit status of a process that another one has left: that one says why
_PATIENCE_S = 20.0  # for the others, once one has failed
_RUN_ID, _OURS = "TORCHELASTIC_RUN_ID", "started by hitsr"  # no rendezvous of a user


class _Started(NamedTuple):
    process: subprocess.Popen[bytes]
    said: IO[bytes] | None  # what it wrote; the first one writes to our own streams


def run_together(command: Sequence[str], count: int) -> int:
    """Run a command in so many processes and wait for all; returns the exit status to end with.

    Only what the first writes is shown; after a failure of others alone, what the one at fault
    wrote. SIGTERM, SIGINT, SIGHUP and SIGUSR1 reach all as SIGTERM; a second ^C ends them at once.
    If this process is killed, they end too (`under_parent`). HitsrError if one was killed.
    """
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)  # any free port
    shared = {
        **os.environ, _RUN_ID: _OURS, "TORCHELASTIC_USE_AGENT_STORE": "True",
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(store.port),
        "WORLD_SIZE": str(count), "LOCAL_WORLD_SIZE": str(count),
    }  # fmt: skip
    shared.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # else each process warns of the others' end
    if sys.platform == "linux":
        shared.setdefault("GLOO_SOCKET_IFNAME", "lo")
    with watched() as is_asked_to_end, ExitStack() as stack:
        started = []
        for rank in range(count):
            own = {**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)}
            started.append(stack.enter_context(_started(command, own, is_heard=rank == 0)))
        is_told, latest = False, math.inf
        while None in (found := _statuses(started)) and time.monotonic() < latest:
            if is_asked_to_end() and not is_told:
                for each in started:
                    each.process.send_signal(signal.SIGTERM)
                is_told = True
            if latest == math.inf and {*found} - {None, 0, TO_BE_CONTINUED}:
                latest = time.monotonic() + _PATIENCE_S
            time.sleep(0.05)
        return _status(started, found, is_told)


@contextmanager
def _started(command: Sequence[str], env: dict[str, str], is_heard: bool) -> Iterator[_Started]:
    """A process that is killed with the block; its standard input ends when this process does."""
    with ExitStack() as stack:
        said = None if is_heard else stack.enter_context(TemporaryFile())
        process = stack.enter_context(
            subprocess.Popen(
                command, env=env, stdin=subprocess.PIPE, stdout=said, stderr=said,
                start_new_session=True,  # ^C reaches this process alone, which passes it on
            )
        )  # fmt: skip
        stack.callback(process.kill)
        yield _Started(process, said)


def _statuses(started: Sequence[_Started]) -> list[int | None]:
    return [each.process.poll() for each in started]


def _status(started: Sequence[_Started], found: Sequence[int | None], is_told: bool) -> int:
    """The exit status of all: that of the process at fault, whose words are shown once."""
    at_fault = [rank for rank, status in enumerate(found) if status not in (None, 0, LOST)]
    if not at_fault:
        if any(found):
            raise HitsrError(
                f"the {len(found)} processes of this training lost one another; the same command "
                "goes on from the last checkpoint"
            )
        return 0
    rank = at_fault[0]
    status, said = found[rank], started[rank].said
    assert status is not None
    if status == -signal.SIGTERM and is_told:  # it had not begun
        return 128 + signal.SIGTERM
    if status < 0:
        raise HitsrError(
            f"process {rank + 1} of the {len(found)} of this training was ended by "
            f"{signal.Signals(-status).name}, perhaps since memory ran out; the others were ended "
            "too; the same command goes on from the last checkpoint"
        )
    if said is not None:
        said.seek(0)
        sys.stderr.write(said.read().decode(errors="replace"))
    return status


def is_started_here() -> bool:
    """Whether `run_together` has started this process."""
    return os.environ.get(_RUN_ID) == _OURS


@contextmanager
def under_parent() -> Iterator[None]:
    """Around the work of a process, which `run_together` or something else has started.

    In the first case it ends at once if that one is killed, and leaves it to the process at fault
    to say why all end.
    """
    if not is_started_here():
        yield
        return
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        yield
    except LostError:
        sys.exit(LOST)


def _end_with_parent() -> None:
    # Not through sys.stdin, whose lock would be held as the interpreter ends.
    while os.read(0, 1):
        pass
    os._exit(LOST)
