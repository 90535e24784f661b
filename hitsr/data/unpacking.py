"""Unpack archives of pictures from elsewhere: zip files, and tar files without compression.

An archive is refused as a whole, before anything is written, if the path of an
entry leads out of it, if an entry is a link or device, or if its size is beyond reason. The caller
names the file that each member becomes, so no path in an archive is used for writing as it is.
"""

import shutil
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path, PureWindowsPath
from typing import IO, NamedTuple

from hitsr.base.errors import DataError, shortened
from hitsr.base.files import check_room, replacing
from hitsr.base.progress import Progress

_MOST_ENTRIES = 100_000  # Flickr2K, the largest published archive, has 2650 pictures in a few sizes
_MOST_RATIO = 4  # bytes unpacked for each byte of the archive; pictures are compressed already
_CHUNK = 2**20
# What the standard library raises for damaged archives.
_DAMAGE = (
    *(zipfile.BadZipFile, tarfile.TarError, zlib.error, struct.error),
    *(EOFError, ValueError, RuntimeError),
)


class Member(NamedTuple):
    """A file in an archive."""

    name: str  # its path, with slashes
    size: int  # in bytes
    stream: Callable[[], IO[bytes]]  # opens it


@contextmanager
def opened(archive: Path) -> Iterator[list[Member]]:
    """The files in an archive, which can be read inside the block.

    Raises DataError, also inside the block, for a file that is no archive, or that is damaged, and
    for archives that are refused.
    """
    try:
        with archive.open("rb") as file:
            if file.read(4) == b"PK\x03\x04":
                with zipfile.ZipFile(file) as opened_zip:
                    yield _checked(archive, _in_zip(opened_zip))
            else:
                file.seek(0)
                with tarfile.open(fileobj=file, mode="r:", encoding="utf-8") as opened_tar:
                    yield _checked(archive, _in_tar(opened_tar))
    except _DAMAGE as error:
        raise DataError(
            f"{archive}: no zip or tar archive, or damaged ({error}); delete it and fetch it again"
        ) from error


def placed(
    archive: Path, members: Iterable[Member], place: Callable[[str], Path | None]
) -> dict[Path, Member]:
    """Members by the file that `place` names for their path; those that it has none for are left.

    Raises DataError if two have one file, also if only upper and lower case tell them apart.
    """
    found: dict[Path, Member] = {}
    seen: set[str] = set()
    for member in members:
        path = place(member.name)
        if path is None:
            continue
        if str(path).casefold() in seen:
            raise _refused(archive, f"two of its files are {path}")
        seen.add(str(path).casefold())
        found[path] = member
    return found


def write_members(archive: Path, files: Mapping[Path, Member]) -> int:
    """Write members of an opened archive as files; how many were not there already.

    Each file is written under another name first, so that after a kill those which are there are
    whole. Raises DataError if another file has its place, and OSError if the disk is full.
    """
    missing = {path: member for path, member in files.items() if not _is_there(path, member)}
    if missing:
        existing = next(each for each in next(iter(missing)).parents if each.is_dir())
        check_room(existing, sum(member.size for member in missing.values()))
    with Progress(f"unpack {archive.name}", len(missing), "picture", not missing) as progress:
        for path, member in missing.items():
            with replacing(path) as temporary:
                with member.stream() as source, temporary.open("wb") as file:
                    shutil.copyfileobj(source, file, _CHUNK)
                if temporary.stat().st_size != member.size:
                    raise DataError(f"{archive}: {member.name} is cut off; fetch it again")
            progress.advance()
    return len(missing)


def _is_there(path: Path, member: Member) -> bool:
    """Whether a file has the content of a member; DataError if it has another."""
    if not path.exists():
        return False
    if path.stat().st_size == member.size:
        with path.open("rb") as there, member.stream() as here:
            if all(chunk == here.read(_CHUNK) for chunk in iter(lambda: there.read(_CHUNK), b"")):
                return True
    raise DataError(
        f"{path}: not the file in the archive; remove it, or name another folder with --out"
    )


class _Entry(NamedTuple):
    """What an archive lists."""

    name: str
    refusal: str  # why it may be no part of an archive; empty for files and folders
    file: Member | None = None


def _in_zip(archive: zipfile.ZipFile) -> Iterator[_Entry]:
    for info in archive.infolist():
        name, refusal = info.filename, ""
        if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
            refusal = f"{shortened(name)} is a link or device"  # 0: of a system without such modes
        elif not name:
            refusal = "an entry has no name"
        elif info.header_offset < 0:
            refusal = f"{shortened(name)} would begin before it does"
        elif info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            # The library unpacks others without a limit of memory.
            refusal = f"{shortened(name)} is compressed otherwise than by deflate"
        file = Member(name, info.file_size, partial(archive.open, info))
        yield _Entry(name, refusal, None if name.endswith("/") else file)


def _in_tar(archive: tarfile.TarFile) -> Iterator[_Entry]:
    for info in archive:
        is_plain = info.isdir() or (info.isreg() and not info.issparse())
        refusal = "" if is_plain else f"{shortened(info.name)} is a link, device or sparse file"
        file = Member(info.name, info.size, partial(_opened_in_tar, archive, info))
        yield _Entry(info.name, refusal, file if info.isreg() else None)


def _opened_in_tar(archive: tarfile.TarFile, info: tarfile.TarInfo) -> IO[bytes]:
    file = archive.extractfile(info)
    assert file is not None  # as it is for every file
    return file


def _checked(archive: Path, entries: Iterator[_Entry]) -> list[Member]:
    """The files of an archive; DataError for the first entry that is refused or too much."""
    most_bytes, total = archive.stat().st_size * _MOST_RATIO, 0
    found: list[Member] = []
    for number, entry in enumerate(entries, start=1):
        refusal = entry.refusal or _escape(entry.name)
        if refusal:
            raise _refused(archive, refusal)
        if number > _MOST_ENTRIES:
            raise _refused(archive, f"it has more than {_MOST_ENTRIES:,} entries")
        if entry.file:
            total += entry.file.size
            found.append(entry.file)
        if total > most_bytes:
            raise _refused(archive, f"it would unpack to more than {_MOST_RATIO} times its size")
    return found


def _escape(name: str) -> str:
    """Why a member's path is none within its archive, on any system; empty if it is one."""
    path = PureWindowsPath(name)  # splits at both slashes, and knows drives
    if path.anchor or ".." in path.parts:
        return f"the path {shortened(name)} leads out of it"
    return ""


def _refused(archive: Path, why: str) -> DataError:
    return DataError(f"{archive}: refused, and nothing was unpacked: {why}; fetch another copy")
