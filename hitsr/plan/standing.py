"""Where a results folder stands: which files the pipeline would make now, as Snakemake says.

Snakemake alone decides, so that nothing here can differ from what it does. Its rules write job
files before it looks, so it looks at a stand-in for the working folder: a temporary folder in which
the results are copies without their bulk, and all else is links. So nothing is written here, and a
config can be asked about before it is used.
"""

import os
import subprocess
import sys
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from json import loads
from pathlib import Path
from shutil import copyfile
from tempfile import TemporaryDirectory
from typing import NamedTuple

from hitsr.base.errors import HitsrError
from hitsr.base.files import write_text
from hitsr.base.shipped import SHIPPED

_SNAKEFILE = SHIPPED / "workflow/Snakefile"
_STATE = Path(".snakemake")  # what Snakemake keeps of each file that it made
# Snakemake compares the content of smaller inputs that have a newer time stamp.
_COMPARED = 1_000_000  # bytes
_UNREAD = ("logs", "checkpoints")  # folders in which no rule has inputs or outputs
_STAMP = ".snakemake_timestamp"  # of a folder that a job makes
_BULKY = ("pictures", "lam")  # of the files in folders in these, rules know two
_KNOWN = (_STAMP, "record.json")


class Standing(NamedTuple):
    """What Snakemake says of one file that a job makes."""

    rule: str
    status: str  # "ok", "missing", "updated input files", "params changed" ...
    is_wanted: bool  # whether it would be made now


def standings(config: Path | str, results: Path) -> dict[Path, Standing]:
    """What Snakemake says of each file that the report of a config needs, in its order.

    `config` is a config's file, or the text of one. HitsrError if Snakemake cannot tell.
    """
    with _stand_in(results) as place:
        if isinstance(config, str):
            write_text(place / ".hitsr-plan.yaml", config)
            config = Path(".hitsr-plan.yaml")
        command = ["-m", "snakemake", "--snakefile", str(_SNAKEFILE), "--summary"]
        done = subprocess.run(
            [sys.executable, "-P", *command, "--configfile", str(config)],
            cwd=place, capture_output=True, encoding="utf-8", errors="replace",
        )  # fmt: skip
    head, *lines = done.stdout.splitlines() or [""]
    if done.returncode or not head.startswith("output_file"):
        said = "\n".join(done.stderr.strip().splitlines()[-5:]).removeprefix("hitsr: ")
        raise HitsrError(f"Snakemake cannot tell what is to be made: {said}")
    rows = (line.split("\t") for line in lines)
    return {
        Path(file): Standing(rule, status, todo == "update pending")
        for file, _, rule, _, status, todo in rows
    }


def recorded(output: Path) -> str | None:
    """The parameters that a file was made with, as Snakemake's text; None if it has none.

    Only words are chosen by it: where Snakemake keeps them otherwise, less is said.
    """
    encoded = urlsafe_b64encode(str(output).encode()).decode()
    longest = 254  # of a file's name, before an @
    parts = [encoded[at : at + longest] for at in range(0, len(encoded), longest)]
    file = _STATE.joinpath("metadata", *(f"@{part}" for part in parts[:-1]), parts[-1])
    try:
        return str(loads(file.read_bytes())["params"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


@contextmanager
def _stand_in(results: Path) -> Iterator[Path]:
    """A folder in which the paths that a config names, also with "..", lead where they do here.

    Links stand for all that is around the results folder and around the folders above it.
    """
    here = Path.cwd()
    outside = {here, *here.parents}
    with TemporaryDirectory(prefix="hitsr-plan-") as top:
        place, folder = Path(top), Path(here.anchor)
        for part in (here / results).parts[1:]:
            with suppress(OSError):  # a folder that is not there, or cannot be listed
                for name in {*os.listdir(folder)} - {part, _STATE.name}:
                    # Locks of results, hidden beside them, are no links: they are written.
                    if folder in outside or not name.startswith("."):
                        (place / name).symlink_to(folder / name)
            place, folder = place / part, folder / part
            place.mkdir()
            if folder == here and _STATE.is_dir():
                _link_state(place)
        _copy(folder, place)
        yield Path(top, *here.parts[1:])


def _link_state(place: Path) -> None:
    """Let Snakemake read what it kept, and write elsewhere."""
    (place / _STATE).mkdir()
    for name in ("metadata", "incomplete"):
        if (_STATE / name).is_dir():
            (place / _STATE / name).symlink_to((_STATE / name).absolute())


def _copy(source: Path, target: Path, depth: int = 0) -> None:
    """Copy a results folder with its time stamps; files too large to be compared become holes."""
    if not source.is_dir():
        return
    is_bulky = depth == 2 and source.parent.name in _BULKY
    for entry in os.scandir(source):
        made, name = target / entry.name, entry.name
        if entry.is_dir():
            if name not in _UNREAD and not name.startswith("."):
                made.mkdir()
                _copy(Path(entry.path), made, depth + 1)
        elif name in _KNOWN or not (name.startswith(".") or is_bulky):
            _copy_file(Path(entry.path), made, is_whole=source.name == "seen")
    _copy_times(source, target)


def _copy_file(source: Path, target: Path, is_whole: bool) -> None:
    try:
        size = source.stat().st_size
    except FileNotFoundError:  # a link to nothing
        return
    if is_whole or size <= _COMPARED:
        copyfile(source, target)
    else:
        target.touch()
        os.truncate(target, size)
    _copy_times(source, target)


def _copy_times(source: Path, target: Path) -> None:
    stat = source.stat()
    os.utime(target, ns=(stat.st_atime_ns, stat.st_mtime_ns))
