"""Section: PSNR and SSIM on the test sets, beside bicubic and what the paper prints.

Where the paper has a set, its methods stand below as quoted rows, ranked among themselves: what was
measured here and what was printed elsewhere never compete.
"""

from itertools import product

from hitsr.plan.layout import file_name
from hitsr.report.budget import Budget
from hitsr.report.cells import (
    NO_SOURCE,
    QUOTED,
    Cell,
    Column,
    Group,
    Row,
    Table,
    estimate,
    listing,
    paper,
    ranked,
)
from hitsr.report.difference_words import in_words, leads_in_words, p_in_words
from hitsr.report.estimates import PairedDifference, corrected, mean
from hitsr.report.evidence import Evidence
from hitsr.report.facts import QUANTITIES
from hitsr.report.grey import grey_notes
from hitsr.report.judging import tolerance_of
from hitsr.report.names import BICUBIC, HR, label, short_label
from hitsr.report.published import PAPER_TABLE
from hitsr.report.section import Caption, Section, TableView
from hitsr.report.tables import Lines, Shelf, Shown, fill, measured, over_bicubic, printed, to_print
from hitsr.report.typeset import between, counted, listed, sentence, share
from hitsr.specs.claims import NetworkClaim
from hitsr.specs.network import Scale


def quality_section(evidence: Evidence, budget: Budget) -> Section:
    table = quality_table(evidence)
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


def quality_table(evidence: Evidence) -> Table:
    """The paper's Table 2: a shelf per set; per scale measured rows, then quoted ones."""
    shelves, config = [], evidence.config
    for dataset in config.data.test:
        columns = _compared(dataset) if dataset in evidence.paper_sets else _alone(dataset)
        shelves.append(Shelf(columns, dataset))
    measured_rows = fill(
        evidence,
        "quality",
        "Network",
        shelves,
        (Lines(f"×{x}", [BICUBIC, *evidence.networks, HR], {"scale": x}) for x in config.scales),
    )
    groups = []
    for scale, group in zip(config.scales, measured_rows.groups):
        groups.append(group)
        if quoted := _quoted_rows(evidence, scale):
            groups.append(Group(f"×{scale}, published", quoted))
    return Table("quality", "Network", measured_rows.spans, tuple(groups))


def _compared(dataset: str) -> tuple[Shown, ...]:
    """Columns of a set that the paper has."""
    return (
        measured("psnr_db", "PSNR", "dB", spread="seeds", is_ranked=True, dataset=dataset),
        to_print("psnr_db", "to paper", "dB", dataset=dataset),
        measured("ssim", "SSIM", spread="seeds", has_room=False, is_ranked=True, dataset=dataset),
        to_print("ssim", "to paper", dataset=dataset),
    )


def _alone(dataset: str) -> tuple[Shown, ...]:
    """Columns of a set of which nothing is printed."""
    return (
        measured("psnr_db", "PSNR", "dB", spread="seeds", is_ranked=True, dataset=dataset),
        over_bicubic("psnr_db", "to bicubic", "dB", dataset=dataset),
        measured("ssim", "SSIM", spread="seeds", has_room=False, is_ranked=True, dataset=dataset),
        printed("psnr_db", "paper PSNR", "dB", dataset=dataset),
    )


def _quoted_rows(evidence: Evidence, scale: Scale) -> tuple[Row, ...]:
    """The paper's methods in its order; none where it has none of the sets."""
    sets, columns = evidence.config.data.test, []
    rows = evidence.facts.find("psnr_db", speaker="paper", scale=scale)
    methods = list(dict.fromkeys(row.network for row in rows if PAPER_TABLE in row.source))
    if not evidence.paper_sets & set(sets):
        return ()
    for dataset in sets:
        if dataset not in evidence.paper_sets:
            columns += [[NO_SOURCE] * len(methods)] * 4
            continue
        for quantity in ("psnr_db", "ssim"):
            values = [
                evidence.facts.value(quantity, m, speaker="paper", scale=scale, dataset=dataset)
                for m in methods
            ]
            cells = [paper(value, QUANTITIES[quantity].digits) for value in values]
            columns += [ranked(cells), [QUOTED] * len(methods)]
    names = map(short_label, methods)
    return tuple(Row(name, tuple(c), "ctl", "quoted") for name, c in zip(names, zip(*columns)))


