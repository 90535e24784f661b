"""Cut windows out of pictures, by rules that favour no network, and encode them for the page."""

import warnings
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from hitsr.base.errors import DataError
from hitsr.base.files import content_of
from hitsr.base.png import picture_only
from hitsr.plan.picture_sets import DECODERS, MOST_BYTES

Array = NDArray[np.uint8]  # (h, w, 3)

_OVERVIEW_WIDTH = 480


class Box(NamedTuple):
    """A rectangle in HR pixels."""

    left: int
    top: int
    width: int
    height: int


def read(path: Path) -> Array:
    """(h, w, 3) uint8, turned as EXIF says; DataError if it is no picture."""
    try:
        data = picture_only(content_of(path, MOST_BYTES))
        with (
            warnings.catch_warnings(action="ignore"),  # about damaged EXIF
            Image.open(BytesIO(data), formats=DECODERS) as image,
        ):
            return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    except Exception as error:  # decoders raise many kinds
        raise DataError(f"{path}: cannot be read ({error}); rerun restore") from None


def cut(image: Array, box: Box) -> Array:
    return image[box.top : box.top + box.height, box.left : box.left + box.width]


def around(window: Box, size: tuple[int, int], image: tuple[int, int]) -> Box:
    """A box of `size` about a window's centre, moved inside the image; all are (width, height)."""
    wide, high = (min(side, limit) for side, limit in zip(size, image))
    left = window.left + window.width // 2 - wide // 2
    top = window.top + window.height // 2 - high // 2
    return Box(max(0, min(left, image[0] - wide)), max(0, min(top, image[1] - high)), wide, high)


def busiest_window(image: Array, size: tuple[int, int]) -> Box:
    """The window of `size` (width, height) with most squared gradient: (h, w, 3) uint8 -> Box."""
    grey = _grey(image).astype(np.float64)
    down, right = np.square(np.diff(grey, axis=0)), np.square(np.diff(grey, axis=1))
    return heaviest_window(down[:, :-1] + right[:-1], size)


def disputed_window(images: list[Array], size: tuple[int, int]) -> Box:
    """The window of `size` (width, height) where pictures of one scene differ most.

    Weighs each pixel by the square of its range over the pictures, so it is the same whichever of
    them is better.
    """
    spread = np.ptp(np.stack([_grey(image) for image in images]), axis=0)
    return heaviest_window(np.square(spread.astype(np.float64)), size)


def heaviest_window(weight: NDArray[np.float64], size: tuple[int, int]) -> Box:
    """The window of `size` (width, height), or less, with the largest sum: (h, w) -> Box.

    The first from the top left, where several tie.
    """
    sums = np.pad(weight.cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))
    width, height = (min(side, limit) for side, limit in zip(size, weight.shape[::-1]))
    totals = sums[height:, width:] - sums[:-height, width:]
    totals -= sums[height:, :-width] - sums[:-height, :-width]
    top, left = np.unravel_index(np.argmax(totals), totals.shape)
    return Box(int(left), int(top), width, height)


def _grey(image: Array) -> NDArray[np.int16]:
    """The sum of the channels, in integers: the mean would take ten times as long."""
    red, green, blue = np.moveaxis(image, 2, 0)
    summed: NDArray[np.int16] = red.astype(np.int16) + green + blue
    return summed


def lossless(image: Array) -> bytes:
    """WebP with every pixel as it is; 5 % larger than slow settings make it, in a quarter."""
    return _webp(Image.fromarray(image), is_lossless=True, quality=50, method=2)


def overview(image: Array) -> bytes:
    """Small and lossy WebP: the crops beside it carry the pixels."""
    picture = Image.fromarray(image)
    picture.thumbnail((_OVERVIEW_WIDTH, _OVERVIEW_WIDTH))
    return _webp(picture, is_lossless=False, quality=85, method=4)


def _webp(picture: Image.Image, *, is_lossless: bool, quality: int, method: int) -> bytes:
    buffer = BytesIO()
    picture.save(
        buffer, "WEBP", lossless=is_lossless, quality=quality, method=method, exact=is_lossless
    )
    return buffer.getvalue()
