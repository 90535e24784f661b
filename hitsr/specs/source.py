"""Where a user's own network comes from, as one line of text.

`path/to/file.py:function`, `package.module:function`, or `spandrel:path/to/checkpoint.pth`.
"""

import re
from pathlib import Path
from typing import NamedTuple

from hitsr.base.names import user_path

_SPANDREL = "spandrel:"
_DRIVE = re.compile(r"^[A-Za-z]:(?=[/\\])")  # of Windows


class Source(NamedTuple):
    """A function in a file or installed module, or, without a function, a checkpoint's file."""

    file: Path | None  # None: an installed module
    module: str = ""
    function: str = ""


def read_source(text: str) -> Source:
    """Take the text apart; ValueError if it is none of the three. Paths may have colons."""
    if text.startswith(_SPANDREL) and text != _SPANDREL:
        return Source(user_path(text.removeprefix(_SPANDREL)))
    place, _, function = text.rpartition(":")
    if function.isidentifier() and place.endswith(".py"):
        return Source(user_path(place), function=function)
    if function.isidentifier() and all(part.isidentifier() for part in place.split(".")):
        return Source(None, place, function)
    raise ValueError("must be file.py:function, package.module:function or spandrel:file")


def is_source(text: str) -> bool:
    """Whether the text names code or a checkpoint, not a network or the file of a spec.

    The colon of a Windows drive does not count, nor do those in names of files.
    """
    is_file = text.endswith((".json", ".yaml", ".yml")) or Path(text).is_file()
    return not is_file and ":" in _DRIVE.sub("", text, count=1)
