"""Find the pictures that a user wants upscaled, and check their output names before any work."""

import glob
import os
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from hitsr.base.errors import DataError, printable
from hitsr.base.files import visible
from hitsr.upscaling.user_pictures import FORMATS, SUFFIXES, FileFormat, format_of

Tell = Callable[[str], None]  # what to do with a sentence about a file that is left out


class UpscaleTask(NamedTuple):
    """A picture file to upscale, and the file to write."""

    source: Path
    target: Path
    format: FileFormat  # of the target


class _Found(NamedTuple):
    """A file, and the folder that it was looked for in."""

    path: Path
    root: Path


def plan_tasks(
    inputs: Iterable[str],
    out: Path,
    file_format: FileFormat | None = None,
    tell: Tell = lambda _: None,
) -> list[UpscaleTask]:
    """One task for each picture in `inputs`, which are files, folders or glob patterns.

    A folder stands for the pictures in it and in its subfolders. An output has the name of its
    input, the format of its input unless `file_format` is given, and lies in `out` as its input
    lies in the folder that holds all inputs. `tell` is called for each file that is left out, but
    not for hidden ones. What turns out not to be a picture when it is read becomes a task that
    fails.

    Raises DataError for an input that does not exist or matches nothing, if there is no picture at
    all, for two inputs with the same output (also if only capitals tell them apart), and for an
    output that would replace an input.
    """
    found = [each for text in inputs for each in _matches(text, tell)]
    pictures = _outside(out, found, tell)
    if not any(format_of(each.path.suffix) for each in pictures):
        raise DataError(_no_picture(found[0].path))
    base = os.path.commonpath([os.path.abspath(each.root) for each in pictures])
    once: dict[Path, Path] = {}
    for path, _ in pictures:
        once.setdefault(Path(os.path.realpath(path.parent), path.name), path)
    tasks = [_task(source, base, out, file_format) for source in once.values()]
    _check_targets(tasks)
    return tasks


def check_suffix(path: Path) -> None:
    """Raise DataError if a file's name does not end as that of a picture that is read."""
    if format_of(path.suffix) is None:
        raise DataError(_no_picture(path))


def shown(path: Path) -> str:
    """A path for people: line breaks and bytes that are no UTF-8 are escaped."""
    return printable(str(path))


def _no_picture(path: Path) -> str:
    kinds = " or ".join(FORMATS)
    if path.is_dir():
        return f"{shown(path)}: no picture in it of type {kinds}"
    return f"{shown(path)}: not a known picture format; it must be {kinds}"


def _matches(text: str, tell: Tell) -> list[_Found]:
    """The pictures that one input stands for; a lone file or folder stands for itself at least."""
    path = Path(text)
    if path.is_dir():
        return [_Found(each, path) for each in _walk(path, tell)] or [_Found(path, path.parent)]
    if os.path.lexists(path):
        return [_Found(path, path.parent)]
    # The first part that is a pattern: a folder may have brackets in its name.
    ends = (index for index, part in enumerate(path.parts, 1) if glob.has_magic(part))
    end = next((index for index in ends if not Path(*path.parts[:index]).is_dir()), None)
    if end is None:
        raise DataError(f"{shown(path)}: no such file or folder; check the path")
    root, pattern = Path(*path.parts[: end - 1]), str(Path(*path.parts[end - 1 :]))
    try:
        # Not `glob.glob`, which follows links to folders in circles.
        entries = visible(root, pattern)
    except ValueError as error:
        raise DataError(f"{text}: {error}; write ** between slashes") from error
    found = [_Found(each, root) for entry in entries for each in _pictures(entry, tell)]
    if not found:
        raise DataError(f"{text}: matches no picture of type {' or '.join(FORMATS)}")
    return found


def _walk(folder: Path, tell: Tell) -> Iterator[Path]:
    """The pictures in a folder and its subfolders, sorted; the folder if it cannot be read."""
    try:
        entries = sorted(folder.iterdir())
    except OSError:
        yield folder
        return
    for path in entries:
        if not path.name.startswith("."):
            yield from _pictures(path, tell)


def _pictures(path: Path, tell: Tell) -> Iterator[Path]:
    """The pictures that an entry of a folder stands for."""
    named_as_picture = format_of(path.suffix) is not None
    if path.is_dir() and path.is_symlink():
        tell(f"{shown(path)}: skipped, a link to a folder; name it to upscale what it holds")
    elif path.is_dir():
        inside = list(_walk(path, tell))
        yield from inside or [path] * named_as_picture
    elif named_as_picture:
        yield path
    else:
        tell(f"{shown(path)}: skipped, not a known picture format ({', '.join(FORMATS)})")


def _outside(out: Path, found: list[_Found], tell: Tell) -> list[_Found]:
    """Without what earlier runs wrote, if `out` lies in a folder of pictures."""
    folder = Path(os.path.realpath(out))
    left: list[_Found] = []
    for each in found:
        place = Path(os.path.realpath(each.path.parent))
        root = Path(os.path.realpath(each.root))
        if root in folder.parents and folder in (place, *place.parents):
            continue
        left.append(each)
    if len(left) < len(found):
        tell(f"{shown(out)}: skipped, as the upscaled pictures go there")
    return left


def _task(source: Path, base: str, out: Path, file_format: FileFormat | None) -> UpscaleTask:
    source_format = format_of(source.suffix)
    target_format = file_format or source_format or "png"
    same = target_format == source_format
    suffix = source.suffix.lower() if same else SUFFIXES[target_format][0]
    folder = out / os.path.relpath(os.path.abspath(source.parent), base)
    return UpscaleTask(source, folder / f"{source.stem}{suffix}", target_format)


def _check_targets(tasks: list[UpscaleTask]) -> None:
    """Refuse two inputs for one output, and outputs that would replace inputs."""
    taken: dict[str, UpscaleTask] = {}
    originals = {os.path.realpath(task.source) for task in tasks}
    for task in tasks:
        name = unicodedata.normalize("NFC", str(task.target)).casefold()
        if name in taken:
            first = taken[name]
            same = first.target == task.target
            unless = "" if same else " where capitals, or how accents are stored, do not count"
            raise DataError(
                f"{shown(first.source)} and {shown(task.source)} would both become "
                f"{shown(task.target)}{unless}; rename one"
            )
        if os.path.realpath(task.target) in originals:
            raise DataError(f"{shown(task.target)}: would replace an input; choose another --out")
        taken[name] = task
