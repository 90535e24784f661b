"""Standard output and error: in UTF-8, whatever the locale, and whoever reads them."""

import errno
import re
import sys
from io import BufferedWriter, FileIO, TextIOWrapper
from typing import Any


def use_utf_8() -> None:
    """From now on print UTF-8, which hitsr reads; file names go through byte by byte.

    Without this, a plain locale ends a program at the first letter beyond ASCII.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # tests and notebooks have others
            stream.reconfigure(encoding="utf-8", errors="surrogateescape")


def for_terminal(text: str) -> str:
    """Text that moves no cursor and sets no colour, whatever names of files are in it."""
    return re.sub(r"[\0-\x08\x0b-\x1f\x7f-\x9f]", lambda found: ascii(found[0])[1:-1], text)


class _Unread(FileIO):
    """A file whose reader may end before its writer; what is written then is lost."""

    def write(self, content: Any, /) -> int:
        try:
            return super().write(content)
        except OSError as error:
            if error.errno not in (errno.EPIPE, errno.EIO):  # a closed pipe, a closed terminal
                raise
            return len(content)


def survive_readers() -> None:
    """Let no progress or message on stderr end this process because nobody reads it any more."""
    old = sys.stderr
    if type(old) is TextIOWrapper:  # tests have others
        raw = _Unread(old.fileno(), "wb", closefd=False)
        sys.stderr = TextIOWrapper(
            BufferedWriter(raw), old.encoding, old.errors, line_buffering=True
        )
