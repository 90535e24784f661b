"""Sheets of attribution maps: per picture, the window, then every network's map of it.

All maps of a sheet share one scale, so equal colours are equal shares. The scale is
logarithmic: a few pixels around the window hold nearly all of a map, and the question is what lies
beyond.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from hitsr.base.errors import DataError
from hitsr.base.files import no_file
from hitsr.plan.layout import file_name
from hitsr.records import AttributionRecord
from hitsr.report.crops import lossless, overview, read
from hitsr.report.embedding import PagePicture
from hitsr.report.evidence import Evidence
from hitsr.report.facts import QUANTITIES
from hitsr.specs.network import Scale

SHOWN = 3  # pictures of a sheet: the first by name
_PANELS = 3  # of an overlay: the window framed, the map, its density
# From no influence to the most, all readable by lightness alone.
_STOPS = ((255, 255, 255), (251, 196, 170), (226, 74, 51), (103, 0, 13))
DECADES = 5  # of the scale, down from the largest share of a sheet to white

Array = NDArray[np.float64]


class MappedSet(NamedTuple):
    """Where networks were mapped: one set at one scale."""

    dataset: str
    scale: Scale


class NetworkMap(NamedTuple):
    """One network's map of one window, and its numbers as shown."""

    network: str
    map: PagePicture
    diffusion_index: str
    information_area: str


class MappedPicture(NamedTuple):
    picture: str
    side: int  # of the window, in HR pixels
    target: PagePicture  # the picture with the window framed
    maps: tuple[NetworkMap, ...]


class Sheet(NamedTuple):
    place: MappedSet
    rows: tuple[MappedPicture, ...]
    pictures: int  # that were mapped, shown or not
    largest: float  # share of a map's total in one LR pixel: the dark end of the scale

    @property
    def page_pictures(self) -> list[PagePicture]:
        return [each for row in self.rows for each in (row.target, *(m.map for m in row.maps))]


def mapped_sets(evidence: Evidence) -> list[MappedSet]:
    """Sets and scales at which at least one network was mapped."""
    config = evidence.config
    rows = evidence.facts.find("diffusion_index")
    found = {(row.dataset, row.scale) for row in rows if row.network in evidence.networks}
    sets = dict.fromkeys([*(config.lam.sets if config.lam else ()), *config.data.test])
    places = (MappedSet(dataset, scale) for dataset in sets for scale in config.scales)
    return [place for place in places if place in found]


def sheet(evidence: Evidence, place: MappedSet) -> Sheet:
    """Maps of the first seed of each network; DataError for a map that cannot be read."""
    first = _first_maps(evidence, place)
    folder, record = next(iter(first.values()))
    shown = record.windows[:SHOWN]
    shares = {
        (network, index): share(channels_of(where / maps.windows[index].channels))
        for network, (where, maps) in first.items()
        for index in range(len(shown))
    }
    largest = max(float(each.max()) for each in shares.values())
    rows = []
    for index, window in enumerate(shown):
        name = f"maps-{file_name(place.dataset)}-x{place.scale}/{window.picture}"
        maps = []
        for network in first:
            data = lossless(coloured(shares[network, index] / largest))
            picture = PagePicture(f"{name}.{network}.webp", data)
            maps.append(NetworkMap(network, picture, *_written(evidence, place, network, index)))
        target = PagePicture(f"{name}.webp", overview(_framed(folder / window.overlay)))
        rows.append(MappedPicture(window.picture, window.window[2], target, tuple(maps)))
    return Sheet(place, tuple(rows), len(record.windows), largest)


def share(channels: Array) -> Array:
    """Each pixel's share of a map's total: (3, h, w), signed -> (h, w), sums to 1."""
    importance: Array = np.abs(channels.sum(0, dtype=np.float64))
    importance /= importance.sum()
    return importance


def coloured(values: Array) -> NDArray[np.uint8]:
    """Dark red at 1, white from 10^-DECADES down, by logarithms: (h, w) -> (h, w, 3)."""
    height = 1 + np.log10(np.maximum(values, 10.0**-DECADES)) / DECADES
    at = np.linspace(0, 1, len(_STOPS))
    channels = [np.interp(height, at, stops) for stops in zip(*_STOPS)]
    return np.stack(channels, -1).round().astype(np.uint8)


def _first_maps(evidence: Evidence, place: MappedSet) -> dict[str, tuple[Path, AttributionRecord]]:
    """By network, the record of its first seed, and the folder of its maps."""
    found: dict[str, tuple[Path, AttributionRecord]] = {}
    for job, record, _ in evidence.results.done:
        if isinstance(record, AttributionRecord) and (record.dataset, record.scale) == place:
            assert job.output is not None
            found.setdefault(record.network, (job.output.parent, record))
    return {network: found[network] for network in evidence.networks if network in found}


def _written(evidence: Evidence, place: MappedSet, network: str, index: int) -> Iterator[str]:
    """Diffusion index and information area of the picture at `index`, first seed."""
    for quantity in ("diffusion_index", "information_area"):
        row = evidence.facts.find(quantity, network, **place._asdict())[0]
        yield QUANTITIES[quantity].write(row.samples[index])


def _framed(overlay: Path) -> NDArray[np.uint8]:
    """The first panel of an overlay: the picture with the window framed."""
    panels = read(overlay)
    return panels[:, : panels.shape[1] // _PANELS]


def channels_of(path: Path) -> Array:
    """The channels of a map, as `hitsr lam` wrote them; DataError if they cannot be read."""
    if not path.is_file():
        raise DataError(f"{no_file(path)}; rerun `hitsr lam`")
    try:
        # A map of the file: a header that promises more than there is takes no memory.
        channels: Array = np.array(open_memmap(path, mode="r"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read ({error}); rerun `hitsr lam`") from None
    return channels
