"""The claim ledger: each claim of the paper, the numbers that decide it, and their verdict.

A claim names subjects, scales, sets and quantities, and how numbers are compared; here, and in
pair_claims, speed_claims and print_claims, they are found, measured and printed. What they make of
the claim is decided by `judging.judge` alone.
"""

from itertools import product

from hitsr.report.estimates import fitted
from hitsr.report.evidence import Evidence
from hitsr.report.facts import Fact
from hitsr.report.judging import (
    Expected,
    Measured,
    Style,
    judged_print,
)
from hitsr.report.names import label
from hitsr.report.pair_claims import pair_ruling
from hitsr.report.print_claims import print_ruling
from hitsr.report.ruling import PRINTED_SCORES, Ruling, datasets_of, judged_number
from hitsr.report.speed_claims import speedup_ruling, speedups_by_design, step_ruling
from hitsr.specs.claims import (
    BestClaim,
    Claim,
    NetworkClaim,
    OtherPairsClaim,
    PairClaim,
    StepClaim,
    SuccessorClaim,
    TrainingSetClaim,
)

_EXPONENT = Style(2)


def rulings(evidence: Evidence) -> list[Ruling]:
    """Of every claim, in the order of the file."""
    return [_rule(claim, evidence) for claim in evidence.claims]


def _rule(claim: Claim, evidence: Evidence) -> Ruling:
    match claim:
        case NetworkClaim(expect="printed"):
            return _printed(claim, evidence)
        case NetworkClaim():
            return _exponents(claim, evidence)
        case PairClaim(compare="ratio", expect="printed"):
            return speedup_ruling(claim, evidence)
        case PairClaim(compare="ratio"):
            return speedups_by_design(claim, evidence)
        case StepClaim():
            return step_ruling(claim, evidence)
        case PairClaim() | OtherPairsClaim() | TrainingSetClaim():
            return pair_ruling(claim, evidence)
        case BestClaim() | SuccessorClaim():
            return print_ruling(claim, evidence)


def _printed(claim: NetworkClaim, evidence: Evidence) -> Ruling:
    """Numbers of networks beside the printed ones; nothing is claimed where none is printed."""
    quantities = list(claim.quantities)
    places = [
        (quantity, network, scale, dataset)
        for quantity, network, scale in product(quantities, claim.networks, claim.scales)
        for dataset in datasets_of(claim, evidence, quantity)
    ]
    found = (judged_print(evidence, claim, *place) for place in places)
    noun = "score" if quantities[0] in PRINTED_SCORES else "count"
    return Ruling(claim, tuple(number for number in found if number), noun)


def _exponents(claim: NetworkClaim, evidence: Evidence) -> Ruling:
    """Fitted exponents near a number. "Linear" prints no digits: the band alone decides."""
    quantity, tolerance = next(iter(claim.quantities.items()))
    assert isinstance(claim.expect, float | int)
    assert tolerance is not None
    expected = Expected(claim.expect - tolerance, claim.expect + tolerance)
    numbers = []
    for network in claim.networks:
        rows = evidence.facts.find(quantity, network)
        here = _fitted(rows[0]) if rows else None
        numbers.append(
            judged_number(label(network), _EXPONENT, expected, float(claim.expect), here)
        )
    others = [r.value for r in evidence.facts.find(quantity) if r.network not in claim.networks]
    span = _EXPONENT.span(others) if others else ""
    note = f"The exponents of the baselines’ attention: {span}." if others else ""
    return Ruling(claim, tuple(numbers), note=note)


def _fitted(row: Fact) -> Measured:
    assert row.law is not None
    value, half = fitted(row.value, row.law.standard_error, len(row.items) - 2)
    assert half is not None
    return Measured(value, (value - half, value + half))
