"""Download a file with pooch: within limits of size and speed, and on from where it was cut off.

What came is kept in `<file>.part` until the file is whole, so that a later call, also in another
process, goes on with it.
"""

import re
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import IO, TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

from hitsr.base.errors import HitsrError, shortened
from hitsr.base.files import check_room, naming, size_words
from hitsr.base.progress import Progress

if TYPE_CHECKING:
    import requests

_SILENCE_S = 30  # of a server, before it is asked again
_SLACK_S = 60  # for a request, before its speed counts
_SLOWEST = 10_000  # bytes in a second, on average after the slack
_ATTEMPTS = 6  # in a row that bring nothing
_PAUSE_S = 2.0  # before the second of these; twice as long before each further one
_CHUNK = 2**16
_MB = 10**6
_PASSING = (408, 416, 429, 500, 502, 503, 504)  # statuses after which to ask again


def part_of(target: Path) -> Path:
    """Where a file is kept until it is whole."""
    return target.with_name(f"{target.name}.part")


def download(
    url: str,
    target: Path,
    say: Callable[[str], None],
    *,
    most_bytes: int,
    is_exact: bool = False,
) -> None:
    """Download a file, or the rest of it; `say` is told when the server is asked again.

    With `is_exact`, the file must have `most_bytes`. Raises HitsrError, with the reason alone, if
    the server cannot be reached, refuses, leads to another kind of address or a web page, is cut
    off again and again, is too slow or sends too much; OSError if the disk is full.
    """
    import requests

    target.parent.mkdir(parents=True, exist_ok=True)
    part, idle, is_there = part_of(target), 0, False
    while not (is_exact and _size(part) == most_bytes):
        before = _size(part)
        request = _Request(url, part, say, most_bytes, is_exact)
        try:
            with naming(part):
                request.run()
            break
        except requests.RequestException as error:
            reason = _reason(error)
            idle = 0 if _size(part) > before else idle + 1
            is_there = is_there or request.is_answered
            if idle == _ATTEMPTS or not _may_pass(error, is_there):
                raise HitsrError(reason) from None
            pause = _PAUSE_S * 2 ** max(0, idle - 1)
        except (HitsrError, OSError):
            raise
        except Exception as error:  # of pooch, urllib3 or http: they have no common base class
            raise HitsrError(_reason(error)) from error
        came = size_words(_size(part))
        say(f"{target.name}: stopped at {came}: {reason}; goes on in {pause:.0f} s")
        time.sleep(pause)
    part.replace(target)


def check_redirect(url: str, location: str) -> None:
    """Raise HitsrError unless a server may lead there: by HTTPS, or by HTTP if it was asked so."""
    target = urljoin(url, location)
    allowed = {"https", urlsplit(url).scheme} & {"http", "https"}
    if urlsplit(target).scheme not in allowed:
        raise HitsrError(f"it leads to {target}, which is not {' or '.join(sorted(allowed))}")


def _may_pass(error: "requests.RequestException", is_there: bool) -> bool:
    """Whether the same request may succeed later, of a server that has answered before or not."""
    from requests import exceptions as known

    if error.response is not None:
        return error.response.status_code in _PASSING
    if isinstance(error, known.ConnectionError) and not is_there:
        return False  # no network, or a wrong name: told at once
    return isinstance(error, known.ConnectionError | known.Timeout | known.ChunkedEncodingError)


def _reason(error: Exception) -> str:
    """What is behind an error of requests, which wraps others and names its own objects."""
    cause: object = error
    while isinstance(cause, Exception) and cause.args:
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
        cause = getattr(cause, "reason", cause.args[0])
    return re.sub(r"^HTTPS?\w*\([^)]*\): ", "", str(cause)) or type(error).__name__


class _Whole(Exception):
    """There is nothing more to download."""


