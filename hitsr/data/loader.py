"""Prefetch training batches in background threads.

Threads, not processes: NumPy releases the interpreter lock while it copies and converts samples.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

Batch = TypeVar("Batch")

WORKERS = 2
PREFETCHED = 2 * WORKERS  # per worker, one batch in the making and one finished


@contextmanager
def prefetched(
    make: Callable[[int], Batch], steps: Iterable[int], workers: int = WORKERS
) -> Iterator[Iterator[Batch]]:
    """Yield an iterator over `make(step)`, in the order of `steps`, computed a few steps ahead.

    `make` runs in threads: its result may depend on its step only. An error inside `make` is raised
    unchanged when the iterator reaches that step. When the block is left, for whatever reason,
    queued steps are cancelled and the threads have ended.
    """
    with ThreadPoolExecutor(workers, thread_name_prefix="loader") as pool:
        try:
            yield _in_order(pool, make, steps)
        finally:
            pool.shutdown(cancel_futures=True)


def _in_order(
    pool: ThreadPoolExecutor, make: Callable[[int], Batch], steps: Iterable[int]
) -> Iterator[Batch]:
    queue: deque[Future[Batch]] = deque()
    for step in steps:
        queue.append(pool.submit(make, step))
        if len(queue) > PREFETCHED:
            yield queue.popleft().result()
    while queue:
        yield queue.popleft().result()
