"""Stop a training between two steps when the process is asked to end."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from hitsr.base.errors import ToBeContinuedError

# What ^C, `kill`, a closed terminal and clusters send; Slurm warns with SIGUSR1 (`--signal`).
_NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1")


@contextmanager
def ending_early(words: str) -> Iterator[None]:
    """Inside the block a signal to end raises ToBeContinuedError, with these words.

    Around what has nothing to save; `watched` inside it has steps finished and saved.
    """

    def end(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        raise ToBeContinuedError(words)

    with _handled(end):
        yield


@contextmanager
def watched() -> Iterator[Callable[[], bool]]:
    """Yield a function: whether a signal to end has come inside the block.

    A second ^C ends the process as usual, in the middle of a step. Signals that the process was
    started to ignore, as SIGHUP by `nohup`, are ignored still.
    """
    received: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT and number in received:
            signal.default_int_handler(number, frame)
        received.append(number)

    with _handled(note):
        yield lambda: bool(received)


@contextmanager
def _handled(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Inside the block the handler gets all signals to end that are not ignored."""
    known = [getattr(signal, name) for name in _NAMES if hasattr(signal, name)]
    heard = [number for number in known if signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, handler) for number in heard}
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)
