"""Pictures of the page: inside it as data URIs while they are few, else as files beside it.

A report is one file that can be sent, until its pictures would make it too large to open.
"""

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from hitsr.base.files import visible, write_bytes

EMBEDDED_LIMIT = (
    12_000_000  # bytes of all pictures as base64; text, fonts and figures take 1 to 2 MB
)
FOLDER = "pictures"


class PagePicture(NamedTuple):
    """An encoded picture, and where it lies if it lies beside the page."""

    name: str  # below the folder of pictures: "Set5-x2/baby.hit_sir.webp"
    data: bytes  # WebP

    @property
    def path(self) -> str:
        return f"{FOLDER}/{self.name}"


def fits(pictures: Sequence[PagePicture]) -> bool:
    """Whether all of them can stand in the page."""
    return sum(4 * -(-len(picture.data) // 3) for picture in pictures) <= EMBEDDED_LIMIT


def data_uri(picture: PagePicture) -> str:
    return f"data:image/webp;base64,{base64.b64encode(picture.data).decode()}"


def relative_uri(picture: PagePicture) -> str:
    return quote(picture.path)


def write_beside(pictures: Sequence[PagePicture], out: Path) -> None:
    """Make `out`/pictures hold exactly these: those of an earlier page go."""
    written = {out / picture.path: picture.data for picture in pictures}
    for path, data in written.items():
        if not (path.is_file() and path.read_bytes() == data):
            write_bytes(path, data)
    for path in visible(out / FOLDER, "**/*.webp"):
        if path not in written:
            path.unlink()
