"""Claims about scores of trained networks.

They are judged on the paper's budget and test sets with three seeds or more. Any other number is
shown and not judged.
"""

import math
from collections.abc import Sequence
from itertools import product

from hitsr.records import QualityRecord
from hitsr.report.budget import Budget
from hitsr.report.ledger.costs import pairs
from hitsr.report.ledger.ruling import Ruling, Style, measured_part
from hitsr.report.measures import Evidence, scored
from hitsr.report.names import Family, label, method_of, short_label
from hitsr.report.published import PAPER_BATCH, PAPER_STEPS, Quote
from hitsr.report.significance import paired_difference
from hitsr.report.typeset import counted, listed
from hitsr.report.verdicts import Expected, Measured, above, gain_of
from hitsr.specs.claims import CONVERSIONS, Elsewhere, Gain, Metric, Tolerance, TrainingSet
from hitsr.specs.config import RunSpec, runs
from hitsr.specs.network import Scale

SEEDS = 3  # the fewest whose interval is worth judging by
STYLES: dict[Metric, Style] = {"psnr": Style(2, "dB", plus=True), "ssim": Style(4, plus=True)}
METRICS: dict[Metric, str] = {"psnr": "PSNR", "ssim": "SSIM"}


def hindrance(budget: Budget) -> str:
    """Why no score may be judged; empty if it may: released weights are those of the paper."""
    if budget.recipe is None:
        return ""
    reasons = []
    if budget.recipe.steps != PAPER_STEPS:
        reasons.append(budget.steps)
    if budget.recipe.batch != PAPER_BATCH:
        reasons.append(f"batch {budget.recipe.batch} instead of {PAPER_BATCH}")
    if budget.reduction:
        reasons.append("networks reduced in size")
    if not reasons and not budget.is_papers:
        reasons.append(f"trained on “{budget.training_set}”")
    if budget.seeds < SEEDS:
        reasons.append(f"{counted(budget.seeds, 'seed')} instead of {SEEDS}")
    return f"not judged: {listed(reasons)}" if reasons else ""


def gain(claim: Gain, evidence: Evidence, budget: Budget) -> Ruling:
    """The paper's test sets, then those of this run that are its own, as far as scored."""
    own = [d for d in evidence.config.data.test if not evidence.published.has_dataset(d)]
    places = list(product(claim.tolerances.items(), pairs(claim)))
    named = len(claim.conversions) * len(claim.scales) > 1
    parts = []
    for ((metric, tolerance), (family, scale)), dataset in product(places, claim.datasets):
        quoted = _printed_gain(evidence, family, scale, dataset, metric)
        here = _gain(evidence, family, scale, dataset, metric)
        reason = hindrance(budget) if here else absence(evidence, scale, dataset)
        name = _name(METRICS[metric], dataset, family if named else None, scale)
        expected = _expected(quoted, tolerance, STYLES[metric])
        parts.append(measured_part(name, STYLES[metric], expected, quoted, here, reason))
    for ((metric, _), (family, scale)), dataset in product(places, own):
        if here := _gain(evidence, family, scale, dataset, metric):
            reason = hindrance(budget) or "not judged: no test set of the paper"
            name = _name(METRICS[metric], f"“{dataset}”", family if named else None, scale)
            parts.append(measured_part(name, STYLES[metric], above(0), None, here, reason))
    is_direction = set(claim.tolerances.values()) == {None}
    return Ruling(claim, tuple(parts), "cell" if is_direction else "")


def elsewhere(claim: Elsewhere, evidence: Evidence, budget: Budget) -> Ruling:
    """Scored pairs that are not the paper's, a conversion being called `hit_` and its baseline."""
    names = sorted({method_of(run) for run, _ in evidence.results.quality})
    pairs_here = [Family(n, n, f"hit_{n}") for n in names if f"hit_{n}" in names]
    others = [family for family in pairs_here if family.conversion not in CONVERSIONS]
    config, parts = evidence.config, []
    for family, scale, dataset in product(others, config.scales, config.data.test):
        here = _gain(evidence, family, scale, dataset, "psnr")
        name = _name("PSNR", evidence.set_name(dataset), family, scale)
        parts.append(measured_part(name, STYLES["psnr"], above(0), None, here, hindrance(budget)))
    if not parts:
        reason = "this run has no pair from outside the paper"
        parts = [measured_part("another pair", STYLES["psnr"], above(0), None, None, reason)]
    return Ruling(claim, tuple(parts), "cell")


