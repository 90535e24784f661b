"""The manifest of a results folder: the SHA-256 of each of its files, in the format of `sha256sum`.

The pipeline writes it at its end. Hidden files are not listed (locks, temporary files, results that
wait), nor is what holds for one machine or one run alone: `seen` and `jobs/wanted.json`. The same
files give the same bytes. Beside it, `seen` keeps the sizes and time stamps of the files, so that
only those that changed are hashed again.
"""

import json
import os
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from hitsr.base.errors import RecordError, shortened
from hitsr.base.files import sha256, write_bytes, write_text
from hitsr.base.progress import Progress
from hitsr.plan.layout import Layout
from hitsr.plan.watching import Stamp, stamp_of

_AT_ONCE = 256  # files that are handed to the threads together
_MANY = 1000  # files, from which on progress is shown
# A file that changed so shortly before may change again without another stamp: some disks keep
# times to two seconds.
_FRESH_NS = 2_000_000_000
_ESCAPES = {"\\": "\\\\", "\n": "\\n", "\r": "\\r"}
_LINE = re.compile(rb"(\\?)([0-9a-f]{64}) [ *](.+)", re.DOTALL)


class Stamped(NamedTuple):
    """A file as it was when it was hashed."""

    stamp: Stamp
    sha256: str


class Differences(NamedTuple):
    """What a folder has otherwise than its manifest; paths within the folder, sorted."""

    changed: list[str]
    missing: list[str]
    unlisted: list[str]
    unreadable: dict[str, str]  # listed files, and why they cannot be read
    found: Mapping[str, str]  # the SHA-256 of every file that can be read


def artefacts(layout: Layout) -> list[str]:
    """The files of a folder that its manifest lists: paths within it, sorted.

    Folders behind links are looked into, unless they lead back to where they lie.
    """
    own = {layout.manifest, layout.wanted}
    found = [path for path in _files(layout.results, ()) if path not in own]
    names = (path.relative_to(layout.results).as_posix() for path in found)
    machine = layout.seen("manifest").parent.relative_to(layout.results).as_posix()
    return sorted(name for name in names if not name.startswith(f"{machine}/"))


def _files(folder: Path, above: tuple[str, ...]) -> Iterator[Path]:
    real = os.path.realpath(folder)
    if real in above:
        return
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                yield from _files(folder / entry.name, (*above, real))
            elif entry.is_file():
                yield folder / entry.name


def write_manifest(layout: Layout) -> None:
    """List the files of a folder as they are now; OSError names one that cannot be read."""
    begun_ns, known, names = time.time_ns(), _read_stamps(layout), artefacts(layout)
    stamps = {name: stamp_of((layout.results / name).stat()) for name in names}
    old = {n: known[n].sha256 for n in names if n in known and known[n].stamp == stamps[n]}
    new: dict[str, str] = {}
    for name, digest in _hashed(layout, [name for name in names if name not in old]):
        if isinstance(digest, OSError):
            raise digest
        new[name] = digest
    digests = {name: old.get(name) or new[name] for name in names}
    write_bytes(layout.manifest, b"".join(manifest_line(*each) for each in digests.items()))
    kept = {
        name: Stamped(stamps[name], digest)
        for name, digest in digests.items()
        if max(stamps[name][1:]) < begun_ns - _FRESH_NS
    }
    write_text(layout.seen("manifest"), json.dumps(kept))


def read_manifest(layout: Layout) -> dict[str, str]:
    """SHA-256 by path within the folder; RecordError if there is no manifest, or it is damaged."""
    file = layout.manifest
    again = f"`hitsr verify --update {layout.results}` writes it anew, of the files as they are"
    try:
        *lines, rest = file.read_bytes().split(b"\n")
    except FileNotFoundError:
        raise RecordError(
            f"{file}: no such file; the pipeline writes it at its end, and where that has nothing "
            f"to do, {again}"
        ) from None
    listed: dict[str, str] = {}
    for number, line in enumerate([*lines, *filter(None, [rest])], 1):
        if not (match := _LINE.fullmatch(line)):
            raise RecordError(f"{file}:{number}: damaged line {shortened(line)}; {again}")
        escaped, digest, name = match.groups()
        listed[_unescaped(os.fsdecode(name)) if escaped else os.fsdecode(name)] = digest.decode()
    return listed


def compare_with_manifest(layout: Layout, listed: Mapping[str, str]) -> Differences:
    """Hash every file of a folder, and compare with what its manifest lists."""
    found, unreadable = dict[str, str](), dict[str, str]()
    for name, digest in _hashed(layout, artefacts(layout)):
        if isinstance(digest, OSError):
            unreadable[name] = digest.strerror or str(digest)
        else:
            found[name] = digest
    there = found.keys() | unreadable.keys()
    return Differences(
        changed=sorted(n for n in listed if n in found and found[n] != listed[n]),
        missing=sorted(listed.keys() - there),
        unlisted=sorted(there - listed.keys()),
        unreadable=unreadable,
        found=found,
    )


def _hashed(layout: Layout, names: Iterable[str]) -> Iterator[tuple[str, str | OSError]]:
    """SHA-256 of each file, or why it cannot be read."""
    names = list(names)
    waiting = iter(names)
    label = f"hash {layout.results}"
    with (
        ThreadPoolExecutor() as pool,  # hashing leaves Python free
        Progress(label, len(names), "file", quiet=len(names) < _MANY) as progress,
    ):
        while some := list(islice(waiting, _AT_ONCE)):
            yield from zip(some, pool.map(_digest, (layout.results / name for name in some)))
            progress.advance(len(some))


def _digest(path: Path) -> str | OSError:
    try:
        return sha256(path)
    except OSError as error:
        return error


def manifest_line(name: str, digest: str) -> bytes:
    r"""A line as `sha256sum` writes it: one of a name with escaped characters begins with \."""
    escaped = "".join(_ESCAPES.get(each, each) for each in name)
    mark = "\\" if escaped != name else ""
    return os.fsencode(f"{mark}{digest}  {escaped}\n")


def _unescaped(text: str) -> str:
    meant = {escape: each for each, escape in _ESCAPES.items()}
    return re.sub(r"\\[\\nr]", lambda match: meant[match[0]], text)


def _read_stamps(layout: Layout) -> dict[str, Stamped]:
    """What was seen last; nothing if that cannot be read, so that all files are hashed."""
    try:
        read = json.loads(layout.seen("manifest").read_bytes())
        return {name: Stamped((a, b, c), digest) for name, ((a, b, c), digest) in read.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}
