"""The abstract, in words made from records."""

from hitsr.report.budget import Budget
from hitsr.report.ledger import rulings
from hitsr.report.ledger.words import ledger_sentence
from hitsr.report.measures import Evidence
from hitsr.report.sections.efficiency import count_agreement, count_changes, speed_sentence
from hitsr.report.sections.quality import quality_sentence
from hitsr.report.typeset import THIN_SPACE, fixed, number_word, sentence
from hitsr.specs.config import runs


def abstract(evidence: Evidence, budget: Budget) -> list[str]:
    """At most four sentences: what was trained and came of it, size, speed, claims."""
    claims = ledger_sentence(rulings(evidence, budget))
    sentences = [_trained(evidence, budget), _sizes(evidence), speed_sentence(evidence), claims]
    return [text for text in sentences if text]


def _trained(evidence: Evidence, budget: Budget) -> str:
    if evidence.config.train is None:
        quality = quality_sentence(evidence)
        return sentence(f"Released weights, nothing trained here: {quality}.") if quality else ""
    wanted = runs(evidence.config)
    asked, done = len(wanted), sum(run in wanted for run in evidence.results.training)
    if not done:
        return "No network has been trained yet."
    reduced = ", reduced in size," if budget.reduction else ""
    which = (
        f"{number_word(len(evidence.networks))} networks{reduced} were trained by one recipe"
        if done == asked
        else f"{number_word(done)} of {number_word(asked)} training runs are finished"
    )
    quality = quality_sentence(evidence)
    return sentence(f"{which}; {quality}." if quality else f"{which}.")


def _sizes(evidence: Evidence) -> str:
    changes = count_changes(evidence)
    if not changes:
        return ""
    params, flops = zip(*changes)
    equal, counts = count_agreement(evidence)
    return (
        f"At published size, conversion changes parameters by {_span(params)} and FLOPs by "
        f"{_span(flops)}; {equal} of {counts} counts print as in the paper."
    )


def _span(percents: tuple[float, ...]) -> str:
    return f"{fixed(min(percents), 1)} to {fixed(max(percents), 1)}{THIN_SPACE}%"
