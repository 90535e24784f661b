"""Fetch the published sets of pictures: download their archives, check them and unpack them.

Archives lie in `downloads` beside the sets; one that is put there by hand is used. What is complete
is not fetched again, and what was interrupted goes on.
"""

import hashlib
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple
from urllib.parse import urlsplit

from hitsr.base.errors import DataError, HitsrError
from hitsr.base.files import size_words
from hitsr.base.writers import sole_writer
from hitsr.data.unpacking import Member, opened, placed, write_members
from hitsr.plan.archives import Part, PublishedSet, files_in, parts_of
from hitsr.plan.needs import read_sources
from hitsr.plan.picture_sets import hr_folder, is_picture, lr_folder, made_lr_folder
from hitsr.share.downloading import download, part_of

_MOST_BYTES = 60 * 10**9  # of an archive whose size was not published

Say = Callable[[str], None]


class Archive(NamedTuple):
    """A row of sources.csv."""

    name: str
    url: str
    checksum: str  # "sha256:9d0b...", as pooch takes it
    size: int | None  # in bytes

    @property
    def file_name(self) -> str:
        return PurePosixPath(urlsplit(self.url).path).name


def read_archives(sources: Path) -> dict[str, Archive]:
    """The archives in sources.csv that have a checksum, by name."""
    rows = [row for row in read_sources(sources) if row["kind"] == "dataset" and row["checksum"]]
    return {
        row["name"]: Archive(
            row["name"], row["url"], row["checksum"], int(row["bytes"]) if row["bytes"] else None
        )
        for row in rows
    }


def fetch_sets(
    sets: Sequence[PublishedSet],
    scales: Sequence[int],
    root: Path,
    archives: Mapping[str, Archive],
    again: str,
    say: Say,
) -> None:
    """Put sets into the folder `root`: `DIV2K/HR`, `DIV2K/LR_bicubic/X2` and so on.

    `again` is the command that the user gave, which errors say to repeat. Raises DataError if an
    archive cannot be fetched (the message lists all that are needed), has another checksum, is
    refused, or holds another number of pictures; if pictures are no pairs; if a set is there in
    another layout; and if files cannot be written.
    """
    for each in sets:
        _check_place(each, scales, root)
    groups = [group for each in sets for group in parts_of(each, scales)]
    missing = [part for group in groups for part in group if not part.is_complete(root)]
    names = list(dict.fromkeys(part.archive for part in missing))
    unknown = [name for name in names if name not in archives]
    if unknown:
        raise DataError(f"sources.csv: no checksum of {unknown[0]}; restore it from the repository")
    needed = [archives[name] for name in names]
    downloads = root / "downloads"
    try:
        with sole_writer(downloads, say):
            for index, archive in enumerate(needed):
                path = downloads / archive.file_name
                _obtain(archive, path, _by_hand(needed[index:], downloads, again), say)
                _unpack(path, [part for part in missing if part.archive == archive.name], root)
    except OSError as error:
        raise DataError(
            f"{error.filename}: {error.strerror}; when that is mended, repeat `{again}`, which "
            "goes on from there"
        ) from error
    for group in groups:
        _check_pairs(group, root)
    if needed:
        say(f"{downloads}: the sets are complete without these archives; you may delete them")


def _check_place(published: PublishedSet, scales: Sequence[int], root: Path) -> None:
    """Raise DataError if a set is there in another layout, or with other pictures in it."""
    folder = root / published.name
    places = [(hr_folder(folder, min(scales)), folder / "HR")]
    places += [(lr_folder(folder, scale), made_lr_folder(folder, scale)) for scale in scales]
    for found, ours in places:
        if found not in (None, ours):
            there = shlex.quote(str(folder))
            own = f"hitsr prepare {there} --out {there} --scale {min(scales)}"
            raise DataError(
                f"{folder}: has pictures in {found}, and --dataset puts them into {ours}; to use "
                f"yours, run `{own}`, else name another folder with --out"
            )
    parts = [part for group in parts_of(published, scales) for part in group]
    for place in dict.fromkeys(part.folder for part in parts):
        here = [part for part in parts if part.folder == place]
        files = list(filter(is_picture, files_in(root / place)))
        foreign = [name for name in files if not any(part.name_of(name) for part in here)]
        most = sum(part.number for part in here)
        if foreign or len(files) > most:
            which = f", {min(foreign)} not among them" if foreign else ""
            raise DataError(
                f"{root / place}: holds {len(files)} pictures, and {most} were published{which}; "
                "take out the others, or name another folder with --out"
            )


