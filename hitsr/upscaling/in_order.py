"""Read, upscale and finish items in their order, at the same time. Loads no torch."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from hitsr.data.workers import ahead, results

Size = tuple[int, int]  # height, width
AtOnce = Callable[[Size], int]  # how many pictures of a size go through a network at once
Item = TypeVar("Item")
Read = TypeVar("Read")
Upscaled = TypeVar("Upscaled")
Done = TypeVar("Done")


def in_order(
    items: Iterable[Item],
    read: Callable[[Item], Read],
    size_of: Callable[[Read], Size | None],
    upscale: Callable[[list[Read]], Sequence[Upscaled]],
    finish: Callable[[Read, Upscaled], Done],
    *,
    at_once: AtOnce = lambda _: 1,
    waiting: int = 1,
) -> Iterator[Done]:
    """Read each item, upscale it and finish it: what `finish` returns, in the order of the items.

    Up to `waiting` items are read ahead, and as many wait to be finished; both happen in threads.
    `upscale` gets items of one size that follow each other, as many as `at_once` says; an item
    without a size stands alone. An error of any function is raised when its item is reached, and
    the items before are finished.
    """
    finishing: deque[Future[Done]] = deque()
    with ThreadPoolExecutor(2 * waiting) as pool:
        for group in _of_one_size(ahead(pool, read, items, waiting), size_of, at_once):
            for each, upscaled in zip(group, upscale(group), strict=True):
                finishing.append(pool.submit(finish, each, upscaled))
            yield from results(finishing, waiting)
        yield from results(finishing, 0)


def _of_one_size(
    pictures: Iterable[Read], size_of: Callable[[Read], Size | None], at_once: AtOnce
) -> Iterator[list[Read]]:
    group: list[Read] = []
    for each in pictures:
        size = size_of(each)
        if group and size != size_of(group[0]):
            yield group
            group = []
        group.append(each)
        if size is None or len(group) >= at_once(size):
            yield group
            group = []
    if group:
        yield group
