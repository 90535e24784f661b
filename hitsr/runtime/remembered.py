"""Remember what was chosen by timing, so that a machine repeats its results in every process.

A trial may end otherwise under other load, and its ways differ in low bits. So the first answer is
kept in the user's cache folder, or in the one that the environment variable HITSR_CACHE names, for
this processor and version of PyTorch. Delete the folder to have trials made anew.
"""

import hashlib
import os
from collections.abc import Callable, Collection
from contextlib import suppress
from functools import cache
from pathlib import Path

import torch

from hitsr.base.files import write_text
from hitsr.records.provenance import cpu_name

FOLDER = "HITSR_CACHE"


def remembered(question: str, answers: Collection[str], decide: Callable[[], str]) -> str:
    """The answer that this machine gave before, if it is one of `answers`; else `decide()`.

    What is decided is kept; if several processes decide at a time, all take what one of them kept.
    Where nothing can be kept, the answer holds for this process alone.
    """
    machine = f"{cpu_name()}, torch {torch.__version__}"
    key = hashlib.sha256(f"{machine}: {question}".encode()).hexdigest()[:16]
    file = _folder() / "choices" / f"{key}.txt"
    if (known := _read(file)) in answers:
        return known
    answer = decide()
    with suppress(OSError):  # a folder that cannot be written to
        _keep(file, f"{answer}\n{question}\n{machine}\n", answers)
    return kept if (kept := _read(file)) in answers else answer


def _keep(file: Path, text: str, answers: Collection[str]) -> None:
    """Write a file unless another process has written a valid one meanwhile."""
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        with file.open("x", encoding="utf-8") as made:
            made.write(text)
    except FileExistsError:
        if _read(file) not in answers:  # damaged, or of another version of hitsr
            write_text(file, text)


def _read(file: Path) -> str:
    """The first line; empty if the file is not there or cannot be read."""
    try:
        return file.read_text(encoding="utf-8").partition("\n")[0]
    except (OSError, UnicodeDecodeError):
        return ""


@cache
def _user_folder() -> Path:
    import pooch

    return Path(pooch.os_cache("hitsr"))


def _folder() -> Path:
    named = os.environ.get(FOLDER)
    return Path(named) if named else _user_folder()
