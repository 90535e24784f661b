"""The picture row: which picture and window are shown, by rule, and their cut-outs as data URIs."""

import base64
import io
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from hitsr.config import runs
from hitsr.errors import DataError
from hitsr.report.measures import Evidence, control, infinite_if_none
from hitsr.report.names import BICUBIC, FAMILIES
from hitsr.spec import Scale

# Bounds what the page embeds: a region of this size of a larger picture.
_REGION = (480, 320)  # width, height in HR pixels
_ZOOM = 4  # the window is a quarter of the region's sides
_OVERVIEW_WIDTH = 480

Array = NDArray[np.uint8]


class Box(NamedTuple):
    """A rectangle in HR pixels."""

    left: int
    top: int
    width: int
    height: int


class Choice(NamedTuple):
    """A test picture, chosen by a rule that looks at no network's result."""

    dataset: str
    scale: Scale
    picture: str


@dataclass(frozen=True)
class Cutout:
    """One method's region; no `uri` where its pictures are absent."""

    method: str  # network, "bicubic" or "hr"
    uri: str | None
    psnr_db: float | None  # of the whole picture; None for HR and where not scored


@dataclass(frozen=True)
class PictureRow:
    choice: Choice
    region: Box
    whole: tuple[int, int]  # width, height of the picture
    overview_uri: str
    centre: tuple[float, float]  # of the window, as fractions of the region
    zoom: int
    cutouts: tuple[Cutout, ...]  # HR and baselines, then bicubic and conversions


def picture_row(evidence: Evidence) -> PictureRow | None:
    """None without SR pictures; DataError for a picture that cannot be read or does not fit."""
    choice = choose(evidence)
    if choice is None or not any(_sr_file(evidence, choice, n) for n in _methods()[1:]):
        return None
    hr = _read(_hr_file(evidence, choice))
    height, width = (side - side % choice.scale for side in hr.shape[:2])
    hr = hr[:height, :width]
    window = busiest_window(hr, _window_size(width, height))
    region = _around(window, width, height)
    return PictureRow(
        choice=choice,
        region=region,
        whole=(width, height),
        overview_uri=_overview(_cut(hr, region)),
        centre=(
            (window.left - region.left + window.width / 2) / region.width,
            (window.top - region.top + window.height / 2) / region.height,
        ),
        zoom=_ZOOM,
        cutouts=tuple(_cutout(evidence, choice, method, hr, region) for method in _methods()),
    )


def choose(evidence: Evidence) -> Choice | None:
    """Of the first test set, the picture where bicubic scores worst; None if it was not scored."""
    scale, dataset = evidence.config.train.scales[0], evidence.config.data.test[0]
    bicubic = control(evidence.results, scale, dataset)
    if bicubic is None:
        return None
    worst = min(bicubic.pictures, key=lambda p: (infinite_if_none(p.psnr_db), p.name))
    return Choice(dataset, scale, worst.name)


def busiest_window(image: Array, size: tuple[int, int]) -> Box:
    """The window of `size` (width, height) with most squared gradient: (h, w, 3) uint8 -> Box.

    The first from the top left, where several tie.
    """
    grey = image.astype(np.float64).mean(axis=2)
    energy = np.square(np.diff(grey, axis=0))[:, :-1] + np.square(np.diff(grey, axis=1))[:-1]
    sums = np.pad(energy.cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))
    width, height = (min(side, limit) for side, limit in zip(size, energy.shape[::-1]))
    totals = sums[height:, width:] - sums[:-height, width:]
    totals -= sums[height:, :-width] - sums[:-height, :-width]
    top, left = np.unravel_index(np.argmax(totals), totals.shape)
    return Box(int(left), int(top), width, height)


def _methods() -> list[str]:
    """In the order of the grid: four columns, each baseline above its conversion."""
    above = ["hr", *(family.baseline for family in FAMILIES)]
    below = [BICUBIC, *(family.conversion for family in FAMILIES)]
    return above + below


def _window_size(width: int, height: int) -> tuple[int, int]:
    return (
        max(1, min(width, _REGION[0]) // _ZOOM),
        max(1, min(height, _REGION[1]) // _ZOOM),
    )


def _around(window: Box, width: int, height: int) -> Box:
    """The region around a window, moved inside the picture."""
    wide, high = min(width, _REGION[0]), min(height, _REGION[1])
    left = window.left + window.width // 2 - wide // 2
    top = window.top + window.height // 2 - high // 2
    return Box(max(0, min(left, width - wide)), max(0, min(top, height - high)), wide, high)


def _cutout(evidence: Evidence, choice: Choice, method: str, hr: Array, region: Box) -> Cutout:
    if method == "hr":
        return Cutout(method, _lossless(_cut(hr, region)), None)
    path = _sr_file(evidence, choice, method)
    if path is None:
        return Cutout(method, None, None)
    sr = _read(path)
    if sr.shape != hr.shape:
        raise DataError(
            f"{path}: {sr.shape[1]} x {sr.shape[0]}, but its HR is {hr.shape[1]} x {hr.shape[0]}; "
            "rerun restore"
        )
    return Cutout(method, _lossless(_cut(sr, region)), _psnr_db(evidence, choice, method))


def _psnr_db(evidence: Evidence, choice: Choice, method: str) -> float | None:
    record = evidence.results.quality.get((_run(evidence, choice, method) or "", choice.dataset))
    scores = {picture.name: picture.psnr_db for picture in record.pictures} if record else {}
    return infinite_if_none(scores[choice.picture]) if choice.picture in scores else None


def _run(evidence: Evidence, choice: Choice, method: str) -> str | None:
    """The folder name of a method's first seed."""
    if method == BICUBIC:
        return f"{BICUBIC}-x{choice.scale}"
    return next(
        (
            name
            for name, run in runs(evidence.config).items()
            if (run.network.name, run.scale) == (method, choice.scale)
        ),
        None,
    )


def _sr_file(evidence: Evidence, choice: Choice, method: str) -> Path | None:
    run = _run(evidence, choice, method)
    folder = evidence.results.folder / "pictures" / f"{run}.{choice.dataset}"
    path = folder / f"{choice.picture}.png"
    return path if run and path.is_file() else None


def _hr_file(evidence: Evidence, choice: Choice) -> Path:
    return evidence.config.data.root / choice.dataset / "HR" / f"{choice.picture}.png"


def _read(path: Path) -> Array:
    """(h, w, 3) uint8."""
    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB"))
    except (OSError, UnidentifiedImageError) as error:
        raise DataError(f"{path}: cannot be read ({error}); run `hitsr prepare`") from None


def _cut(image: Array, box: Box) -> Array:
    return image[box.top : box.top + box.height, box.left : box.left + box.width]


def _lossless(image: Array) -> str:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "WEBP", lossless=True, quality=80, method=4, exact=True)
    return _data_uri(buffer.getvalue(), "image/webp")


def _overview(image: Array) -> str:
    """Small and lossy: the crops beside it carry the pixels."""
    picture = Image.fromarray(image)
    picture.thumbnail((_OVERVIEW_WIDTH, _OVERVIEW_WIDTH))
    buffer = io.BytesIO()
    picture.save(buffer, "WEBP", quality=85, method=4)
    return _data_uri(buffer.getvalue(), "image/webp")


def _data_uri(data: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"
