"""Prefetch training batches in background threads.

Threads, not processes: NumPy releases the interpreter lock while it copies and converts samples.
"""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from hitsr.data.workers import ahead

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
            yield ahead(pool, make, steps, PREFETCHED)
        finally:
            pool.shutdown(cancel_futures=True)