def _check_pairs(group: tuple[Part, ...], root: Path) -> None:
    """Raise DataError for an HR picture without LR, and for an LR picture without HR."""
    hr, *others = group
    for lr in others:
        unpaired = sorted(hr.present(root) ^ lr.present(root))
        if unpaired:
            raise DataError(
                f"{root / lr.folder}: not the pictures of {root / hr.folder}: only one of them has "
                f"{', '.join(unpaired[:3])}; remove both folders, and fetch another copy"
            )


def _obtain(archive: Archive, path: Path, by_hand: str, say: Say) -> None:
    """Let the file of an archive be there, with its checksum; download it if it is missing."""
    if path.is_file():
        wrong = _wrong(archive, path)
        if wrong:
            raise DataError(f"{path}: {wrong}; delete it\n{by_hand}")
        return
    was_begun = part_of(path).exists()
    wrong = _downloaded(archive, path, by_hand, say)
    if wrong and was_begun:
        say(f"{archive.url}: begins anew, since with what came before {wrong}")
        wrong = _downloaded(archive, path, by_hand, say)
    if wrong:
        raise DataError(f"{archive.url}: not the published file: {wrong}\n{by_hand}")


def _downloaded(archive: Archive, path: Path, by_hand: str, say: Say) -> str:
    """Download an archive; what is wrong with it, which is then deleted, or an empty text."""
    size = f", {size_words(archive.size)}" if archive.size else ""
    say(f"{path}: is fetched from {archive.url}{size}")
    most = archive.size or _MOST_BYTES
    try:
        download(archive.url, path, say, most_bytes=most, is_exact=archive.size is not None)
    except HitsrError as error:
        raise DataError(f"{archive.url}: cannot be fetched: {error}\n{by_hand}") from None
    wrong = _wrong(archive, path)
    if wrong:
        path.unlink()
    return wrong


def _wrong(archive: Archive, path: Path) -> str:
    """Why a file is not the published archive; empty if it is."""
    algorithm, _, published = archive.checksum.partition(":")
    with path.open("rb") as file:
        found = hashlib.file_digest(file, algorithm).hexdigest()
        file.seek(0)
        is_page = file.read(1) == b"<"
    if found == published:
        return ""
    page = "it is a web page, and " if is_page else ""
    return f"{page}its {algorithm} is {found}, while {published} was published"


def _by_hand(archives: Sequence[Archive], downloads: Path, again: str) -> str:
    """What to do where archives cannot be downloaded."""
    missing = [each for each in archives if not (downloads / each.file_name).is_file()]
    lines = [f"To go on by hand, put into {downloads}, and repeat `{again}`:"]
    for each in missing:
        size = f", {size_words(each.size)}" if each.size else ""
        lines.append(f"  {each.url} ({each.checksum}{size})")
    return "\n".join(lines)


def _unpack(path: Path, parts: Sequence[Part], root: Path) -> None:
    """Write the pictures of some parts, unless an archive has another number of them."""
    with opened(path) as members:
        files: dict[Path, Member] = {}
        for part in parts:
            found = placed(path, members, part.target)
            if len(found) != part.number:
                raise DataError(
                    f"{path}: holds {len(found)} pictures in {part.inside}, and {part.number} are "
                    "needed; nothing was unpacked: delete it, and fetch another copy"
                )
            files |= {root / target: member for target, member in found.items()}
        write_members(path, files)
