"""A claim with the numbers that decide it, and what all kinds of claims share."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from hitsr.report.evidence import Evidence
from hitsr.report.facts import QUANTITIES
from hitsr.report.judging import (
    Expected,
    JudgedNumber,
    Measured,
    Style,
    Verdict,
    above,
    combined,
    judge,
)
from hitsr.specs.claims import (
    Claim,
    OtherPairsClaim,
    PairClaim,
)
from hitsr.specs.network import Scale

PRINTED_SCORES = ("psnr_db", "ssim")  # quantities of a test set that the paper prints


@dataclass(frozen=True)
class Ruling:
    """A claim, the numbers that it is about, and what else the records say of it."""

    claim: Claim
    numbers: tuple[JudgedNumber, ...]
    noun: str = ""  # of numbers that are counted: "pair"; of others the range is shown
    note: str = ""

    @property
    def verdict(self) -> Verdict:
        """By what was judged: numbers that were not run do not hold a claim back."""
        return combined([number.verdict for number in self.numbers])

    @property
    def judged(self) -> list[JudgedNumber]:
        return [number for number in self.numbers if number.verdict != "not_testable"]


class ClaimPlace(NamedTuple):
    """Of which quantity, at which scale and on which set a number is."""

    quantity: str
    scale: Scale
    dataset: str | None


def datasets_of(claim: Claim, evidence: Evidence, quantity: str) -> Sequence[str | None]:
    """Sets of a quantity: the claim's, then the run's own; sets that were mapped; none."""
    if quantity == "diffusion_index":
        return evidence.facts.distinct("dataset", quantity) or [None]
    if quantity not in PRINTED_SCORES:
        return [None]
    if isinstance(claim, OtherPairsClaim):
        return evidence.config.data.test
    own = [d for d in evidence.config.data.test if d not in evidence.paper_sets]
    return [*claim.datasets, *(own if isinstance(claim, PairClaim) else ())]


def difference_style(quantity: str) -> Style:
    known = QUANTITIES[quantity]
    return Style(1 if quantity == "diffusion_index" else known.digits, known.unit, plus=True)


def judged_number(
    name: str,
    style: Style,
    expected: Expected,
    paper: float | None,
    here: Measured | None,
    hindrance: str = "",
    paper_place: str = "",
    here_place: str = "",
) -> JudgedNumber:
    """A number that a measurement decides, unless a hindrance forbids to judge it."""
    judgement = judge(expected, here, hindrance)
    return JudgedNumber(name, style, expected, paper, here, judgement, paper_place, here_place)


def quoted_number(name: str, style: Style, printed: float) -> JudgedNumber:
    """A number that print decides: nothing is measured, and above zero is what is claimed."""
    expected = above(0)
    return JudgedNumber(name, style, expected, printed, None, judge(expected, Measured(printed)))
