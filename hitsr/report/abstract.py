"""The abstract, in words made from records."""

from hitsr.records import TrainingRecord
from hitsr.report.budget import Budget
from hitsr.report.evidence import Evidence
from hitsr.report.ledger import rulings
from hitsr.report.ledger_words import ledger_sentence
from hitsr.report.sections.efficiency import count_agreement, count_changes, speed_sentence
from hitsr.report.sections.quality import quality_sentence
from hitsr.report.typeset import between, number_word, sentence
from hitsr.specs.config import runs


def abstract(evidence: Evidence, budget: Budget) -> list[str]:
    """At most four sentences: what was trained and came of it, size, speed, claims."""
    claims = ledger_sentence(rulings(evidence))
    sentences = [_trained(evidence, budget), _sizes(evidence), speed_sentence(evidence), claims]
    return [text for text in sentences if text]


def _trained(evidence: Evidence, budget: Budget) -> str:
    quality = quality_sentence(evidence)
    if evidence.config.train is None:
        weights = "Released weights, nothing" if evidence.config.weights else "Nothing was"
        return f"{weights} trained here: {quality}." if quality else ""
    wanted = runs(evidence.config)
    records = evidence.results.of(TrainingRecord)
    asked, done = len(wanted), sum(record.run.name in wanted for record in records)
    if not done:
        return "No network has been trained yet."
    which = f"{number_word(done)} of {number_word(asked)} training runs are finished"
    if done == asked:
        # Networks of one's own bring their weights.
        count = len(evidence.config.networks)
        reduced = ", reduced in size," if budget.reduction else ""
        were = f"network{reduced} was" if count == 1 else f"networks{reduced} were"
        recipe = "one recipe" if budget.is_one_recipe else "the recipe of each"
        which = f"{number_word(count)} {were} trained by {recipe}"
    return sentence(f"{which}; {quality}." if quality else f"{which}.")


def _sizes(evidence: Evidence) -> str:
    changes = count_changes(evidence)
    if not changes:
        return ""
    params, flops = zip(*changes)
    equal, counts = count_agreement(evidence)
    changed = [between(percents, 1, "%", plus=True) for percents in (params, flops)]
    text = "At published size, conversion changes parameters by {} and FLOPs by {}".format(*changed)
    return f"{text}; {equal} of {counts} counts print as in the paper." if counts else f"{text}."
