"""What the explorer shows: of each picture of a set, every method's PSNR, and crops of some.

Its reader chooses two methods; the page's script sorts the pictures by their difference.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from hitsr.report.crops import Box, cut, disputed_window, lossless
from hitsr.report.embedding import PagePicture
from hitsr.report.measures import Evidence
from hitsr.report.names import BICUBIC, CONTROLS, family_key, label, role_of
from hitsr.report.restored import Restored, restored_sets

CROPPED = 12  # pictures of a set with crops: those where the networks' PSNR differs most
CROP = (112, 84)  # width, height in HR pixels; shown twice as large


@dataclass(frozen=True)
class ExploredPicture:
    name: str
    psnr_db: dict[str, float]  # of each method; without those that are identical to HR
    window: Box | None = None
    crops: dict[str, PagePicture] | None = None  # of each method; None where left out


@dataclass(frozen=True)
class ExploredSet:
    key: str
    title: str
    methods: tuple[str, ...]  # among which two are chosen
    pair: tuple[str, str]  # chosen at first
    pictures: tuple[ExploredPicture, ...]

    @property
    def page_pictures(self) -> list[PagePicture]:
        return [crop for picture in self.pictures for crop in (picture.crops or {}).values()]


def explored_sets(evidence: Evidence) -> list[ExploredSet]:
    """Those sets of which two methods were scored; DataError for a picture that does not fit."""
    found = (_explored(restored) for restored in restored_sets(evidence))
    return [explored for explored in found if explored]


def explorer_data(sets: list[ExploredSet], address: Callable[[PagePicture], str]) -> Any:
    """What the script reads; `address` says where a crop is."""
    return [
        {
            "key": explored.key,
            "title": explored.title,
            "pair": explored.pair,
            "methods": [
                {"name": name, "label": label(name), "style": f"{family_key(name)} {role_of(name)}"}
                for name in explored.methods
            ],
            "pictures": [_picture_data(picture, address) for picture in explored.pictures],
        }
        for explored in sets
    ]


def _picture_data(picture: ExploredPicture, address: Callable[[PagePicture], str]) -> Any:
    crops = {method: address(crop) for method, crop in (picture.crops or {}).items()}
    psnr_db = {method: round(value, 4) for method, value in picture.psnr_db.items()}
    return {"name": picture.name, "psnr": psnr_db, "window": picture.window, "crops": crops}


def _explored(restored: Restored) -> ExploredSet | None:
    evidence = restored.evidence
    methods = [name for name in (BICUBIC, *evidence.networks) if name in restored.runs]
    if len(methods) < 2:
        return None
    scores = {method: restored.psnr_db(method) for method in methods}
    pictures = [
        ExploredPicture(
            name,
            {m: found[name] for m, found in scores.items() if math.isfinite(found[name])},
        )
        for name in scores[methods[0]]
    ]
    cropped = {picture.name for picture in sorted(pictures, key=_spread, reverse=True)[:CROPPED]}
    pairs = [
        family.networks for family in evidence.families if set(family.networks) <= set(methods)
    ]
    return ExploredSet(
        key=restored.key,
        title=restored.title,
        methods=tuple(methods),
        pair=pairs[0] if pairs else (methods[0], methods[-1]),
        pictures=tuple(
            _with_crops(picture, restored) if picture.name in cropped else picture
            for picture in pictures
        ),
    )


def _spread(picture: ExploredPicture) -> float:
    """Between the best and the worst network, in dB."""
    values = [value for method, value in picture.psnr_db.items() if method != BICUBIC]
    return max(values) - min(values) if values else 0.0


def _with_crops(picture: ExploredPicture, restored: Restored) -> ExploredPicture:
    images = restored.images(picture.name)
    if not images:
        return picture
    networks = [image for method, image in images.items() if method not in CONTROLS]
    window = disputed_window(networks if len(networks) > 1 else list(images.values()), CROP)
    crops = {
        method: PagePicture(
            f"{restored.key}/{picture.name}.{method}.crop.webp", lossless(cut(image, window))
        )
        for method, image in images.items()
    }
    return replace(picture, window=window, crops=crops)
