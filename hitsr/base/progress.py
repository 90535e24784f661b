"""Say on stderr how far a long job is: a bar on a terminal, a plain line now and then in a log."""

import sys
import time
from types import TracebackType
from typing import Self

from tqdm import tqdm

PLAIN_INTERVAL_S = 30.0


class Progress:
    """Counts `total` units of work; use it as a context manager.

    On a terminal it draws a bar with the time left. Elsewhere (a log file, a cluster) it prints a
    line at most every 30 seconds and one at the end. `quiet` prints nothing.
    """

    def __init__(self, label: str, total: int, unit: str, quiet: bool = False) -> None:
        self.label, self.total, self.unit = label, total, unit
        self._plain = not quiet and not sys.stderr.isatty()
        self._bar = tqdm(
            total=total,
            desc=label,
            unit=unit,
            disable=quiet or self._plain,
            dynamic_ncols=True,
            leave=None,  # a bar below another goes when it is full
        )
        self._done, self._note = 0, ""
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
        """What to show beside the count from now on, such as `loss 0.0123`."""
        self._note = text
        self._bar.set_postfix_str(text, refresh=False)

    def advance(self) -> None:
        """One more unit is done."""
        self._done += 1
        self._bar.update()
        if self._plain and time.monotonic() - self._printed >= PLAIN_INTERVAL_S:
            left = (time.monotonic() - self._start) / self._done * (self.total - self._done)
            self._print(f"{tqdm.format_interval(left)} left")

    def _print(self, state: str) -> None:
        self._printed = time.monotonic()
        seconds = tqdm.format_interval(self._printed - self._start)
        parts = (f"{self._done}/{self.total} {self.unit}", f"{seconds} spent", state, self._note)
        print(f"{self.label}: {', '.join(filter(None, parts))}", file=sys.stderr, flush=True)
