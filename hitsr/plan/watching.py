"""Notice pictures that were replaced, added or deleted since their set was prepared.

Snakemake compares the time stamps of every input, which takes minutes for 100,000 pictures. So it
watches the job file of a set instead, whose `content` changes with the pictures. `hitsr prepare`
leaves sizes, time stamps and hashes; a picture is hashed again only if its size or stamps changed.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple, TypeVar

from pydantic import ValidationError

from hitsr.base.errors import DataError
from hitsr.base.files import content_of, sha256, write_text
from hitsr.base.progress import Progress
from hitsr.base.reading import MOST_JSON
from hitsr.base.values import Value
from hitsr.plan.jobs import BaseJob, PrepareJob
from hitsr.plan.layout import Layout
from hitsr.plan.picture_sets import hr_folder, is_picture, lr_folder

J = TypeVar("J", bound=BaseJob)
Stamp = tuple[int, int, int]  # size in bytes; times of the last change of content, of the entry, ns


class SeenFile(NamedTuple):
    stamp: Stamp | None  # None: it may have changed while it was prepared
    sha256: str
    is_hr: bool


class SeenPictures(Value):
    """The pictures of a set as its last preparation saw them, by path within the set."""

    content: str | None  # of the job that prepared them
    files: dict[str, SeenFile]


def see(job: PrepareJob, hr: Mapping[Path, str], lr: Mapping[Path, str], since_ns: int) -> None:
    """Keep stamps and hashes of the pictures that were prepared; nothing for a job by hand.

    `since_ns` is when the preparation began.
    """
    if job.seen is None:
        return
    found = {path: (known, True) for path, known in hr.items()}
    found |= {path: (known, False) for path, known in lr.items()}
    # SelfExSR's folders hold outputs of other methods, too.
    others = {job.folder / path for path in _today(job)[0]} - found.keys()
    found |= {path: (sha256(path), False) for path in others}
    files = {}
    for path, (known, is_hr) in found.items():
        stamp = stamp_of(path.stat())
        is_sure = stamp[2] < since_ns or not is_hr
        files[path.relative_to(job.folder).as_posix()] = SeenFile(
            stamp=stamp if is_sure else None, sha256=known, is_hr=is_hr
        )
    _write(job.seen, SeenPictures(content=job.content, files=files))


def noticed(job: J) -> J:
    """The job; if it prepares a set, with the `content` that belongs to the pictures of today.

    It is that of the last preparation if all its pictures are as they were, or if all HR pictures
    are away, as on a machine to which only results were copied. Deleted LR pictures do not count:
    what needs them says so.
    """
    if not isinstance(job, PrepareJob) or job.seen is None:
        return job
    try:
        seen = SeenPictures.model_validate_json(content_of(job.seen, MOST_JSON))
        hr, lr = _today(job)
    except (OSError, ValidationError, DataError):  # not prepared yet, or preparing tells why not
        return job
    files, today = seen.files, lr | hr
    if not hr:
        return job.model_copy(update={"content": seen.content})
    lost = [path for path, file in files.items() if file.is_hr and path not in hr]
    added = [path for path in hr if path not in files]
    touched = [
        path for path, stamp in today.items() if path in files and files[path].stamp != stamp
    ]
    if lost or added or _any_other(job, files, touched):
        changed = [(path, today.get(path)) for path in sorted({*lost, *added, *touched})]
        digest = hashlib.sha256(json.dumps(changed).encode()).hexdigest()[:16]
        return job.model_copy(update={"content": digest})
    if touched:
        same = {path: files[path]._replace(stamp=today[path]) for path in touched}
        _write(job.seen, seen.model_copy(update={"files": files | same}))
    return job.model_copy(update={"content": seen.content})


def lost(layout: Layout, page: Path, shown: Iterable[BaseJob]) -> str:
    """A text that changes when results that a page shows were deleted since it was written.

    To Snakemake such a page is finished, and the results would not be made anew. The text is kept
    until results are deleted again. Where a whole folder such as `weights` is away, as beside
    copied records, its results were not deleted.
    """
    results, kept = layout.results, layout.seen(f"pages/{page.stem}")
    gone = [
        str(job.output)
        for job in shown
        if job.output and not job.output.exists()
        if (results / job.output.relative_to(results).parts[0]).is_dir()
    ]
    if gone and page.is_file():
        text = json.dumps([page.stat().st_mtime_ns, *gone])
        write_text(kept, hashlib.sha256(text.encode()).hexdigest())
    return kept.read_text(encoding="utf-8", errors="replace") if kept.is_file() else ""


def _any_other(job: PrepareJob, files: Mapping[str, SeenFile], touched: Sequence[str]) -> bool:
    """Whether a picture has another content; hashes no more of them than it must."""
    label = f"compare {job.dataset} x{job.scale}"
    with Progress(label, len(touched), "picture", quiet=not touched) as progress:
        for name in touched:
            path = job.folder / name
            if _hash(path, stamp_of(path.stat())) != files[name].sha256:
                return True
            progress.advance()
    return False


@cache  # the jobs of all scales share the HR pictures
def _hash(path: Path, _: Stamp) -> str:
    return sha256(path)


def _today(job: PrepareJob) -> tuple[dict[str, Stamp], dict[str, Stamp]]:
    """Stamps of the pictures in the HR and in the LR folder, by path within the set."""
    folders = hr_folder(job.folder, job.scale), lr_folder(job.folder, job.scale)
    hr, lr = (_stamps(job.folder, folder) if folder else {} for folder in folders)
    return hr, lr


def _stamps(root: Path, folder: Path) -> dict[str, Stamp]:
    place = folder.relative_to(root).as_posix()
    place = "" if place == "." else f"{place}/"
    with os.scandir(folder) as entries:
        return {
            f"{place}{entry.name}": stamp_of(entry.stat())
            for entry in entries
            if is_picture(entry.name)
        }


def stamp_of(stat: os.stat_result) -> Stamp:
    """Size and times of a file."""
    return stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns


def _write(path: Path, seen: SeenPictures) -> None:
    write_text(path, seen.model_dump_json())
