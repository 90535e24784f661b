"""Which of a user's files are upscaled into which: checked before any work."""

import glob
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from hitsr.base.errors import DataError
from hitsr.upscaling.user_pictures import FORMS, SUFFIXES, Form, form_of


class Job(NamedTuple):
    """One picture to upscale, and the file that it becomes."""

    source: Path
    target: Path
    form: Form  # of the target


def plan(inputs: Iterable[str], out: Path, form: Form | None = None) -> list[Job]:
    """The jobs of files, folders (what lies directly in them) and glob patterns (`**` too).

    Outputs carry the input's name, and its format or `form`. Raises DataError for an input that
    does not exist, matches nothing or is no picture, two inputs of one output, and an output that
    is an input.
    """
    sources = list(dict.fromkeys(path for each in inputs for path in _found(each)))
    jobs = [_job(source, out, form) for source in sources]
    taken: dict[Path, Path] = {}
    originals = {source.resolve() for source in sources}
    for job in jobs:
        if job.target in taken:
            first = taken[job.target]
            raise DataError(f"{first} and {job.source} would both become {job.target}; rename one")
        if job.target.resolve() in originals:
            raise DataError(f"{job.target}: would replace an input; choose another --out")
        taken[job.target] = job.source
    return jobs


def _found(text: str) -> list[Path]:
    path = Path(text)
    if path.is_dir():
        return _pictures(path.iterdir(), f"{path}: no picture in it")
    if path.is_file():
        if form_of(path.suffix) is None:
            raise DataError(f"{path}: not a known kind of picture; want {', '.join(FORMS)}")
        return [path]
    if not glob.has_magic(text):
        raise DataError(f"{path}: no such file or folder; check the path")
    return _pictures(map(Path, glob.glob(text, recursive=True)), f"{text}: matches no picture")


def _pictures(paths: Iterable[Path], otherwise: str) -> list[Path]:
    found = sorted(p for p in paths if not p.name.startswith(".") and form_of(p.suffix))
    if not found:
        raise DataError(f"{otherwise}; want {', '.join(FORMS)}")
    return found


def _job(source: Path, out: Path, form: Form | None) -> Job:
    own = form_of(source.suffix)
    assert own is not None
    chosen = form or own
    suffix = source.suffix.lower() if chosen == own else SUFFIXES[chosen][0]
    return Job(source, out / f"{source.stem}{suffix}", chosen)
