"""Work through many pictures in threads: on all cores, or behind a network."""

import os
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from hitsr.base.errors import DataError
from hitsr.base.progress import Progress

Item = TypeVar("Item")
Result = TypeVar("Result")

_MOST_NAMED = 20  # bad pictures in one message


def on_all_cores(
    label: str, function: Callable[[Item], Result], items: Collection[Item], *, quiet: bool = False
) -> list[Result]:
    """`function` of each item, a picture, in their order; in threads, as many as there are cores.

    NumPy and Pillow release the interpreter lock: 2 threads are 1.7 times as fast as one. After a
    DataError the other items are still worked on; then one DataError has a line for each. Any other
    error ends the work.
    """

    def attempted(item: Item) -> Result | DataError:
        try:
            return function(item)
        except DataError as error:
            return error

    results: list[Result] = []
    errors: list[str] = []
    with (
        Progress(label, len(items), "picture", quiet or not items) as progress,
        ThreadPoolExecutor(os.cpu_count()) as workers,
    ):
        for result in workers.map(attempted, items):
            if isinstance(result, DataError):
                errors.append(str(result))
            else:
                results.append(result)
            progress.advance()
    if errors:
        more = len(errors) - _MOST_NAMED
        told = [*errors[:_MOST_NAMED], *([f"and {more} more"] if more > 0 else [])]
        raise DataError("\n".join(told))
    return results


def ahead(
    pool: ThreadPoolExecutor, function: Callable[[Item], Result], items: Iterable[Item], most: int
) -> Iterator[Result]:
    """`function` of each item, in their order; at most `most` are begun before they are asked for.

    An error is raised when the iterator reaches its item.
    """
    waiting: deque[Future[Result]] = deque()
    for item in items:
        waiting.append(pool.submit(function, item))
        if len(waiting) > most:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def results(waiting: deque[Future[Result]], most: int) -> Iterator[Result]:
    """The results of the oldest, until at most `most` wait and the next is not ready.

    For work behind a network, such as encoding and writing: the network goes on meanwhile. Raises
    what the work raised.
    """
    while waiting and (len(waiting) > most or waiting[0].done()):
        yield waiting.popleft().result()
