"""Section: PSNR and SSIM on the test sets, beside bicubic and what the paper prints."""

import math

from hitsr.records import QualityRecord
from hitsr.report.budget import Budget
from hitsr.report.cells import Cell, Column, Row, estimate, listing, ranked
from hitsr.report.grey import grey_notes
from hitsr.report.measures import (
    Evidence,
    psnr_db,
    score,
    scored,
)
from hitsr.report.names import BICUBIC, label
from hitsr.report.quality_table import quality_table, tolerance
from hitsr.report.section import Caption, Section, TableView
from hitsr.report.significance import corrected, in_words, p_in_words, paired_difference
from hitsr.report.statistics import mean
from hitsr.report.typeset import between, counted, listed, sentence, share
from hitsr.specs.network import Scale


def quality_section(evidence: Evidence, budget: Budget) -> Section:
    table = quality_table(evidence, budget)
    finding = sentence(quality_sentence(evidence) or "PSNR and SSIM beside bicubic") + "."
    caption = Caption(finding, _conditions(evidence, budget), budget.steps)
    quality = TableView(table, caption, _notes(evidence))
    return Section(
        key="quality",
        nav="Quality",
        heading=quality_heading(evidence),
        parts={
            "quality": quality,
            "has_unjudged": "unjudged" in table.marks,
            "pairs": paired_sentences(evidence),
            "pictures": picture_tables(evidence),
        },
        tables=[quality],
    )


def bicubic_gains(evidence: Evidence, scale: Scale, dataset: str) -> list[float]:
    """Gain over bicubic of each network scored."""
    scores = (score(evidence.results, n, scale, dataset) for n in evidence.config.networks)
    return [s.over_bicubic_db.value for s in scores if s and s.over_bicubic_db]


def pair_gains(evidence: Evidence, scale: Scale, dataset: str) -> list[float]:
    """Gain of each conversion over its baseline, where both were scored."""
    gains = []
    for family in evidence.families:
        before, after = (score(evidence.results, n, scale, dataset) for n in family.networks)
        if before and after:
            gains.append(after.psnr_db.value - before.psnr_db.value)
    return gains


def behind_bicubic(evidence: Evidence) -> list[str]:
    """Networks that do not beat bicubic by a hundredth: "HiT-SIR on Set5 ×2"."""
    return [
        f"{label(network)} on {evidence.set_name(dataset)} ×{scale}"
        for dataset in evidence.config.data.test
        for scale in evidence.config.scales
        for network in evidence.networks
        if (found := score(evidence.results, network, scale, dataset))
        and found.over_bicubic_db
        and not _ahead([found.over_bicubic_db.value])
    ]


def quality_heading(evidence: Evidence) -> str:
    """Of the set with the fewest networks ahead of bicubic, once all are scored."""
    sets = [
        bicubic_gains(evidence, scale, dataset)
        for scale in evidence.config.scales
        for dataset in evidence.config.data.test
    ]
    total = len(evidence.networks)
    if any(len(gains) < total for gains in sets):
        return "Quality on the test pictures"
    ahead = min(map(_ahead, sets))
    where = evidence.set_name(evidence.config.data.test[0]) if len(sets) == 1 else "every set"
    if ahead == total:
        return sentence(f"{share(total, total)} networks beat bicubic on {where}")
    return f"Not every network beats bicubic: {share(ahead, total)} on {where}"


def quality_sentence(evidence: Evidence) -> str:
    """For the first scale and test set: against bicubic, and conversions against baselines."""
    scale, dataset = evidence.config.scales[0], evidence.config.data.test[0]
    gains = bicubic_gains(evidence, scale, dataset)
    if not gains:
        return ""
    text = (
        f"on {evidence.set_name(dataset)} ×{scale} {share(_ahead(gains), len(gains))} beat bicubic "
        f"({between(gains, 2, 'dB', plus=True)})"
    )
    pairs = pair_gains(evidence, scale, dataset)
    if not pairs:
        return text
    who = (
        f"{share(_ahead(pairs), len(pairs))} conversions are ahead of their baseline"
        if len(pairs) > 1
        else f"the conversion is {'' if _ahead(pairs) else 'not '}ahead of its baseline"
    )
    return f"{text}, and {who} ({between(pairs, 2, 'dB', plus=True)})"