class _Request:
    """One request for what is missing of a file; the progress bar that pooch reports to."""

    def __init__(
        self, url: str, part: Path, say: Callable[[str], None], most_bytes: int, is_exact: bool
    ) -> None:
        self.total = 0  # bytes that the server announces; set by pooch
        self.is_answered = False
        self._url, self._part, self._say = url, part, say
        self._most_bytes, self._is_exact = most_bytes, is_exact
        self._offset = _size(part)  # where the request begins
        self._received = 0
        self._is_read = self._is_given_up = False
        self._started = time.monotonic()
        self._progress: Progress | None = None
        self._file: IO[bytes]
        self._opened: ExitStack

    def run(self) -> None:
        """Download in a thread, since a server that drips holds up each read for long."""
        outcome: list[BaseException] = []

        def work() -> None:
            try:
                self._work()
            except BaseException as error:  # raised in the thread that waits
                outcome.append(error)

        worker = threading.Thread(target=work, daemon=True)
        worker.start()
        try:
            while worker.is_alive():
                worker.join(0.1)
                self._check_speed()
            if outcome and not isinstance(outcome[0], _Whole):
                raise outcome[0]
        finally:
            self._is_given_up = True
            if self._progress:
                self._progress.__exit__(*sys.exc_info())

    def _work(self) -> None:
        import pooch
        from requests.exceptions import ChunkedEncodingError

        headers = {"Accept-Encoding": "identity"}
        if self._offset:
            headers["Range"] = f"bytes={self._offset}-"
        with ExitStack() as self._opened:
            self._file = self._opened.enter_context(self._part.open("ab"))
            fetch = pooch.HTTPDownloader(
                progressbar=self,
                chunk_size=_CHUNK,
                timeout=_SILENCE_S,
                headers=headers,
                hooks={"response": lambda response, **_: self._check_answer(response)},
            )
            fetch(self._url, self._file, None)
        if self._received < self.total:
            raise ChunkedEncodingError("the connection was cut")

    def _check_answer(self, response: "requests.Response") -> None:
        """Check the head of an answer, before pooch reads the rest; adjust where it begins."""
        self._opened.callback(response.close)
        self.is_answered = True
        if response.is_redirect:
            return check_redirect(response.url, response.headers["location"])
        named = response.headers.get("content-range", "")
        if response.status_code == 416:
            if named == f"bytes */{self._offset}":
                raise _Whole
            self._begin_anew("what came before is no beginning of the file")
        if not response.ok:
            return  # pooch raises
        if response.status_code not in (200, 206):  # such as a redirect to nowhere
            raise HitsrError(f"the server sent no file, but status {response.status_code}")
        if response.headers.get("content-type", "").strip().lower().startswith("text/html"):
            raise HitsrError("the server sent a web page")
        if response.status_code != 206 and self._offset:
            self._begin_anew("the server sends the whole file again")
        elif response.status_code == 206 and not re.match(f"bytes {self._offset}-", named):
            raise HitsrError(f"asked for bytes from {self._offset}, the server sent {named!r}")
        announced = response.headers.get("content-length", "0")
        if not announced.isdecimal():
            raise HitsrError(f"the server announced {shortened(announced)} bytes")
        length = int(announced)
        if self._is_exact and length and self._offset + length != self._most_bytes:
            raise HitsrError(
                f"it has {self._offset + length:,} bytes, and {self._most_bytes:,} were published"
            )
        self._check_size(self._offset + length)
        check_room(self._part.parent, length)

    def _begin_anew(self, why: str) -> None:
        self._say(f"{self._part.stem}: begins anew, since {why}")
        self._file.truncate(0)
        self._offset = 0

    def update(self, _: int) -> None:
        """Count what was written; pooch calls this after each chunk."""
        if self._is_given_up:
            raise HitsrError("given up")
        if self._is_read:
            return
        if self._progress is None:
            self._progress = Progress(self._part.stem, -(-self.total // _MB), "MB")
        before, self._received = self._received, self._file.tell() - self._offset
        self._progress.advance(self._received // _MB - before // _MB)
        self._check_size(self._offset + self._received)

    def reset(self) -> None:
        """Called at the end, before pooch counts the total once more."""
        self._is_read = True

    def close(self) -> None:
        """Called at the end."""

    def _check_size(self, size: int) -> None:
        if size > self._most_bytes:
            self._file.truncate(0)
            raise HitsrError(f"it has more than {self._most_bytes // _MB} MB")

    def _check_speed(self) -> None:
        seconds = time.monotonic() - self._started
        if seconds > _SLACK_S + self._received / _SLOWEST:
            raise HitsrError(f"{self._received} bytes came in {seconds:.0f} s")


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0
