"""Make what coming steps need while one is at work.

Threads suffice: copying samples and making floats of them leave the interpreter to the training.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

Made = TypeVar("Made")

WORKERS = 2
_AHEAD = 2 * WORKERS  # one at work and one done for each


@contextmanager
def made_ahead(
    make: Callable[[int], Made], steps: Iterable[int], workers: int = WORKERS
) -> Iterator[Iterator[Made]]:
    """Yield an iterator over `make(step)` in the order of `steps`, a few of them made ahead.

    What is made must depend on its step alone. An error within `make` is raised, as it is, when its
    step's turn comes. However the block is left, nothing more is begun, and no thread stays.
    """
    with ThreadPoolExecutor(workers, thread_name_prefix="loader") as pool:
        try:
            yield _in_order(pool, make, steps)
        finally:
            pool.shutdown(cancel_futures=True)


def _in_order(
    pool: ThreadPoolExecutor, make: Callable[[int], Made], steps: Iterable[int]
) -> Iterator[Made]:
    waiting: deque[Future[Made]] = deque()
    for step in steps:
        waiting.append(pool.submit(make, step))
        if len(waiting) > _AHEAD:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()
