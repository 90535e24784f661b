"""What attribution maps say: diffusion index, area and completeness, over pictures and seeds. Pure.

A window stands for its picture: every method is mapped at the same one, so methods are compared
picture by picture.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from hitsr.plan.methods import methods
from hitsr.records import AttributionRecord, WindowAttribution
from hitsr.report.measures import Evidence
from hitsr.report.names import Family
from hitsr.report.statistics import Estimate, mean
from hitsr.specs.network import Scale

Number = Callable[[WindowAttribution], float | None]


class Place(NamedTuple):
    """Where methods were mapped: one set at one scale."""

    dataset: str
    scale: Scale


class PairedIndex(NamedTuple):
    """Diffusion index of a conversion against its baseline's, at the same windows."""

    family: Family
    baseline: float  # means over pictures
    conversion: float
    difference: Estimate  # of the pictures' differences, with half its 95 % interval
    higher: int  # pictures on which the conversion's is higher
    pictures: int

    @property
    def is_wider(self) -> bool:
        """The whole interval lies above zero."""
        return self.difference.half is not None and self.difference.value > self.difference.half

    @property
    def is_narrower(self) -> bool:
        return self.difference.half is not None and self.difference.value < -self.difference.half


def places(evidence: Evidence) -> list[Place]:
    """Those with at least one method mapped."""
    config = evidence.config
    sets = [*(config.lam.sets if config.lam else ()), *config.data.test]
    return [
        Place(dataset, scale)
        for dataset in dict.fromkeys(sets)
        for scale in config.scales
        if any(
            attributed(evidence, network, Place(dataset, scale)) for network in evidence.networks
        )
    ]


def attributed(evidence: Evidence, network: str, place: Place) -> list[AttributionRecord]:
    """The records of a network's seeds, or of its released weights."""
    return [
        record
        for method in methods(evidence.config).values()
        if (method.network, method.scale) == (network, place.scale)
        and (record := evidence.results.attribution.get((method.name, place.dataset)))
    ]


def by_window(records: Sequence[AttributionRecord], number: Number) -> list[float]:
    """A number of each window, its mean over seeds; empty where a record lacks it."""
    rows = [[number(window) for window in record.windows] for record in records]
    if any(value is None for row in rows for value in row):
        return []
    seeds = [[value for value in row if value is not None] for row in rows]
    return [mean(column).value for column in zip(*seeds, strict=True)]


def over_windows(records: Sequence[AttributionRecord], number: Number) -> Estimate | None:
    """Its mean with half the interval over pictures; None where there is nothing to average."""
    values = by_window(records, number)
    return mean(values) if values else None


def paired_indices(evidence: Evidence, place: Place) -> list[PairedIndex]:
    """One for each family of which both members were mapped."""
    found = []
    for family in evidence.families:
        before, after = (
            by_window(attributed(evidence, network, place), diffusion_index)
            for network in family.networks
        )
        if before and after:
            each = [b - a for a, b in zip(before, after, strict=True)]
            higher = sum(value > 0 for value in each)
            means = mean(before).value, mean(after).value
            found.append(PairedIndex(family, *means, mean(each), higher, len(each)))
    return found


def diffusion_index(window: WindowAttribution) -> float:
    return window.diffusion_index


def refined_index(window: WindowAttribution) -> float | None:
    return window.refined.diffusion_index if window.refined else None


def area_percent(window: WindowAttribution) -> float:
    return window.information_area * 100


def error_percent(window: WindowAttribution) -> float:
    return window.completeness_error * 100


def refined_error_percent(window: WindowAttribution) -> float | None:
    return window.refined.completeness_error * 100 if window.refined else None
