"""A page to compare pictures before and after upscaling: one file, nothing to fetch."""

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined, TemplateError

from hitsr.base.errors import DataError
from hitsr.upscaling.user_files import Job
from hitsr.upscaling.user_pictures import Form, UserPicture, decode, encode

TEMPLATES = Path(__file__).parents[2] / "reports" / "templates"
_SHOWN: tuple[Form, ...] = ("png", "jpeg", "webp")  # by browsers, in the colours of the profile


class Compared(NamedTuple):
    """One picture of the page; sizes are (width, height) in pixels."""

    name: str
    before: str  # data URI
    after: str
    before_size: tuple[int, int]
    after_size: tuple[int, int]


def gallery(jobs: Sequence[Job], title: str, templates: Path = TEMPLATES) -> str:
    """The page of jobs that are done: HTML with every picture inside, lossless.

    Raises DataError for a picture or template that cannot be read.
    """
    compared = [_compared(job) for job in jobs]
    try:
        environment = Environment(
            loader=FileSystemLoader(templates),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        page = environment.get_template("gallery.html")
        return page.render(title=title, pictures=compared)
    except (TemplateError, OSError) as error:
        raise DataError(f"{templates}: {error!r}; restore it from the repository") from error


def _compared(job: Job) -> Compared:
    before, before_size = _embedded(job.source)
    after, after_size = _embedded(job.target)
    return Compared(job.target.name, before, after, before_size, after_size)


def _embedded(path: Path) -> tuple[str, tuple[int, int]]:
    """A file as a data URI, byte for byte where browsers can show it, and the picture's size."""
    data = path.read_bytes()
    picture = decode(data, str(path))
    form = picture.form
    if form not in _SHOWN:
        data, form = encode(picture, "png", str(path)), "png"
    return f"data:image/{form};base64,{base64.b64encode(data).decode()}", _size(picture)


def _size(picture: UserPicture) -> tuple[int, int]:
    height, width = picture.colour.shape[:2]
    return width, height
