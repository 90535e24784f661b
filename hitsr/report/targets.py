"""Time to target: when a conversion first has its baseline's final PSNR, by three clocks."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from hitsr.report.cells import NOT_LOGGED, NOT_REACHED, Column, Group, Row, Span, Table, here, row
from hitsr.report.evidence import Curve, Estimates, Evidence
from hitsr.report.facts import QUANTITIES
from hitsr.report.names import Family
from hitsr.report.typeset import number_word, sentence, share
from hitsr.specs.network import Scale


class Clocks(NamedTuple):
    """How long a training took to some step."""

    steps: int
    seconds: float  # in all sessions
    device_hours: float | None  # of all devices; None: logged before these were


class Target(NamedTuple):
    """A conversion's way to its baseline's final validation PSNR, by means over seeds."""

    family: Family
    psnr_db: float
    baseline: Clocks  # of its whole training
    conversion: Clocks | None  # until it is reached; None if it never is
    last_step: int  # of the conversion

    @property
    def is_early(self) -> bool:
        """Whether the conversion reaches it before its own last step."""
        return self.conversion is not None and self.conversion.steps < self.last_step


def targets(evidence: Evidence, scale: Scale) -> list[Target]:
    """One for each family of which both members were trained, and validated alike."""
    found = (target_of(evidence, family, scale) for family in evidence.families)
    return [target for target in found if target]


def target_of(evidence: Estimates, family: Family, scale: Scale) -> Target | None:
    """None before both members were trained, and where weights of one are averaged."""
    before, after = _curves(evidence, family, scale)
    if not before or not after or before.validated != after.validated:
        return None
    goal = before.mean[-1]
    position = after.reached_at(goal)
    reached = None if position is None else _clocks(after, position)
    return Target(family, goal, _clocks(before, -1), reached, after.steps[-1])


def unlike_pairs(evidence: Evidence, scale: Scale) -> list[str]:
    """Conversions that are held against no baseline, since weights of one of them are averaged."""
    pairs = [(f.conversion, _curves(evidence, f, scale)) for f in evidence.families]
    return [
        name
        for name, (before, after) in pairs
        if before and after and before.validated != after.validated
    ]


def _curves(evidence: Estimates, family: Family, scale: Scale) -> tuple[Curve | None, Curve | None]:
    before, after = (
        evidence.curve("validation_psnr_db", network, scale) for network in family.networks
    )
    return before, after


def _clocks(curve: Curve, position: int) -> Clocks:
    hours = curve.device_hours
    return Clocks(
        curve.steps[position], curve.seconds[position], None if hours is None else hours[position]
    )


def _is_sooner(conversion: Clocks, baseline: Clocks) -> bool:
    """By device time, where both logs have it: other work on a machine does not change it."""
    if conversion.device_hours is None or baseline.device_hours is None:
        return conversion.seconds < baseline.seconds
    return conversion.device_hours < baseline.device_hours


def target_finding(found: Sequence[Target]) -> str:
    reached = [target for target in found if target.conversion]
    sooner = [t for t in reached if t.conversion and _is_sooner(t.conversion, t.baseline)]
    if not reached:
        return "No conversion reaches its baseline’s final PSNR."
    if len(found) == 1:
        time = "in less time" if sooner else "but not in less time"
        return (
            f"The conversion reaches the baseline’s final PSNR, {time} than the baseline trained."
        )
    return sentence(
        f"in {share(len(reached), len(found), 'pair')} the conversion reaches the baseline’s final "
        f"PSNR, in {number_word(len(sooner)) if sooner else 'none'} of them in less time than the "
        "baseline trained."
    )


def target_table(by_scale: dict[Scale, list[Target]]) -> Table:
    """A group per scale; ratios above one where the conversion was sooner."""
    columns = (Column("baseline"), Column("conversion"), Column("ratio"))
    spans = (
        Span((Column("target", "dB"),), "Validation PSNR"),
        *(Span(columns, title) for title in ("Steps", "Seconds", "Device-hours")),
    )
    every = [target for found in by_scale.values() for target in found]
    digits = (0, 0, hours_digits([hours for target in every for hours in _hours(target)]))
    groups = tuple(
        Group(f"×{scale}", tuple(_row(target, digits) for target in found))
        for scale, found in by_scale.items()
        if found
    )
    return Table("targets", "Conversion", spans, groups)


def hours_digits(hours: Sequence[float]) -> int:
    """Decimals that show two digits of the shortest time: one for days, more for minutes."""
    least = min(filter(None, hours), default=1.0)
    return min(max(1 - math.floor(math.log10(least)), 1), 6)


def _hours(target: Target) -> list[float]:
    """Its device-hours, where they are known."""
    found = (clocks.device_hours for clocks in (target.baseline, target.conversion) if clocks)
    return [hours for hours in found if hours is not None]


def _row(target: Target, digits: Sequence[int]) -> Row:
    """For each clock: that of the baseline, that until reached, and their ratio."""
    cells = [here(target.psnr_db, QUANTITIES["validation_psnr_db"].digits)]
    for position, whole in enumerate(target.baseline):
        reached = target.conversion and target.conversion[position]
        cells.append(NOT_LOGGED if whole is None else here(whole, digits[position]))
        if target.conversion is None:
            cells += [NOT_REACHED, NOT_REACHED]
        elif reached is None or whole is None:
            cells += [NOT_LOGGED, NOT_LOGGED]
        else:
            cells += [here(reached, digits[position]), here(whole / reached, 1)]
    return row(target.family.conversion, cells)
