"""An HTML page, in one self-contained file, to compare pictures before and after upscaling."""

import base64
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined, TemplateError

from hitsr.base.errors import DataError
from hitsr.base.shipped import SHIPPED
from hitsr.data.images import read_bytes
from hitsr.upscaling.tasks import Tell, UpscaleTask, shown
from hitsr.upscaling.user_pictures import FileFormat, UserPicture, decode, encode

TEMPLATES = SHIPPED / "reports" / "templates"
_SHOWN: tuple[FileFormat, ...] = ("png", "jpeg", "webp")  # formats that browsers display


class Comparison(NamedTuple):
    """A picture before and after upscaling; sizes are (width, height) in pixels."""

    name: str
    before: str  # data URI
    after: str  # data URI
    before_size: tuple[int, int]
    after_size: tuple[int, int]


def gallery(
    tasks: Sequence[UpscaleTask],
    title: str,
    templates: Path = TEMPLATES,
    tell: Tell = lambda _: None,
) -> str:
    """The HTML page about finished tasks, with every picture embedded without loss.

    `tell` is called for each picture that cannot be shown. Raises DataError for a template that
    cannot be read.
    """
    base = os.path.commonpath([task.target.parent for task in tasks]) if tasks else ""
    comparisons = []
    for task in tasks:
        try:
            comparisons.append(_comparison(task, base))
        except (DataError, OSError, MemoryError) as error:
            tell(f"{shown(task.target)}: not in the gallery: {error or 'too large for the memory'}")
    try:
        environment = Environment(
            loader=FileSystemLoader(templates),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        page = environment.get_template("gallery.html")
        return page.render(title=title, pictures=comparisons)
    except (TemplateError, OSError) as error:
        raise DataError(f"{templates}: {error!r}; restore it from the repository") from error


def _comparison(task: UpscaleTask, base: str) -> Comparison:
    before, before_size = _embedded(task.source)
    after, after_size = _embedded(task.target)
    name = shown(task.target.relative_to(base))
    return Comparison(name, before, after, before_size, after_size)


def _embedded(path: Path) -> tuple[str, tuple[int, int]]:
    """A picture file as a data URI, and its size.

    Files that browsers display are embedded byte for byte, others converted to PNG.
    """
    data = read_bytes(path, shown(path))
    picture = decode(data, shown(path))
    file_format = picture.format
    if file_format not in _SHOWN:
        data, file_format = encode(picture, "png", shown(path)), "png"
    return f"data:image/{file_format};base64,{base64.b64encode(data).decode()}", _size(picture)


def _size(picture: UserPicture) -> tuple[int, int]:
    height, width = picture.colour.shape[:2]
    return width, height
