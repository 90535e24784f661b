"""Section: what one design choice is worth, each variant against its base on the same pictures."""

from typing import NamedTuple

from hitsr.records import QualityRecord
from hitsr.report.budget import Budget
from hitsr.report.cells import (
    NOT_RUN,
    Cell,
    Column,
    Group,
    Row,
    Span,
    Table,
    here,
)
from hitsr.report.measures import Evidence, mean_psnr_db, mean_ssim
from hitsr.report.names import family_key, label
from hitsr.report.section import Caption, Section, TableView
from hitsr.report.significance import LEVEL, PairedDifference, paired_difference
from hitsr.report.statistics import mean, median
from hitsr.report.svg import Panel
from hitsr.report.typeset import counted, listed, number_word, sentence, share, signed
from hitsr.report.whiskers import Whisker, whisker_panel
from hitsr.specs.ablation import AblationRow, Remark, Resolved

_REFERENCE = Cell(text="base", kind="absent")


class AblationView(NamedTuple):
    """One ablation as its template shows it."""

    name: str
    question: str
    expect: str
    published: tuple[Remark, ...]
    table: TableView
    panels: list[Panel]
    command: str


def ablations_section(evidence: Evidence, budget: Budget) -> Section:
    views = [
        _view(evidence, budget, name, resolved) for name, resolved in evidence.ablations.items()
    ]
    return Section(
        key="ablations",
        nav="Ablations",
        heading="One design choice changed, all else equal",
        parts={"views": views},
        tables=[view.table for view in views],
        panels=[panel for view in views for panel in view.panels],
    )


def difference_to_base(
    evidence: Evidence, row: AblationRow, reference: AblationRow, dataset: str
) -> PairedDifference | None:
    """Over seeds and pictures; None before both are scored."""
    after, before = _scores(evidence, row, dataset), _scores(evidence, reference, dataset)
    return paired_difference(after, before) if after and before else None


def ablation_finding(evidence: Evidence, resolved: Resolved) -> str:
    """How many variants the first test set tells apart from their base, and in which direction."""
    dataset = evidence.config.data.test[0]
    found = [
        difference_to_base(evidence, row, reference, dataset)
        for row, reference in _pairs(resolved)
        if row is not reference
    ]
    known = [each for each in found if each is not None]
    if not known:
        return sentence(resolved.ablation.question)
    pictures, where = known[0].pictures, evidence.set_name(dataset)
    if 2.0 ** (1 - pictures) >= LEVEL:  # the smallest p that a signed-rank test can give
        few = f"{number_word(pictures)} picture{'s are' if pictures > 1 else ' is'}"
        return sentence(f"{few} too few to tell variants from their base on {where}.")
    better = sum(each.interval is not None and each.interval[0] > 0 for each in known)
    worse = sum(each.interval is not None and each.interval[1] < 0 for each in known)
    if not better and not worse:
        return f"No variant is told apart from its base on {where}."
    noun = "variant" if len(known) == 1 else "variants"
    parts = [
        f"{share(count, len(known))} {noun} score{'s' * (count == 1)} {side} the base"
        for count, side in ((worse, "below"), (better, "above"))
        if count
    ]
    return sentence(f"{listed(parts)} on {where}, by 95 % intervals.")


def ablation_table(evidence: Evidence, name: str, resolved: Resolved) -> Table:
    quality = (
        Column("PSNR", "dB"),
        Column("to base", "dB"),
        Column("95 % interval", is_text=True),
        Column("SSIM"),
    )
    cost = (Column("parameters", "K"), Column("FLOPs", "G"))
    times = tuple(Column(f"latency, {device}", "ms") for device in _devices(evidence))
    spans = (
        *(Span(quality, dataset) for dataset in evidence.config.data.test),
        Span((*cost, *times, Column("kernel", is_text=True)), "Cost, published size"),
    )
    groups = tuple(
        Group(
            label(base) if len(resolved.ablation.base) > 1 else "",
            tuple(
                _table_row(evidence, row, reference)
                for row, reference in _pairs(resolved)
                if row.base == base
            ),
        )
        for base in resolved.ablation.base
    )
    return Table(f"ablation-{name}", "Variant", spans, groups)


def _view(evidence: Evidence, budget: Budget, name: str, resolved: Resolved) -> AblationView:
    ablation = resolved.ablation
    caption = Caption(
        ablation_finding(evidence, resolved), _conditions(evidence, budget, resolved), budget.steps
    )
    notes = [sentence(ablation.note)] if ablation.note else []
    return AblationView(
        name=name,
        question=ablation.question,
        expect=ablation.expect,
        published=ablation.published,
        table=TableView(ablation_table(evidence, name, resolved), caption, notes),
        panels=_panels(evidence, name, resolved),
        command=f"snakemake ablation_{name} --configfile configs/{evidence.config.name}.yaml",
    )


