"""Find the pictures that a user wants upscaled, and check their output names before any work."""

import glob
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from hitsr.base.errors import DataError
from hitsr.upscaling.user_pictures import FORMATS, SUFFIXES, FileFormat, format_of


class UpscaleTask(NamedTuple):
    """A picture file to upscale, and the file to write."""

    source: Path
    target: Path
    format: FileFormat  # of the target


def plan_tasks(
    inputs: Iterable[str], out: Path, file_format: FileFormat | None = None
) -> list[UpscaleTask]:
    """One task for each picture in `inputs`, which are files, folders or glob patterns.

    A folder stands for the pictures directly in it; `**` in a pattern matches subfolders. An
    output has the name of its input, and the format of its input unless `file_format` is given.
    Raises DataError for an input that does not exist, matches nothing or is not a picture, for two
    inputs with the same output, and for an output that would replace an input.
    """
    sources = list(dict.fromkeys(path for each in inputs for path in _matches(each)))
    tasks = [_task(source, out, file_format) for source in sources]
    taken: dict[Path, Path] = {}
    originals = {source.resolve() for source in sources}
    for task in tasks:
        if task.target in taken:
            first = taken[task.target]
            raise DataError(
                f"{first} and {task.source} would both become {task.target}; rename one"
            )
        if task.target.resolve() in originals:
            raise DataError(f"{task.target}: would replace an input; choose another --out")
        taken[task.target] = task.source
    return tasks


def _matches(text: str) -> list[Path]:
    """The picture files that one input (file, folder or pattern) stands for."""
    path = Path(text)
    if path.is_dir():
        return _pictures(path.iterdir(), f"{path}: no picture in it")
    if path.is_file():
        if format_of(path.suffix) is None:
            raise DataError(f"{path}: not a known picture format; want {', '.join(FORMATS)}")
        return [path]
    if not glob.has_magic(text):
        raise DataError(f"{path}: no such file or folder; check the path")
    return _pictures(map(Path, glob.glob(text, recursive=True)), f"{text}: matches no picture")


def _pictures(paths: Iterable[Path], if_none: str) -> list[Path]:
    found = sorted(p for p in paths if not p.name.startswith(".") and format_of(p.suffix))
    if not found:
        raise DataError(f"{if_none}; want {', '.join(FORMATS)}")
    return found


def _task(source: Path, out: Path, file_format: FileFormat | None) -> UpscaleTask:
    source_format = format_of(source.suffix)
    assert source_format is not None
    target_format = file_format or source_format
    same = target_format == source_format
    suffix = source.suffix.lower() if same else SUFFIXES[target_format][0]
    return UpscaleTask(source, out / f"{source.stem}{suffix}", target_format)
