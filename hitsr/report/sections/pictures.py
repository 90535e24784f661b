"""Section: of each test set one picture, the same window from every network; then all pictures.

Which picture and window are shown follows rules that look at no network's result.
"""

from dataclasses import dataclass
from itertools import groupby

from hitsr.report.crops import Array, Box, around, busiest_window, cut, lossless, overview
from hitsr.report.embedding import PagePicture
from hitsr.report.explorer import CROP, CROPPED, explored_sets
from hitsr.report.measures import Evidence
from hitsr.report.names import BICUBIC, CONTROLS, FAMILIES, HR, role_of
from hitsr.report.restored import Restored, restored_sets
from hitsr.report.section import Section
from hitsr.report.typeset import THIN_SPACE, between, fixed
from hitsr.specs.network import Scale

# Bounds what a row holds: a region of this size of a larger picture.
_REGION = (480, 320)  # width, height in HR pixels
_ZOOM = 4  # the window is a quarter of the region's sides


@dataclass(frozen=True)
class Cutout:
    """One method's region."""

    method: str  # network, "bicubic" or "hr"
    crop: PagePicture | None  # None where its pictures are absent
    psnr_db: str  # of the whole picture, as shown; empty for HR and where not scored


@dataclass(frozen=True)
class PictureRow:
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
        """Of the grid: HR and the baselines fill its first line."""
        return max(2, [cutout.method for cutout in self.cutouts].index(BICUBIC))

    @property
    def is_paired(self) -> bool:
        """Whether each conversion lies below its baseline, and nothing else is there."""
        return len(self.cutouts) == 2 * self.columns

    @property
    def shown(self) -> list[str]:
        return [cutout.method for cutout in self.cutouts if cutout.crop]

    @property
    def page_pictures(self) -> list[PagePicture]:
        return [self.overview, *(cutout.crop for cutout in self.cutouts if cutout.crop)]


def pictures_section(evidence: Evidence) -> Section:
    rows, explored = picture_rows(evidence), explored_sets(evidence)
    by_scale = [(scale, list(group)) for scale, group in groupby(rows, lambda row: row.scale)]
    return Section(
        key="pictures",
        nav="Pictures",
        heading="The same window from every network",
        parts={
            "rows": rows,
            "by_scale": by_scale,
            "methods": methods_of(evidence),
            "sides": first_sides(rows),
            "explored": explored,
            "crop": CROP,
            "cropped": CROPPED if any(len(each.pictures) > CROPPED for each in explored) else None,
        },
        pictures=[
            *(picture for row in rows for picture in row.page_pictures),
            *(picture for each in explored for picture in each.page_pictures),
        ],
    )


def methods_of(evidence: Evidence) -> list[str]:
    """In the order of the grid: HR and the baselines, and below them bicubic and the conversions.

    Networks that belong to no pair come last.
    """
    asked = evidence.networks
    families = [family for family in FAMILIES if set(asked) & set(family.networks)]
    paired = [family.baseline for family in families], [family.conversion for family in families]
    others = [name for name in asked if name not in paired[0] + paired[1]]
    return [HR, *paired[0], BICUBIC, *paired[1], *others]


def picture_rows(evidence: Evidence) -> list[PictureRow]:
    """One for each set and scale with restored pictures; DataError for one that does not fit."""
    methods = methods_of(evidence)
    made = (_row(restored, methods) for restored in restored_sets(evidence))
    return [row for row in made if row]


def choose(restored: Restored) -> str | None:
    """The picture where bicubic scores worst; None if it was not scored."""
    scores = restored.psnr_db(BICUBIC)
    return min(scores, key=lambda name: (scores[name], name), default=None)


def first_sides(rows: list[PictureRow]) -> tuple[str, str] | None:
    """What the slider shows first: bicubic and the last conversion, where they are there."""
    if not rows:
        return None
    shown = rows[0].shown
    conversions = [name for name in shown if role_of(name) == "conversion"]
    return BICUBIC if BICUBIC in shown else shown[0], [*shown, *conversions][-1]


def _row(restored: Restored, methods: list[str]) -> PictureRow | None:
    picture = choose(restored)
    images = restored.images(picture) if picture else {}
    if picture is None or len(images) < 2:
        return None
    height, width = images[HR].shape[:2]
    wide, high = min(width, _REGION[0]), min(height, _REGION[1])
    window = busiest_window(images[HR], (max(1, wide // _ZOOM), max(1, high // _ZOOM)))
    region = around(window, _REGION, (width, height))
    folder = f"{restored.key}/{picture}"
    return PictureRow(
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
                _crop(images.get(method), region, f"{folder}.{method}.webp"),
                _score(restored, method, picture),
            )
            for method in methods
        ),
    )


def _crop(image: Array | None, region: Box, name: str) -> PagePicture | None:
    return None if image is None else PagePicture(name, lossless(cut(image, region)))


def _score(restored: Restored, method: str, picture: str) -> str:
    value = restored.psnr_db(method).get(picture)
    return "" if value is None or method == HR else fixed(value, 2)


def _finding(restored: Restored, picture: str) -> str:
    """ "“img_004” of Urban100 ×2: 33.10 to 34.25 dB, bicubic 30.02 dB."."""
    networks = [method for method in restored.runs if method not in CONTROLS]
    values = [restored.psnr_db(method)[picture] for method in networks]
    words = [between(values, 2, "dB")] if values else []
    bicubic = restored.psnr_db(BICUBIC)[picture]
    words.append(f"bicubic {fixed(bicubic, 2)}{THIN_SPACE}dB")
    return f"“{picture}” of {restored.title}: {', '.join(words)}."
