"""Places on devices of this machine: one process holds a place until it ends, however it ends.

A place is a name among Linux's abstract sockets. Of all processes and users one at a time can bind
it, and the kernel takes it back from a process that ends, even from one that is killed. Nothing is
written, so nothing is left behind, and no other user can delete or replace it.
"""

import errno
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import NamedTuple

MOST = 16  # places of a device
_PAUSE_S = 0.2


class Lease(NamedTuple):
    """Devices that this process may use while `places` is open."""

    devices: tuple[str, ...]
    places: ExitStack


def lease_devices(devices: Sequence[str], count: int, say: Callable[[str], None]) -> Lease:
    """Wait for so many of these devices, and hold all places of each.

    Takes all at once or none, so that no two processes wait for one another.
    """
    return _wait(lambda: _whole(devices, count), f"{count} of {', '.join(devices)}", say)


def lease_place(devices: Sequence[str], places: int, say: Callable[[str], None]) -> Lease:
    """Wait for one of the first `places` places of one of these devices, and hold it.

    The fullest device is taken, so that others stay free for those that need a whole one.
    """
    return _wait(lambda: _place(devices, places), f"a place on {', '.join(devices)}", say)


def _wait(attempt: Callable[[], Lease | None], wanted: str, say: Callable[[str], None]) -> Lease:
    is_told = False
    while True:
        with _turn():
            if lease := attempt():
                return lease
        if not is_told:
            say(f"waiting for {wanted}: other jobs hold the rest")
            is_told = True
        time.sleep(_PAUSE_S)


def _whole(devices: Sequence[str], count: int) -> Lease | None:
    found = list[str]()
    with ExitStack() as held:
        for device in devices:
            with ExitStack() as places:
                if len(found) < count and all(_hold(places, device, n) for n in range(MOST)):
                    found.append(device)
                    held.push(places.pop_all())
        return Lease(tuple(found), held.pop_all()) if len(found) == count else None


def _place(devices: Sequence[str], places: int) -> Lease | None:
    with ExitStack() as probed:
        free: dict[str, list[int]] = {}
        for device in devices:
            if found := [n for n in range(places) if _hold(probed, device, n)]:
                free[device] = found
    if not free:
        return None
    fullest = min(free, key=lambda device: len(free[device]))
    with ExitStack() as held:
        is_held = _hold(held, fullest, free[fullest][0])
        assert is_held  # since nobody else has the turn
        return Lease((fullest,), held.pop_all())


@contextmanager
def _turn() -> Iterator[None]:
    """Among all processes, one at a time looks for free places."""
    with ExitStack() as held:
        while not _bind(held, "turn"):
            time.sleep(0.001)
        yield


def _hold(held: ExitStack, device: str, place: int) -> bool:
    return _bind(held, f"{device}/{place}")


def _bind(held: ExitStack, name: str) -> bool:
    """Whether the name is now held, until the stack is closed."""
    place = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        place.bind(f"\0hitsr/{name}".encode())
    except OSError as error:
        place.close()
        if error.errno != errno.EADDRINUSE:
            raise
        return False
    held.enter_context(place)
    return True