def bicubic_gains(evidence: Evidence, scale: Scale, dataset: str) -> list[float]:
    """Gain over bicubic of each network scored, in dB."""
    found = (
        evidence.over_bicubic("psnr_db", network, scale=scale, dataset=dataset)
        for network in evidence.networks
    )
    return [gain.value for gain in found if gain]


def pair_differences(evidence: Evidence, scale: Scale, dataset: str) -> list[PairedDifference]:
    """Each conversion against its baseline, where both were scored and the mean is finite."""
    pairs = (
        evidence.difference(
            "psnr_db", family.conversion, family.baseline, scale=scale, dataset=dataset
        )
        for family in evidence.families
    )
    return [pair for pair in pairs if pair and pair.mean is not None]


def behind_bicubic(evidence: Evidence) -> list[str]:
    """Networks that do not beat bicubic by a hundredth: "HiT-SIR on Set5 ×2"."""
    config = evidence.config
    return [
        f"{label(network)} on {evidence.set_name(dataset)} ×{scale}"
        for dataset, scale, network in product(config.data.test, config.scales, evidence.networks)
        if (gain := evidence.over_bicubic("psnr_db", network, scale=scale, dataset=dataset))
        and not _ahead([gain.value])
    ]


def quality_heading(evidence: Evidence) -> str:
    """Of the set with the fewest networks ahead of bicubic, once all are scored."""
    config = evidence.config
    sets = [
        bicubic_gains(evidence, scale, dataset)
        for scale, dataset in product(config.scales, config.data.test)
    ]
    total = len(evidence.networks)
    if any(len(gains) < total for gains in sets):
        return "Quality on the test pictures"
    ahead = min(map(_ahead, sets))
    where = evidence.set_name(config.data.test[0]) if len(sets) == 1 else "every set"
    if total == 1:
        verb = "beats" if ahead else "does not beat"
        return f"{label(evidence.networks[0])} {verb} bicubic on {where}"
    if ahead == total:
        return sentence(f"{share(total, total, 'network')} beat bicubic on {where}")
    if not ahead and len(sets) == 1:
        return f"No network beats bicubic on {where}"
    return f"Not every network beats bicubic: {share(ahead, total)} on {where}"


def quality_sentence(evidence: Evidence) -> str:
    """For the first scale and test set: against bicubic, and conversions against baselines."""
    scale, dataset = evidence.config.scales[0], evidence.config.data.test[0]
    gains = bicubic_gains(evidence, scale, dataset)
    if not gains:
        return ""
    where, ahead = f"on {evidence.set_name(dataset)} ×{scale}", _ahead(gains)
    span = between(gains, 2, "dB", plus=True)
    if len(gains) == 1:
        verb = "is above bicubic" if ahead else "is not above bicubic"
        return f"{where} {label(_scored_network(evidence, scale, dataset))} {verb} ({span})"
    who, verb = share(ahead, len(gains)), "beats" if ahead < 2 else "beat"
    text = f"{where} {who} {verb} bicubic ({span})"
    pairs = pair_differences(evidence, scale, dataset)
    return f"{text}, and {leads_in_words(pairs)}" if pairs else text


def _scored_network(evidence: Evidence, scale: Scale, dataset: str) -> str:
    return next(
        network
        for network in evidence.networks
        if evidence.facts.find("psnr_db", network, scale=scale, dataset=dataset)
    )


