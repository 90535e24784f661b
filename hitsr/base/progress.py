"""Progress on stderr: a bar on a terminal, a plain line every 30 seconds in a log file."""

import sys
import time
from types import TracebackType
from typing import Self

from tqdm import tqdm

PLAIN_INTERVAL_S = 30.0


class Progress:
    """Progress through `total` units of work; a context manager.

    On a terminal it draws a bar with rate and time left. In a log file or on a cluster it prints a
    line with these at most every 30 seconds, and one at the end. With `quiet` it prints nothing.
    `done` units were done before.
    """

    def __init__(
        self, label: str, total: int, unit: str, quiet: bool = False, done: int = 0
    ) -> None:
        self.label, self.total, self.unit = label, total, unit
        self._plain = not quiet and not sys.stderr.isatty()
        self._bar = tqdm(
            total=total,
            initial=done,
            desc=label,
            unit=unit,
            disable=quiet or self._plain,
            dynamic_ncols=True,
            leave=None,  # keep a finished bar only if it is the outermost one
        )
        self._done = self._first = done
        self._note = ""
        self._start = self._printed = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._bar.close()
        if self._plain:
            self._print("stopped" if error else "done")

    def note(self, text: str) -> None:
        """Show `text` beside the count from now on, such as `loss 0.0123`."""
        self._note = text
        self._bar.set_postfix_str(text, refresh=False)

    def advance(self, count: int = 1) -> None:
        """Count more units as done."""
        self._done += count
        self._bar.update(count)
        if self._plain and time.monotonic() - self._printed >= PLAIN_INTERVAL_S:
            self._print(self._left())

    def _left(self) -> str:
        """The time left, at the pace so far; empty before there is one."""
        now = self._done - self._first
        if not now:
            return ""
        more = max(0, self.total - self._done)  # a total may be only the least
        left = (time.monotonic() - self._start) / now * more
        return f"{tqdm.format_interval(left)} left"

    def _print(self, state: str) -> None:
        self._printed = time.monotonic()
        seconds = self._printed - self._start
        spent = f"{tqdm.format_interval(seconds)} spent"
        count, now = f"{self._done}/{self.total} {self.unit}", self._done - self._first
        rate = f"{now / seconds:.3g} {self.unit}/s" if now and seconds >= 1 else ""
        parts = (count, spent, rate, state, self._note)
        print(f"{self.label}: {', '.join(filter(None, parts))}", file=sys.stderr, flush=True)
