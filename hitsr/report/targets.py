"""Time to target: when a conversion first has its baseline's final PSNR, in steps and seconds."""

from collections.abc import Sequence
from typing import NamedTuple

from hitsr.report.cells import NOT_REACHED, Cell, Column, Group, Row, Span, Table, here, row
from hitsr.report.measures import Curve, Evidence, curve, reached_at
from hitsr.report.names import Family
from hitsr.report.typeset import counted, number_word
from hitsr.specs.network import Scale


class Target(NamedTuple):
    """A conversion's way to its baseline's final validation PSNR, by means over seeds."""

    family: Family
    psnr_db: float
    baseline: tuple[int, float]  # steps and seconds of its whole training
    conversion: tuple[int, float] | None  # until it is reached; None if it never is


def targets(evidence: Evidence, scale: Scale) -> list[Target]:
    """One for each family of which both members were trained."""
    found = []
    for family in evidence.families:
        before, after = (
            curve(evidence.results, network, scale, "validation_psnr_db")
            for network in family.networks
        )
        if before and after:
            found.append(_target(family, before, after))
    return found


def target_finding(found: Sequence[Target]) -> str:
    reached = [target for target in found if target.conversion]
    sooner = [t for t in reached if t.conversion and t.conversion[1] < t.baseline[1]]
    if not reached:
        return "No conversion reaches its baseline’s final PSNR."
    return (
        f"Of {counted(len(found), 'conversion')}, {number_word(len(reached))} "
        f"{'reach' if len(reached) > 1 else 'reaches'} the baseline’s final PSNR, "
        f"{number_word(len(sooner)) if sooner else 'none'} in less time than the baseline trained."
    )


def target_table(by_scale: dict[Scale, list[Target]]) -> Table:
    """A group per scale; ratios above one where the conversion was sooner."""
    columns = (Column("baseline, all"), Column("until reached"), Column("times as soon"))
    spans = (
        Span((Column("target", "dB"),), "Validation PSNR"),
        Span(columns, "Steps"),
        Span(columns, "Seconds"),
    )
    groups = tuple(
        Group(f"×{scale}", tuple(map(_row, found))) for scale, found in by_scale.items() if found
    )
    return Table("targets", "Conversion", spans, groups)


def _target(family: Family, before: Curve, after: Curve) -> Target:
    goal = before.mean[-1]
    position = reached_at(after, goal)
    reached = None if position is None else (after.steps[position], after.seconds[position])
    return Target(family, goal, (before.steps[-1], before.seconds[-1]), reached)


def _row(target: Target) -> Row:
    cells = [here(target.psnr_db, 2)]
    for position in (0, 1):
        cells += _way(target, position)
    return row(target.family.conversion, cells)


def _way(target: Target, position: int) -> list[Cell]:
    """In steps or in seconds."""
    baseline = target.baseline[position]
    if target.conversion is None:
        return [here(baseline), NOT_REACHED, NOT_REACHED]
    reached = target.conversion[position]
    return [here(baseline), here(reached), here(baseline / reached, 1)]
