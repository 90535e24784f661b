import threading
import time
from itertools import count, islice

import pytest

from hitsr.base.errors import DataError
from hitsr.data.loader import prefetched


def loader_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("loader")]


def test_batches_come_in_the_order_of_the_steps() -> None:
    def make(step: int) -> int:
        time.sleep(0.002 * (step % 3))  # so that later ones are done first
        return step

    with prefetched(make, range(5, 25)) as made:
        assert list(made) == list(range(5, 25))
    assert loader_threads() == []


def test_two_threads_make_batches_at_once() -> None:
    together = threading.Barrier(2, timeout=600)

    def make(step: int) -> int:
        together.wait()  # passes only if two threads wait at once
        return step

    with prefetched(make, range(6)) as made:
        assert list(made) == list(range(6))


def test_only_a_few_steps_are_prefetched() -> None:
    begun: list[int] = []
    with prefetched(begun.append, count()) as made:
        list(islice(made, 10))
    assert 10 <= len(begun) <= 10 + 5


def test_an_error_is_raised_unchanged_at_its_step() -> None:
    def make(step: int) -> int:
        if step == 3:
            raise DataError("ant.png: truncated")
        return step

    seen = []

    def use() -> None:
        with prefetched(make, count()) as made:
            for each in made:
                seen.append(each)

    with pytest.raises(DataError, match=r"^ant\.png: truncated$"):
        use()
    assert seen == [0, 1, 2]
    assert loader_threads() == []


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_leaving_early_ends_the_threads(error: type[BaseException]) -> None:
    def stop(step: int) -> None:
        assert step == 0
        raise error

    with pytest.raises(error), prefetched(lambda step: step, count()) as made:
        stop(next(made))
    assert loader_threads() == []