def picture_tables(evidence: Evidence) -> list[TableView]:
    """One per dataset and scale that was scored: PSNR of each picture, mean over seeds."""
    return [
        _picture_table(dataset, scale, records)
        for dataset in evidence.config.data.test
        for scale in evidence.config.scales
        if (records := _records(evidence, dataset, scale))
    ]


def paired_sentences(evidence: Evidence) -> list[str]:
    """Each conversion against its baseline on the same pictures, all in one Holm family."""
    found = {
        (family, scale, dataset): paired_difference(after, before)
        for dataset in evidence.config.data.test
        for scale in evidence.config.scales
        for family in evidence.families
        if (before := scored(evidence.results, family.baseline, scale, dataset))
        and (after := scored(evidence.results, family.conversion, scale, dataset))
    }
    return [
        f"{label(family.conversion)} and {label(family.baseline)} on "
        f"{evidence.set_name(dataset)} ×{scale}: {in_words(pair)}; {p_in_words(pair)}."
        for (family, scale, dataset), pair in corrected(found).items()
    ]


def _ahead(gains: list[float]) -> int:
    """How many print as more than zero."""
    return sum(round(gain, 2) > 0 for gain in gains)


def _records(evidence: Evidence, dataset: str, scale: Scale) -> dict[str, list[QualityRecord]]:
    """The seeds of each method that was scored."""
    methods = [BICUBIC, *evidence.networks]
    found = {method: scored(evidence.results, method, scale, dataset) for method in methods}
    return {method: records for method, records in found.items() if records}


def _picture_table(
    dataset: str, scale: Scale, records: dict[str, list[QualityRecord]]
) -> TableView:
    pictures = sorted(picture.name for picture in next(iter(records.values()))[0].pictures)
    rows = [
        Row(name, tuple(ranked([_picture_cell(seeds, name) for seeds in records.values()])))
        for name in pictures
    ]
    columns = [Column(label(method), "dB") for method in records]
    caption = Caption(
        f"PSNR picture by picture: {dataset}, ×{scale}", f"{counted(len(rows), 'picture')}, dB."
    )
    return TableView(listing(f"pictures-{dataset}-x{scale}", "Picture", columns, rows), caption)


def _picture_cell(seeds: list[QualityRecord], name: str) -> Cell:
    found = [picture for record in seeds for picture in record.pictures if picture.name == name]
    return estimate(mean([psnr_db(picture) for picture in found]), 2)


def _conditions(evidence: Evidence, budget: Budget) -> str:
    seeds = f"{budget.seeds} seeds, ± half the 95 % interval over them"
    size = "networks reduced in size" if budget.reduction else "networks of published size"
    trained = "" if budget.recipe is None else "one seed" if budget.seeds == 1 else seeds
    parts = [budget.tested, trained, size]
    return (
        "Y channel, border as wide as the scale, mean over pictures: "
        f"{', '.join(filter(None, parts))}. {_judged(evidence, budget)}Best is bold, second "
        "underlined, measured and quoted apart."
    )


def _judged(evidence: Evidence, budget: Budget) -> str:
    """By which tolerance a difference to the paper is called outside."""
    sets = [d for d in evidence.config.data.test if evidence.published.has_dataset(d)]
    limits = {dataset: tolerance(evidence, budget, dataset) for dataset in sets}
    if not limits or not all(limit.judged for limit in limits.values()):
        return ""
    by_size: dict[float, list[str]] = {}
    for dataset, limit in limits.items():
        by_size.setdefault(limit.psnr_db, []).append(dataset)
    words = [f"{size:g} dB on {listed(names)}" for size, names in sorted(by_size.items())]
    ssim = {limit.ssim for limit in limits.values()}.pop()
    also = f", {ssim:g} of SSIM" if math.isfinite(ssim) else ""
    return f"Marked red: further from the paper than {listed(words)}{also}. "


def _notes(evidence: Evidence) -> list[str]:
    notes = []
    if behind := behind_bicubic(evidence):
        notes.append(f"Not ahead of bicubic within this budget: {listed(behind)}.")
    sets = [d for d in evidence.config.data.test if not evidence.published.has_dataset(d)]
    if sets:
        names = listed([f"“{name}”" for name in sets])
        notes.append(
            f"No number has been published for {names}: nothing there can be compared with the "
            "paper."
        )
    return notes + grey_notes(evidence)
