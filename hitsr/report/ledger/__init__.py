"""The claim ledger: each claim of the paper, the numbers that decide it, and their verdict.

    claims.yaml → costs, quality, learning, quotes → ruling → words, gauge → sections/claims

What decides a claim is `hitsr.report.verdicts.judge` alone; here its numbers are found and shown.
"""

from typing import assert_never

from hitsr.report.budget import Budget
from hitsr.report.ledger import costs, learning, quality, quotes
from hitsr.report.ledger.ruling import Ruling
from hitsr.report.measures import Evidence
from hitsr.specs.claims import (
    AnyClaim,
    Attribution,
    Best,
    Change,
    Convergence,
    Elsewhere,
    Gain,
    Growth,
    Implementation,
    Printed,
    PrintedGain,
    Speedup,
    Successors,
    TrainingSet,
)


def rulings(evidence: Evidence, budget: Budget) -> list[Ruling]:
    """Of every claim, in the order of the file."""
    return [rule(claim, evidence, budget) for claim in evidence.claims]


def rule(claim: AnyClaim, evidence: Evidence, budget: Budget) -> Ruling:
    match claim:
        case Printed():
            return costs.printed(claim, evidence)
        case Change():
            return costs.change(claim, evidence)
        case Speedup():
            return costs.speed(claim, evidence)
        case Implementation():
            return costs.implementation(claim, evidence)
        case Growth():
            return costs.growth(claim, evidence)
        case Gain():
            return quality.gain(claim, evidence, budget)
        case Elsewhere():
            return quality.elsewhere(claim, evidence, budget)
        case TrainingSet():
            return quality.training_set(claim, evidence, budget)
        case Convergence():
            return learning.convergence(claim, evidence, budget)
        case Attribution():
            return learning.attribution(claim, evidence, budget)
        case PrintedGain():
            return quotes.printed_gain(claim, evidence)
        case Best():
            return quotes.best(claim, evidence)
        case Successors():
            return quotes.successors(claim, evidence)
        case _:
            assert_never(claim)
