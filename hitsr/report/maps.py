"""Attribution maps to look at: a row per picture, the window, then every network's map of it.

All maps of a sheet share one scale, so that dark is dark for whoever it is. It is logarithmic:
a few pixels around the window hold nearly all of a map, and the question is what lies beyond.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hitsr.base.errors import DataError
from hitsr.records import AttributionRecord, WindowAttribution
from hitsr.report.attributed import Place, attributed
from hitsr.report.crops import Box, cut, lossless, overview, read
from hitsr.report.embedding import PagePicture
from hitsr.report.measures import Evidence

SHOWN = 3  # pictures of a sheet: the first by name
_PANELS = 3  # of an overlay: the window framed, the map, its density
# From no influence to the most, all readable by lightness alone.
_STOPS = ((255, 255, 255), (251, 196, 170), (226, 74, 51), (103, 0, 13))
DECADES = 5  # of the scale, down from the largest share of a sheet to white

Array = NDArray[np.float64]


class MapCell(NamedTuple):
    network: str
    map: PagePicture
    window: WindowAttribution


class SheetRow(NamedTuple):
    picture: str
    side: int  # of the window, in HR pixels
    target: PagePicture
    cells: tuple[MapCell, ...]


@dataclass(frozen=True)
class Sheet:
    place: Place
    rows: tuple[SheetRow, ...]
    pictures: int  # that were mapped, shown or not
    largest: float  # share of a map's total in one LR pixel: the dark end of the scale

    @property
    def page_pictures(self) -> list[PagePicture]:
        return [
            picture
            for row in self.rows
            for picture in (row.target, *(cell.map for cell in row.cells))
        ]


def sheet(evidence: Evidence, place: Place) -> Sheet:
    """Of the first seed of each network; DataError for a map that cannot be read."""
    records = {
        network: found[0]
        for network in evidence.networks
        if (found := attributed(evidence, network, place))
    }
    folders = {n: _folder(evidence.results.folder, r) for n, r in records.items()}
    pictures = next(iter(records.values())).windows
    shares = {
        (network, index): share(_channels(folders[network] / record.windows[index].channels))
        for network, record in records.items()
        for index in range(min(SHOWN, len(pictures)))
    }
    largest = max(float(each.max()) for each in shares.values())
    rows = []
    for index, window in enumerate(pictures[:SHOWN]):
        name = f"maps-{place.dataset}-x{place.scale}/{window.picture}"
        cells = [
            MapCell(
                network,
                PagePicture(
                    f"{name}.{network}.webp", lossless(coloured(shares[network, index] / largest))
                ),
                record.windows[index],
            )
            for network, record in records.items()
        ]
        overlay = read(folders[cells[0].network] / window.overlay)
        # Its first panel: the picture with the window framed.
        framed = cut(overlay, Box(0, 0, overlay.shape[1] // _PANELS, overlay.shape[0]))
        target = PagePicture(f"{name}.webp", overview(framed))
        rows.append(SheetRow(window.picture, window.window[2], target, tuple(cells)))
    return Sheet(place, tuple(rows), len(pictures), largest)


def share(channels: Array) -> Array:
    """What of a map's total each pixel holds: (3, h, w), signed -> (h, w), sums to 1."""
    importance: Array = np.abs(channels.sum(0, dtype=np.float64))
    importance /= importance.sum()
    return importance


def coloured(values: Array) -> NDArray[np.uint8]:
    """Dark red at 1, white from 10^-DECADES down, by logarithms: (h, w) -> (h, w, 3)."""
    height = 1 + np.log10(np.maximum(values, 10.0**-DECADES)) / DECADES
    at = np.linspace(0, 1, len(_STOPS))
    channels = [np.interp(height, at, stops) for stops in zip(*_STOPS)]
    return np.stack(channels, -1).round().astype(np.uint8)


def _folder(results: Path, record: AttributionRecord) -> Path:
    return results / "lam" / f"{record.subject}.{record.dataset}"


def _channels(path: Path) -> Array:
    try:
        channels: Array = np.load(path)
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read ({error}); rerun `hitsr lam`") from None
    return channels
