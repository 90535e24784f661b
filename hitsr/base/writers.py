"""One writer at a time: locks that end with the process that holds them, however it ends.

The lock of a file or folder is `.<name>.lock` beside it. `.<name>.writer` says who holds it, and
stays behind if that process is killed.
"""

import os
import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

from filelock import FileLock, Timeout

from hitsr.base.errors import HitsrError
from hitsr.base.files import write_text


@contextmanager
def sole_writer(target: Path, say: Callable[[str], None] | None) -> Iterator[bool]:
    """Hold the lock of a file or folder inside the block, which yields whether that took waiting.

    While another process holds it, waits; `say` is told who that is. Without `say`, HitsrError.
    """
    lock, has_waited = _lock(target), False
    try:
        lock.acquire(timeout=0)
    except Timeout:
        has_waited = True
        if say is None:
            raise HitsrError(f"{target}: {_writer(target)} writes it") from None
        say(f"{target}: {_writer(target)} writes it; waiting until that has ended")
        lock.acquire()
    try:
        write_text(_signature(target), _own_words())
        yield has_waited
    finally:
        _release(target, lock)


def become_sole_user(folder: Path) -> Callable[[], None]:
    """Hold the lock of a folder until the returned function is called or the process ends.

    HitsrError if another process holds it, or held it on another machine and did not give it back:
    not every network disk tells one machine about the locks of another, so it may still run.
    """
    lock = _lock(folder)
    try:
        lock.acquire(timeout=1)  # longer than `has_user` of another process holds it
    except Timeout:
        raise HitsrError(
            f"{folder}: {_writer(folder)} is at work here; wait until it has ended, or end it, "
            "then repeat the command"
        ) from None
    signature = _signature(folder)
    if signature.is_file() and not _writer(folder).endswith(f" on {platform.node()}"):
        _give_back(lock)
        raise HitsrError(
            f"{folder}: {_writer(folder)} is at work here, or was killed; {platform.node()} cannot "
            f"tell; if it has ended, delete {signature}, then repeat the command"
        )
    write_text(signature, _own_words())
    return lambda: _release(folder, lock)


def has_user(folder: Path) -> bool:
    """Whether another process holds the lock of a folder."""
    lock = _lock(folder)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    _give_back(lock)
    return False


def _lock(target: Path) -> FileLock:
    target.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(target.parent / f".{target.name}.lock")


def _signature(target: Path) -> Path:
    return target.parent / f".{target.name}.writer"


def _own_words() -> str:
    return f"process {os.getpid()}, since {datetime.now():%Y-%m-%d %H:%M:%S}, on {platform.node()}"


def _writer(target: Path) -> str:
    """Who holds or held the lock: "process 12, since 2026-03-01 18:20:05, on host"."""
    try:
        return _signature(target).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return "another process"


def _release(target: Path, lock: FileLock) -> None:
    _signature(target).unlink(missing_ok=True)
    _give_back(lock)


def _give_back(lock: FileLock) -> None:
    """Release a lock and leave no file: whoever waits for a deleted one looks for it anew."""
    with suppress(OSError):  # Windows does not delete an open file
        Path(lock.lock_file).unlink()
    lock.release()
