"""Claims about printed numbers alone: nothing is measured, the quoted rows decide."""

from itertools import product

from hitsr.report.ledger.costs import pairs
from hitsr.report.ledger.quality import STYLES, printed_score
from hitsr.report.ledger.ruling import Ruling, quoted_part
from hitsr.report.measures import Evidence
from hitsr.report.names import label, short_label
from hitsr.report.typeset import listed
from hitsr.report.verdicts import above
from hitsr.specs.claims import Best, PrintedGain, Successors

_TABLE = "Table 2"  # in the source of a row that stands in the paper's table


def printed_gain(claim: PrintedGain, evidence: Evidence) -> Ruling:
    style, parts = STYLES[claim.metric], []
    for (family, scale), dataset in product(pairs(claim), claim.datasets):
        quotes = [evidence.published.quality(n, scale, dataset) for n in family.networks]
        before, after = (printed_score(quote, claim.metric) for quote in quotes)
        if before is not None and after is not None:
            name = f"{label(family.conversion)}, {dataset} ×{scale}"
            parts.append(quoted_part(name, style, above(0), after - before))
    return Ruling(claim, tuple(parts), "cell")


def best(claim: Best, evidence: Evidence) -> Ruling:
    """By how much the best conversion is above the best of the other methods."""
    style, parts, names = STYLES[claim.metric], [], {short_label(n) for n in claim.conversions}
    misprinted = {(each.method, each.scale, each.dataset) for each in claim.misprints}
    for scale, dataset in product(claim.scales, claim.datasets):
        scores = {
            quote.method: score
            for quote in evidence.published.quotes
            if (quote.scale, quote.dataset) == (scale, dataset)
            and _TABLE in quote.source
            and (quote.method, scale, dataset) not in misprinted
            and (score := printed_score(quote, claim.metric)) is not None
        }
        ours = max(score for method, score in scores.items() if method in names)
        others = max(score for method, score in scores.items() if method not in names)
        parts.append(quoted_part(f"{dataset} ×{scale}", style, above(0), ours - others))
    left_out = [
        f"{each.method} on {each.dataset} ×{each.scale}, {each.reason}" for each in claim.misprints
    ]
    note = f"Left out: {listed(left_out)}." if left_out else ""
    return Ruling(claim, tuple(parts), "cell", note)


def successors(claim: Successors, evidence: Evidence) -> Ruling:
    """By how much the network is above the best of the comparable ones."""
    style, parts, leaders = STYLES[claim.metric], [], []
    for scale, dataset in product(claim.scales, claim.datasets):
        own = printed_score(evidence.published.quality(claim.network, scale, dataset), claim.metric)
        others = {
            each.method: score
            for each in evidence.published.successors
            if each.scale == scale
            and each.is_trained_on(claim.training_set)
            and each.params_k <= claim.max_params_k
            and each.method != short_label(claim.network)
            and (score := each.score(dataset, claim.metric)) is not None
        }
        if own is None or not others:
            continue
        leader = max(others, key=others.__getitem__)
        leaders.append(leader)
        parts.append(quoted_part(f"{dataset} ×{scale}", style, above(0), own - others[leader]))
    note = f"Best of the others: {listed(list(dict.fromkeys(leaders)))}." if leaders else ""
    return Ruling(claim, tuple(parts), "cell", note)
