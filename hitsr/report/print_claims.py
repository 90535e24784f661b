"""Claims about who leads in print: nothing is measured, the quoted rows decide."""

from collections.abc import Sequence
from itertools import product
from typing import Any

from hitsr.report.evidence import Evidence
from hitsr.report.names import label
from hitsr.report.published import PAPER_TABLE
from hitsr.report.ruling import (
    ClaimPlace,
    Ruling,
    difference_style,
    quoted_number,
)
from hitsr.report.typeset import listed
from hitsr.specs.claims import (
    BestClaim,
    SuccessorClaim,
)


def print_ruling(claim: BestClaim | SuccessorClaim, evidence: Evidence) -> Ruling:
    """By how much the best printed score of our networks is above the best of all others."""
    numbers, leaders = [], dict[str, None]()
    for quantity, scale in product(claim.quantities, claim.scales):
        for dataset in claim.datasets:
            place = ClaimPlace(quantity, scale, dataset)
            ours, others = _rivals(claim, evidence, place)
            if ours and others:
                leader = max(others, key=others.__getitem__)
                leaders[leader] = None
                lead = max(ours.values()) - others[leader]
                name = f"{dataset} ×{scale}"
                numbers.append(quoted_number(name, difference_style(quantity), lead))
    return Ruling(claim, tuple(numbers), "cell", _rivals_note(claim, list(leaders)))


def _rivals(
    claim: BestClaim | SuccessorClaim, evidence: Evidence, place: ClaimPlace
) -> tuple[dict[str, float], dict[str, float]]:
    """Printed scores of our networks and of those that they are held against."""
    where: dict[str, Any] = {"scale": place.scale, "dataset": place.dataset}
    rows = evidence.facts.find(place.quantity, speaker="paper", **where)
    if isinstance(claim, BestClaim):
        misprinted = {(m.method, m.scale, m.dataset) for m in claim.misprints}
        table = {
            row.network: row.value
            for row in rows
            if PAPER_TABLE in row.source and (row.network, *place[1:]) not in misprinted
        }
        ours = {name: score for name, score in table.items() if name in claim.conversions}
        return ours, {name: score for name, score in table.items() if name not in ours}
    comparable = {
        row.method
        for row in evidence.published.successors
        if row.is_trained_on(claim.training_set)
        and row.scale == place.scale
        and row.params_k <= claim.max_params_k
        and row.method != label(claim.network)
    }
    since = evidence.facts.find(place.quantity, speaker="successors", **where)
    ours = {row.network: row.value for row in rows if row.network == claim.network}
    return ours, {row.network: row.value for row in since if row.network in comparable}


def _rivals_note(claim: BestClaim | SuccessorClaim, leaders: Sequence[str]) -> str:
    if isinstance(claim, SuccessorClaim):
        return f"Best of the others: {listed(leaders)}." if leaders else ""
    left_out = [f"{m.method} on {m.dataset} ×{m.scale}, {m.reason}" for m in claim.misprints]
    return f"Left out: {listed(left_out)}." if left_out else ""
