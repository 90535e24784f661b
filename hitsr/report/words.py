"""How the page opens, in words made from records: warning, abstract, facts. Pure functions."""

from collections.abc import Iterable
from typing import NamedTuple

from hitsr.config import runs
from hitsr.records import Provenance
from hitsr.report.budget import Budget
from hitsr.report.findings import (
    count_agreement,
    count_changes,
    quality_sentence,
    speed_sentence,
)
from hitsr.report.measures import Evidence
from hitsr.report.typeset import (
    THIN_SPACE,
    counted,
    duration,
    fixed,
    listed,
    number_word,
    sentence,
    size,
)


class Notice(NamedTuple):
    """A bold first sentence and what explains it."""

    finding: str
    reasons: str


def budget_warning(budget: Budget) -> Notice | None:
    """Why PSNR here cannot confirm the paper's, before any number; None at the paper's budget."""
    if budget.is_papers:
        return None
    recipe = budget.recipe
    reasons = (
        f"Each network was trained for {budget.steps_words} (batch {recipe.batch} of "
        f"{size(recipe.patch, recipe.patch)} pixels), on {budget.pictures_words}"
    )
    reduced = f", and reduced in size: {budget.reduction_words}" if budget.changes else ""
    tested = f" PSNR and SSIM are of {budget.test_words}." if budget.test_pictures else ""
    return Notice(
        "This run cannot confirm the paper’s PSNR and SSIM.",
        f"{reasons}{reduced}.{tested} Parameters, FLOPs and latency are always of the networks "
        "at published size.",
    )


def abstract(evidence: Evidence, budget: Budget) -> list[str]:
    """At most three sentences: what was trained and came of it, size, speed."""
    sentences = [_trained(evidence, budget), _sizes(evidence), speed_sentence(evidence)]
    return [text for text in sentences if text]


def facts(evidence: Evidence, budget: Budget) -> list[tuple[str, str]]:
    """What was run, on what, for how long: term and value."""
    config, results = evidence.config, evidence.results
    scales = ", ".join(f"×{scale}" for scale in config.train.scales)
    provenances = [record.provenance for record in results.records]
    return [
        ("configuration", f"{config.name}, training {scales}"),
        ("networks and seeds", f"{len(config.networks)} × {budget.seeds}"),
        ("trained on", _training_data(budget)),
        ("machine", machine_words(provenances)),
        ("work, summed", work_words(provenances)),
        ("code", commit_words(provenances)),
    ]


def machine_words(provenances: Iterable[Provenance]) -> str:
    """Devices by name, with the threads their jobs used."""
    threads: dict[str, set[int]] = {}
    for provenance in provenances:
        threads.setdefault(provenance.device_name, set()).add(provenance.threads)
    machines = (
        f"{name}, {' or '.join(map(str, sorted(used)))} thread{'s' * (used != {1})}"
        for name, used in sorted(threads.items())
    )
    return "; ".join(machines) or "not run"


def work_words(provenances: Iterable[Provenance]) -> str:
    seconds = [provenance.seconds for provenance in provenances]
    return duration(sum(seconds)) if seconds else "not run"


def commit_words(provenances: Iterable[Provenance]) -> str:
    """Short commits of the code that measured, and whether it differed from them."""
    codes = dict.fromkeys((p.commit, p.dirty) for p in provenances)
    return "; ".join(_code(commit, dirty) for commit, dirty in codes) or "not run"


def _code(commit: str | None, dirty: bool | None) -> str:
    if commit is None:
        return "outside a git checkout"
    return f"{commit[:10]}, {'with uncommitted changes' if dirty else 'clean'}"


def _training_data(budget: Budget) -> str:
    if budget.training_pictures is None:
        return budget.training_set
    return f"{budget.training_set}, {counted(budget.training_pictures, 'picture')}"


def _trained(evidence: Evidence, budget: Budget) -> str:
    asked, done = len(runs(evidence.config)), len(evidence.results.training)
    if not done:
        return "No network has been trained yet."
    networks = number_word(len(evidence.config.networks))
    reduced = ", reduced in size," if budget.changes else ""
    which = (
        f"{networks} networks{reduced} were trained by one recipe"
        if done == asked
        else f"{number_word(done)} of {number_word(asked)} training runs are finished"
    )
    quality = quality_sentence(evidence)
    return sentence(f"{which}; {quality}." if quality else f"{which}.")


def _sizes(evidence: Evidence) -> str:
    changes = count_changes(evidence)
    if not changes:
        return ""
    params = [change.params_percent for change in changes]
    flops = [change.flops_percent for change in changes]
    equal, counts = count_agreement(evidence)
    spans = listed([_span(params, "parameters"), _span(flops, "FLOPs")])
    return (
        f"At published size, conversion changes {spans}; {equal} of {counts} counts print as in "
        "the paper."
    )


def _span(percents: list[float], what: str) -> str:
    low, high = (fixed(value, 1) for value in (min(percents), max(percents)))
    return f"{what} by {low} to {high}{THIN_SPACE}%"