def _conditions(evidence: Evidence, budget: Budget, resolved: Resolved) -> str:
    scale = resolved.rows[0].network.scale
    timed = min(evidence.config.efficiency.latency.scales)
    seeds = counted(budget.seeds, "seed")
    reduced = ", networks reduced in size" if budget.reduction else ""
    return (
        f"×{scale}, {seeds}{reduced}; trained by the recipe of the configuration, but for what a "
        f"variant changes. Intervals are of the mean difference on the same pictures, over "
        f"{'seeds and ' if budget.seeds > 1 else ''}pictures. FLOPs ×{scale}, latency ×{timed}."
    )


def _pairs(resolved: Resolved) -> list[tuple[AblationRow, AblationRow]]:
    """Each row beside the one that is its base itself."""
    reference = resolved.ablation.reference
    by_base = {row.base: row for row in resolved.rows if row.variant == reference}
    return [(row, by_base[row.base]) for row in resolved.rows]


def _table_row(evidence: Evidence, row: AblationRow, reference: AblationRow) -> Row:
    cells: list[Cell] = []
    for dataset in evidence.config.data.test:
        records = _scores(evidence, row, dataset)
        found = difference_to_base(evidence, row, reference, dataset)
        cells += [
            here(mean([mean_psnr_db(each) for each in records]).value, 2) if records else NOT_RUN,
            *(_compared(found) if row is not reference else (_REFERENCE, _REFERENCE)),
            here(mean([mean_ssim(each) for each in records]).value, 4) if records else NOT_RUN,
        ]
    network = row.network.network
    counted_cost = evidence.results.complexity.get((network.name, row.network.scale))
    cells += [
        here(counted_cost.params / 1e3 if counted_cost else None),
        here(counted_cost.flops / 1e9 if counted_cost else None, 1),
        *_times(evidence, row),
    ]
    return Row(_words(row.variant), tuple(cells), family_key(row.base))


def _compared(found: PairedDifference | None) -> tuple[Cell, Cell]:
    if found is None or found.mean is None:
        return NOT_RUN, NOT_RUN
    value = Cell(text=signed(found.mean, 2), value=found.mean)
    if found.interval is None:
        return value, Cell(text="one picture", kind="absent")
    low, high = found.interval
    return value, Cell(text=f"{signed(low, 2)} to {signed(high, 2)}")


def _times(evidence: Evidence, row: AblationRow) -> list[Cell]:
    """On each device, then the kernel that ran there."""
    scale = min(evidence.config.efficiency.latency.scales)
    network, found = row.network.network.name, evidence.results.latency
    records = [found.get((network, scale, device, "fused")) for device in _devices(evidence)]
    kernels = {record.kernel for record in records if record and record.kernel}
    return [
        *(here(median(record.samples_ms).value if record else None) for record in records),
        Cell(text=listed(sorted(kernels)), kind="text") if kernels else NOT_RUN,
    ]


def _devices(evidence: Evidence) -> list[str]:
    """Those on which what runs by default was timed."""
    return [device for device, form in evidence.latency_setups if form == "fused"]


def _scores(evidence: Evidence, row: AblationRow, dataset: str) -> list[QualityRecord]:
    found = (evidence.results.quality.get((run.name, dataset)) for run in row.runs)
    return [record for record in found if record]


def _panels(evidence: Evidence, name: str, resolved: Resolved) -> list[Panel]:
    """Differences with their intervals, a panel per test set; none before anything is scored."""
    panels = []
    for dataset in evidence.config.data.test:
        whiskers = [
            Whisker(
                _label(resolved, row),
                found.mean,
                found.interval,
                family_key(row.base),
                row.network.network.windows.sizes,
                is_reference=row is reference,
            )
            for row, reference in _pairs(resolved)
            if (found := difference_to_base(evidence, row, reference, dataset))
            and found.mean is not None
        ]
        if whiskers:
            title = f"PSNR to base, {evidence.set_name(dataset)}"
            panels.append(whisker_panel(f"ablation-{name}-{dataset}", title, whiskers))
    return panels


def _label(resolved: Resolved, row: AblationRow) -> str:
    words = _words(row.variant)
    return f"{label(row.base)}: {words}" if len(resolved.ablation.base) > 1 else words


def _words(variant: str) -> str:
    return variant.replace("_", " ")