def paired_sentences(evidence: Evidence) -> list[str]:
    """Each conversion against its baseline on the same pictures, all in one Holm family."""
    config = evidence.config
    found: dict[tuple[str, str, str], PairedDifference] = {}
    for dataset, scale, family in product(config.data.test, config.scales, evidence.families):
        pair = evidence.difference(
            "psnr_db", family.conversion, family.baseline, scale=scale, dataset=dataset
        )
        if pair:
            place = f"{evidence.set_name(dataset)} ×{scale}"
            found[label(family.conversion), label(family.baseline), place] = pair
    return [
        f"{conversion} and {baseline} on {place}: {in_words(pair, 'dB', 2)}; {p_in_words(pair)}."
        for (conversion, baseline, place), pair in corrected(found).items()
    ]


def picture_tables(evidence: Evidence) -> list[TableView]:
    """One per dataset and scale that was scored: PSNR of each picture, mean over seeds."""
    views = (
        _picture_table(evidence, dataset, scale)
        for dataset, scale in product(evidence.config.data.test, evidence.config.scales)
    )
    return [view for view in views if view]


def _picture_table(evidence: Evidence, dataset: str, scale: Scale) -> TableView | None:
    found = {
        method: rows
        for method in (BICUBIC, *evidence.networks)
        if (rows := evidence.facts.find("psnr_db", method, scale=scale, dataset=dataset))
    }
    if not found:
        return None
    pictures = next(iter(found.values()))[0].items
    table_rows = []
    for index, name in enumerate(pictures):
        cells: list[Cell] = [
            estimate(mean([row.samples[index] for row in rows]), 2) for rows in found.values()
        ]
        table_rows.append(Row(str(name), tuple(ranked(cells))))
    columns = [Column(label(method), "dB") for method in found]
    caption = Caption(
        f"PSNR picture by picture: {dataset}, ×{scale}", f"{counted(len(pictures), 'picture')}, dB."
    )
    name = f"pictures-{file_name(dataset)}-x{scale}"
    return TableView(listing(name, "Picture", columns, table_rows), caption)


def _ahead(gains: list[float]) -> int:
    """How many print as more than zero."""
    return sum(round(gain, 2) > 0 for gain in gains)


def _conditions(evidence: Evidence, budget: Budget) -> str:
    seeds = f"{budget.seeds} seeds, ± half the 95 % interval over them"
    size = "networks reduced in size" if budget.reduction else _full_size(evidence)
    trained = "" if budget.recipe is None else "one seed" if budget.seeds == 1 else seeds
    parts = [budget.tested, trained, size]
    return (
        "Y channel, border as wide as the scale, mean over pictures: "
        f"{', '.join(filter(None, parts))}. {_tolerances(evidence, budget)}Best is bold, second "
        "underlined, measured and quoted apart."
    )


def _full_size(evidence: Evidence) -> str:
    return "networks of published size" if evidence.config.networks else "own networks as built"


def _tolerances(evidence: Evidence, budget: Budget) -> str:
    """By which tolerances of the claims a difference to the paper is marked."""
    sets = [d for d in evidence.config.data.test if d in evidence.paper_sets]
    if not sets or not budget.is_papers or not evidence.config.networks:
        return ""
    limits: dict[str, list[str]] = {}
    for claim in evidence.claims:
        if not isinstance(claim, NetworkClaim) or claim.expect != "printed":
            continue
        for quantity, unit in (("psnr_db", " dB"), ("ssim", " of SSIM")):
            for dataset in sets if quantity in claim.quantities else ():
                limit = tolerance_of(claim, quantity, dataset, is_released=budget.recipe is None)
                if limit is not None:
                    limits.setdefault(f"{limit:g}{unit}", []).append(dataset)
    words = [
        size if names == sets else f"{size} on {listed(names)}" for size, names in limits.items()
    ]
    return f"Marked red: further from the paper than {listed(words)}. " if words else ""


def _notes(evidence: Evidence) -> list[str]:
    notes = []
    if behind := behind_bicubic(evidence):
        notes.append(f"Not ahead of bicubic within this budget: {listed(behind)}.")
    sets = [d for d in evidence.config.data.test if d not in evidence.paper_sets]
    if sets:
        names = listed([f"“{name}”" for name in sets])
        notes.append(
            f"No number has been published for {names}: nothing there can be compared with the "
            "paper."
        )
    return notes + grey_notes(evidence)
