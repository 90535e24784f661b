"""Section: one test picture, the same window from every network, as data URIs.

Which picture and window are shown follows rules that look at no network's result.
"""

import base64
import io
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from hitsr.errors import DataError
from hitsr.methods import methods
from hitsr.report.measures import Evidence, control, psnr_db
from hitsr.report.names import BICUBIC, FAMILIES, role_of
from hitsr.report.section import Section
from hitsr.report.typeset import fixed
from hitsr.spec import Scale

# Bounds what the page embeds: a region of this size of a larger picture.
_REGION = (480, 320)  # width, height in HR pixels
_ZOOM = 4  # the window is a quarter of the region's sides
_OVERVIEW_WIDTH = 480
# In the order of the grid: four columns, each baseline above its conversion.
_METHODS = (
    "hr", *(family.baseline for family in FAMILIES),
    BICUBIC, *(family.conversion for family in FAMILIES),
)  # fmt: skip

Array = NDArray[np.uint8]


class Box(NamedTuple):
    """A rectangle in HR pixels."""

    left: int
    top: int
    width: int
    height: int


class Choice(NamedTuple):
    dataset: str
    scale: Scale
    picture: str


@dataclass(frozen=True)
class Cutout:
    """One method's region; no `uri` where its pictures are absent."""

    method: str  # network, "bicubic" or "hr"
    uri: str | None
    psnr_db: str  # of the whole picture, as shown; empty for HR and where not scored


@dataclass(frozen=True)
class PictureRow:
    choice: Choice
    region: Box
    whole: tuple[int, int]  # width, height of the picture
    overview_uri: str
    centre: tuple[float, float]  # of the window, as fractions of the region
    cutouts: tuple[Cutout, ...]
    zoom: int = _ZOOM

    @property
    def shown(self) -> list[str]:
        return [cutout.method for cutout in self.cutouts if cutout.uri]

    @property
    def sides(self) -> tuple[str, str]:
        """What the slider shows first: bicubic and the last conversion, where they are there."""
        conversions = [name for name in self.shown if role_of(name) == "conversion"]
        left = BICUBIC if BICUBIC in self.shown else self.shown[0]
        return left, [*self.shown, *conversions][-1]


def pictures_section(evidence: Evidence) -> Section:
    row = picture_row(evidence)
    return Section(
        key="pictures",
        nav="Pictures",
        heading="The same window from every network",
        parts={"row": row, "set_name": evidence.set_name(row.choice.dataset) if row else None},
    )


def picture_row(evidence: Evidence) -> PictureRow | None:
    """None without SR pictures; DataError for a picture that cannot be read or does not fit."""
    choice = choose(evidence)
    if choice is None or not any(_sr_file(evidence, choice, method) for method in _METHODS):
        return None
    dataset, scale, picture = choice
    hr = _read(evidence.config.data.root / dataset / "HR" / f"{picture}.png")
    height, width = (side - side % scale for side in hr.shape[:2])
    hr = hr[:height, :width]
    wide, high = min(width, _REGION[0]), min(height, _REGION[1])
    window = busiest_window(hr, (max(1, wide // _ZOOM), max(1, high // _ZOOM)))
    # The region lies around the window, moved inside the picture.
    left = window.left + window.width // 2 - wide // 2
    top = window.top + window.height // 2 - high // 2
    region = Box(max(0, min(left, width - wide)), max(0, min(top, height - high)), wide, high)
    return PictureRow(
        choice=choice,
        region=region,
        whole=(width, height),
        overview_uri=_overview(_cut(hr, region)),
        centre=(
            (window.left - region.left + window.width / 2) / wide,
            (window.top - region.top + window.height / 2) / high,
        ),
        cutouts=tuple(_cutout(evidence, choice, method, hr, region) for method in _METHODS),
    )


def choose(evidence: Evidence) -> Choice | None:
    """Of the first test set, the picture where bicubic scores worst; None if it was not scored."""
    scale, dataset = evidence.config.scales[0], evidence.config.data.test[0]
    bicubic = control(evidence.results, scale, dataset)
    if bicubic is None:
        return None
    worst = min(bicubic.pictures, key=lambda picture: (psnr_db(picture), picture.name))
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


def _cutout(evidence: Evidence, choice: Choice, method: str, hr: Array, region: Box) -> Cutout:
    if method == "hr":
        return Cutout(method, _lossless(_cut(hr, region)), "")
    path = _sr_file(evidence, choice, method)
    if path is None:
        return Cutout(method, None, "")
    sr = _read(path)
    if sr.shape != hr.shape:
        raise DataError(
            f"{path}: {sr.shape[1]} x {sr.shape[0]}, but its HR is {hr.shape[1]} x {hr.shape[0]}; "
            "rerun restore"
        )
    run = _run(evidence, choice, method)
    record = evidence.results.quality.get((run, choice.dataset)) if run else None
    scores = {p.name: fixed(psnr_db(p), 2) for p in record.pictures} if record else {}
    return Cutout(method, _lossless(_cut(sr, region)), scores.get(choice.picture, ""))


def _run(evidence: Evidence, choice: Choice, network: str) -> str | None:
    """A network's first seed, or the control, as its files are called; None if not asked for."""
    place = (network, choice.scale)
    found = methods(evidence.config).values()
    return next((each.name for each in found if (each.network, each.scale) == place), None)


def _sr_file(evidence: Evidence, choice: Choice, network: str) -> Path | None:
    """Of what the config asks for; others may lie in the folder."""
    folder = f"{_run(evidence, choice, network)}.{choice.dataset}"
    path = evidence.results.folder / "pictures" / folder / f"{choice.picture}.png"
    return path if path.is_file() else None


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
    return _data_uri(buffer)


def _overview(image: Array) -> str:
    """Small and lossy: the crops beside it carry the pixels."""
    picture = Image.fromarray(image)
    picture.thumbnail((_OVERVIEW_WIDTH, _OVERVIEW_WIDTH))
    buffer = io.BytesIO()
    picture.save(buffer, "WEBP", quality=85, method=4)
    return _data_uri(buffer)


def _data_uri(webp: io.BytesIO) -> str:
    return f"data:image/webp;base64,{base64.b64encode(webp.getvalue()).decode()}"