def training_set(claim: TrainingSet, evidence: Evidence, budget: Budget) -> Ruling:
    """Runs of the network on either set, whatever they are called, against each other."""
    network, metric, parts = claim.network, claim.metric, []
    for scale, dataset in product(claim.scales, claim.datasets):
        larger, smaller = (
            _trained_on(evidence, network, data, scale, dataset)
            for data in (claim.larger, claim.smaller)
        )
        on_larger = f"{short_label(network)}-{claim.larger}"  # as the quoted rows call it
        first, second = (
            evidence.published.quality(method, scale, dataset) for method in (on_larger, network)
        )
        here = _difference(larger, smaller, metric)
        reason = hindrance(budget) if here else f"nothing here was trained on {claim.larger}"
        if larger and not smaller:
            reason = f"nothing here was trained on {claim.smaller}"
        quoted = _printed_difference(first, second, metric)
        name = f"{dataset} ×{scale}"
        parts.append(measured_part(name, STYLES[metric], above(0), quoted, here, reason))
    return Ruling(claim, tuple(parts), "cell")


def absence(evidence: Evidence, scale: Scale, dataset: str) -> str:
    """Why there is no score: not asked for, or not there yet."""
    if scale not in evidence.config.scales:
        return "not part of this run at this scale"
    if dataset not in evidence.config.data.test:
        return "not among this run’s test sets"
    return "not run"


def printed_score(quote: Quote | None, metric: Metric) -> float | None:
    if quote is None:
        return None
    return quote.psnr_db if metric == "psnr" else quote.ssim


def _name(metric: str, dataset: str, family: Family | None, scale: Scale) -> str:
    """ "PSNR, Set5", with the pair where a claim is about several."""
    place = f"{label(family.conversion)}, {dataset} ×{scale}" if family else dataset
    return f"{metric}, {place}"


def _expected(quoted: float | None, tolerance: Tolerance, style: Style) -> Expected:
    if quoted is None or tolerance is None:
        return above(0)
    return gain_of(quoted, tolerance, style.digits)


def _gain(
    evidence: Evidence, family: Family, scale: Scale, dataset: str, metric: Metric
) -> Measured | None:
    before, after = (scored(evidence.results, n, scale, dataset) for n in family.networks)
    return _difference(after, before, metric)


def _difference(
    first: Sequence[QualityRecord], second: Sequence[QualityRecord], metric: Metric
) -> Measured | None:
    """Mean over pictures and seeds; infinite where just one of the two equals an HR picture."""
    if not first or not second:
        return None
    found = paired_difference(first, second, metric)
    return Measured(math.inf if found.mean is None else found.mean, found.interval)


def _printed_gain(
    evidence: Evidence, family: Family, scale: Scale, dataset: str, metric: Metric
) -> float | None:
    before, after = (evidence.published.quality(n, scale, dataset) for n in family.networks)
    return _printed_difference(after, before, metric)


def _printed_difference(first: Quote | None, second: Quote | None, metric: Metric) -> float | None:
    one, other = printed_score(first, metric), printed_score(second, metric)
    return None if one is None or other is None else one - other


def _trained_on(
    evidence: Evidence, network: str, data: str, scale: Scale, dataset: str
) -> list[QualityRecord]:
    """Scores of the config's runs of a network, or of their like, that were trained on `data`."""
    wanted = {
        _but_for_data(run)
        for run in runs(evidence.config).values()
        if (run.network.name, run.scale) == (network, scale)
    }
    found = (
        evidence.results.quality.get((name, dataset))
        for name, training in evidence.results.training.items()
        if training.record.run.data == data and _but_for_data(training.record.run) in wanted
    )
    return [record for record in found if record]


def _but_for_data(run: RunSpec) -> str:
    """What is the same in two runs that differ in their training set, and hence in name."""
    network = run.network.model_copy(update={"name": ""})
    return run.model_copy(update={"network": network, "data": "", "start_from": None}).hash
