"""Data of the explorer: every method's PSNR on each picture of a set, and crops of some pictures.

Readers choose two methods; the page's script sorts the pictures by their difference.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from hitsr.plan.subjects import CONTROLS
from hitsr.report.crops import Box, cut, disputed_window, lossless
from hitsr.report.embedding import PagePicture
from hitsr.report.evidence import Evidence
from hitsr.report.names import BICUBIC, family_key, label, role_of
from hitsr.report.restored import Restored, restored_sets

CROPPED = 12  # pictures of a set with crops: those where the networks' PSNR differs most
CROP = (112, 84)  # width, height in HR pixels; shown twice as large


class ExploredPicture(NamedTuple):
    name: str
    psnr_db: dict[str, float]  # by method; without those that are identical to HR
    window: Box | None  # that the crops show
    crops: dict[str, PagePicture]  # by method; empty where left out


class ExploredSet(NamedTuple):
    key: str
    title: str
    methods: tuple[str, ...]  # among which two are chosen
    pair: tuple[str, str]  # chosen at first
    pictures: tuple[ExploredPicture, ...]

    @property
    def page_pictures(self) -> list[PagePicture]:
        return [crop for picture in self.pictures for crop in picture.crops.values()]


def explored_sets(evidence: Evidence) -> list[ExploredSet]:
    """Sets of which two methods were scored; DataError for a picture that does not fit."""
    found = (_explored(evidence, restored) for restored in restored_sets(evidence))
    return [explored for explored in found if explored]


def explorer_data(sets: list[ExploredSet], address: Callable[[PagePicture], str]) -> Any:
    """Plain data for the page's script; `address` says where a crop is."""
    return [
        {
            **explored._asdict(),
            "methods": [
                {"name": name, "label": label(name), "style": f"{family_key(name)} {role_of(name)}"}
                for name in explored.methods
            ],
            "pictures": [
                {
                    "name": picture.name,
                    "psnr": {method: round(db, 4) for method, db in picture.psnr_db.items()},
                    "window": picture.window,
                    "crops": {method: address(crop) for method, crop in picture.crops.items()},
                }
                for picture in explored.pictures
            ],
        }
        for explored in sets
    ]


def _explored(evidence: Evidence, restored: Restored) -> ExploredSet | None:
    methods = [name for name in (BICUBIC, *evidence.networks) if name in restored.psnr_db]
    if len(methods) < 2:
        return None
    networks = [name for name in methods if name != BICUBIC]
    finite = restored.psnr_db[networks].replace(math.inf, math.nan)
    spread = (finite.max(axis="columns") - finite.min(axis="columns")).fillna(0)
    cropped = spread.nlargest(CROPPED).index
    pairs = [f.networks for f in evidence.families if set(f.networks) <= set(methods)]
    pictures = []
    for name in map(str, spread.index):
        scores = restored.scores_db(name)
        shown = {m: scores[m] for m in methods if math.isfinite(scores[m])}
        window, crops = _crops(restored, name) if name in cropped else (None, {})
        pictures.append(ExploredPicture(name, shown, window, crops))
    pair = pairs[0] if pairs else (methods[0], methods[-1])
    return ExploredSet(restored.key, restored.title, tuple(methods), pair, tuple(pictures))


def _crops(restored: Restored, picture: str) -> tuple[Box | None, dict[str, PagePicture]]:
    """Where networks differ most, and what every method has there."""
    images = restored.images(picture)
    if not images:
        return None, {}
    networks = [image for method, image in images.items() if method not in CONTROLS]
    window = disputed_window(networks if len(networks) > 1 else list(images.values()), CROP)
    folder = f"{restored.key}/{picture}"
    return window, {
        method: PagePicture(f"{folder}.{method}.crop.webp", lossless(cut(image, window)))
        for method, image in images.items()
    }
