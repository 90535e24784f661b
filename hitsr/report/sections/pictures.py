"""Section: one picture of each test set, the same window from every network; then all pictures.

Rules that look at no network's result choose the picture and the window.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple

from hitsr.plan.subjects import CONTROLS
from hitsr.report.crops import Box, around, busiest_window, cut, lossless, overview
from hitsr.report.embedding import PagePicture
from hitsr.report.evidence import Evidence
from hitsr.report.explorer import CROP, CROPPED, explored_sets
from hitsr.report.facts import QUANTITIES
from hitsr.report.names import BICUBIC, FAMILIES, HR, role_of
from hitsr.report.restored import Restored, restored_sets
from hitsr.report.section import Section
from hitsr.report.typeset import between, fixed
from hitsr.specs.network import Scale

# Bounds the size of the page: a region of this size is shown of a larger picture.
_REGION = (480, 320)  # width, height in HR pixels
_ZOOM = 4  # the window is a quarter of the region's sides
_PSNR = QUANTITIES["psnr_db"]


class Cutout(NamedTuple):
    """One method's region."""

    method: str  # network, "bicubic" or "hr"
    crop: PagePicture | None  # None where its pictures are absent
    psnr_db: str  # of the whole picture, as shown; empty for HR and where not scored


@dataclass(frozen=True)
class ShownPicture:
    """One picture of one set at one scale, from every method."""

    key: str
    set_title: str
    scale: Scale
    picture: str
    finding: str
    region: Box
    whole: tuple[int, int]  # width, height of the picture
    overview: PagePicture
    centre: tuple[float, float]  # of the window, as fractions of the region
    cutouts: tuple[Cutout, ...]
    zoom: int = _ZOOM

    @property
    def columns(self) -> int:
        """Columns of the grid: HR and the baselines fill its first line."""
        return max(2, [cutout.method for cutout in self.cutouts].index(BICUBIC))

    @property
    def is_paired(self) -> bool:
        """Whether each conversion lies below its baseline, and nothing else is there."""
        return len(self.cutouts) == 2 * self.columns

    @property
    def page_pictures(self) -> list[PagePicture]:
        return [self.overview, *(cutout.crop for cutout in self.cutouts if cutout.crop)]


def pictures_section(evidence: Evidence) -> Section:
    shown, explored = shown_pictures(evidence), explored_sets(evidence)
    return Section(
        key="pictures",
        nav="Pictures",
        heading="The same window from every network",
        parts={
            "shown": shown,
            "by_scale": [(x, list(group)) for x, group in groupby(shown, lambda each: each.scale)],
            "methods": methods_of(evidence),
            "sides": first_sides(shown),
            "explored": explored,
            "crop": CROP,
            "cropped": CROPPED if any(len(each.pictures) > CROPPED for each in explored) else None,
        },
        pictures=[
            *(picture for each in shown for picture in each.page_pictures),
            *(picture for each in explored for picture in each.page_pictures),
        ],
    )


def methods_of(evidence: Evidence) -> list[str]:
    """In the order of the grid: HR and the baselines, and below them bicubic and the conversions.

    Networks that belong to no pair come last.
    """
    families = [family for family in FAMILIES if set(evidence.networks) & set(family.networks)]
    baselines = [family.baseline for family in families]
    conversions = [family.conversion for family in families]
    others = [name for name in evidence.networks if name not in baselines + conversions]
    return [HR, *baselines, BICUBIC, *conversions, *others]


def shown_pictures(evidence: Evidence) -> list[ShownPicture]:
    """One for each set and scale with restored pictures; DataError for one that does not fit."""
    methods = methods_of(evidence)
    found = (_shown(restored, methods) for restored in restored_sets(evidence))
    return [shown for shown in found if shown]


def choose(restored: Restored) -> str | None:
    """The picture where bicubic scores worst; None if it was not scored."""
    return str(restored.psnr_db[BICUBIC].idxmin()) if BICUBIC in restored.psnr_db else None


def first_sides(shown: Sequence[ShownPicture]) -> tuple[str, str] | None:
    """Methods that the slider shows first: bicubic and the last conversion, if they are there."""
    if not shown:
        return None
    methods = [cutout.method for cutout in shown[0].cutouts if cutout.crop]
    conversions = [name for name in methods if role_of(name) == "conversion"]
    return BICUBIC if BICUBIC in methods else methods[0], [*methods, *conversions][-1]


def _shown(restored: Restored, methods: Sequence[str]) -> ShownPicture | None:
    picture = choose(restored)
    images = restored.images(picture) if picture else {}
    if picture is None or len(images) < 2:
        return None
    height, width = images[HR].shape[:2]
    wide, high = min(width, _REGION[0]), min(height, _REGION[1])
    window = busiest_window(images[HR], (max(1, wide // _ZOOM), max(1, high // _ZOOM)))
    region = around(window, _REGION, (width, height))
    folder, scores = f"{restored.key}/{picture}", restored.scores_db(picture)
    crops = {
        method: PagePicture(f"{folder}.{method}.webp", lossless(cut(image, region)))
        for method, image in images.items()
    }
    return ShownPicture(
        key=restored.key,
        set_title=restored.title,
        scale=restored.scale,
        picture=picture,
        finding=_finding(restored, picture),
        region=region,
        whole=(width, height),
        overview=PagePicture(f"{folder}.overview.webp", overview(cut(images[HR], region))),
        centre=(
            (window.left - region.left + window.width / 2) / wide,
            (window.top - region.top + window.height / 2) / high,
        ),
        cutouts=tuple(
            Cutout(
                method,
                crops.get(method),
                fixed(scores[method], _PSNR.digits) if method in scores and method != HR else "",
            )
            for method in methods
        ),
    )


def _finding(restored: Restored, picture: str) -> str:
    """ "“img_004” of Urban100 ×2: 33.10 to 34.25 dB, bicubic 30.02 dB."."""
    scores = restored.scores_db(picture)
    networks = [value for method, value in scores.items() if method not in CONTROLS]
    words = [between(networks, _PSNR.digits, _PSNR.unit)] if networks else []
    words.append(f"bicubic {_PSNR.write(scores[BICUBIC])}")
    return f"“{picture}” of {restored.title}: {', '.join(words)}."
