"""Time to target: when a conversion first has its baseline's final PSNR, in steps and seconds."""

from collections.abc import Sequence
from typing import NamedTuple

from hitsr.report.cells import NOT_REACHED, Column, Group, Row, Span, Table, here, row
from hitsr.report.evidence import Evidence
from hitsr.report.facts import QUANTITIES
from hitsr.report.names import Family
from hitsr.report.typeset import number_word, sentence, share
from hitsr.specs.network import Scale


class Target(NamedTuple):
    """A conversion's way to its baseline's final validation PSNR, by means over seeds."""

    family: Family
    psnr_db: float
    baseline: tuple[int, float]  # steps and seconds of its whole training
    conversion: tuple[int, float] | None  # until it is reached; None if it never is
    last_step: int  # of the conversion

    @property
    def is_early(self) -> bool:
        """Whether the conversion reaches it before its own last step."""
        return self.conversion is not None and self.conversion[0] < self.last_step


def targets(evidence: Evidence, scale: Scale) -> list[Target]:
    """One for each family of which both members were trained."""
    found = (target_of(evidence, family, scale) for family in evidence.families)
    return [target for target in found if target]


def target_of(evidence: Evidence, family: Family, scale: Scale) -> Target | None:
    """None before both members were trained."""
    before, after = (
        evidence.curve("validation_psnr_db", network, scale) for network in family.networks
    )
    if not before or not after:
        return None
    goal = before.mean[-1]
    position = after.reached_at(goal)
    reached = None if position is None else (after.steps[position], after.seconds[position])
    whole = (before.steps[-1], before.seconds[-1])
    return Target(family, goal, whole, reached, after.steps[-1])


def target_finding(found: Sequence[Target]) -> str:
    reached = [target for target in found if target.conversion]
    sooner = [t for t in reached if t.conversion and t.conversion[1] < t.baseline[1]]
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


def _row(target: Target) -> Row:
    """Steps, then seconds: those of the baseline, those until reached, and their ratio."""
    cells = [here(target.psnr_db, QUANTITIES["validation_psnr_db"].digits)]
    for position, whole in enumerate(target.baseline):
        cells.append(here(whole))
        if target.conversion is None:
            cells += [NOT_REACHED, NOT_REACHED]
        else:
            reached = target.conversion[position]
            cells += [here(reached), here(whole / reached, 1)]
    return row(target.family.conversion, cells)
