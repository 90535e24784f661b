"""Names and paths that users give: which ones are accepted, said once, for every kind of name.

Names become parts of file names on every system: some disks do not tell `A` from `a`, and Windows
refuses some names and drops dots at the end.
"""

import hashlib
import os
import re
import unicodedata
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator

LONGEST_NAME = 100  # bytes
_LONGEST_FOLDER = 200
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")
_OF_WINDOWS = re.compile(r"(con|prn|aux|nul|(com|lpt)[0-9¹²³]) *(\..*)?", re.IGNORECASE)


def check_name(name: str) -> str:
    """The name of a network, variant, ablation or config; ValueError says what is wrong with it."""
    if not _NAME.fullmatch(name):
        raise ValueError(
            "a name has lower-case letters a to z, digits, `.`, `_` and `-`, and begins with a "
            "letter or digit"
        )
    return _portable(name, LONGEST_NAME)


def check_folder(name: str) -> str:
    """The name of a set, which is its folder in data.root; ValueError says what is wrong with it.

    Users may not be free to choose it, so it may have any character that fits into one line.
    """
    parts = name.split("/")
    if "\\" in name or any(not part or part[0] == "." for part in parts):
        raise ValueError("must be a folder within data.root, such as Set5 or tests/Set5")
    if any(unicodedata.category(each) in ("Cc", "Cs") for each in name):
        raise ValueError("must be one line")
    user_path(name)
    for part in parts:
        if part != part.strip():
            raise ValueError("must neither begin nor end with a space")
        _portable(part, _LONGEST_FOLDER)
    return name


def user_path(text: str) -> Path:
    """The path, `~` at its beginning replaced; ValueError if no file can have it here."""
    try:
        encoded = os.fsencode(text)
    except UnicodeEncodeError as error:
        raise ValueError(f"no path in this locale's {error.encoding}; set PYTHONUTF8=1") from None
    if b"\0" in encoded:
        raise ValueError("must not hold a zero byte")
    try:
        return Path(text).expanduser() if text.startswith("~") else Path(text)
    except RuntimeError as error:
        raise ValueError(f"{error}; write ./~ for a folder of that name") from None


def cut_name(name: str, longest: int) -> str:
    """The name, or if it has more characters, its beginning and a hash."""
    if len(name) <= longest:
        return name
    return f"{name[: longest - 17]}_{hashlib.sha256(name.encode()).hexdigest()[:16]}"


def _portable(name: str, longest: int) -> str:
    if len(name.encode()) > longest:
        raise ValueError(f"must have at most {longest} bytes")
    if name.endswith(".") or _OF_WINDOWS.fullmatch(name):
        raise ValueError("no file can have this name on Windows; choose another")
    return name


Name = Annotated[str, AfterValidator(check_name)]
FolderName = Annotated[str, AfterValidator(check_folder)]
UserPath = Annotated[
    Path, BeforeValidator(lambda given: user_path(given) if isinstance(given, str) else given)
]
