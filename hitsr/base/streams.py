"""Standard output and error in UTF-8, whatever the locale."""

import sys
from io import TextIOWrapper


def use_utf_8() -> None:
    """From now on print UTF-8, which hitsr reads; file names go through byte by byte.

    Without this, a plain locale ends a program at the first letter beyond ASCII.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # tests and notebooks have others
            stream.reconfigure(encoding="utf-8", errors="surrogateescape")
