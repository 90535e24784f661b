"""Section: what one design choice is worth, each variant against its base on the same pictures."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from hitsr.plan.layout import file_name
from hitsr.records import LatencyRecord
from hitsr.report.budget import Budget
from hitsr.report.cells import NOT_RUN, Cell, Column, Group, Row, Span, Table
from hitsr.report.estimates import PairedDifference, resolved
from hitsr.report.evidence import Evidence, Resolved
from hitsr.report.names import USUAL, device_name, family_key, label
from hitsr.report.section import Caption, Section, TableView
from hitsr.report.svg import Panel
from hitsr.report.tables import Shown, Where, measured
from hitsr.report.typeset import counted, listed, sentence, share, signed
from hitsr.report.whiskers import Whisker, whisker_panel
from hitsr.specs.ablation import Ablation, AblationRow

_REFERENCE = Cell(text="base", kind="absent")


class AblationView(NamedTuple):
    """One ablation as its template shows it."""

    name: str
    ablation: Ablation
    table: TableView
    panels: list[Panel]
    command: str


def ablations_section(evidence: Evidence, budget: Budget) -> Section:
    views = [_view(evidence, budget, name, study) for name, study in evidence.ablations.items()]
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
    names = (_trained(row), _trained(reference))
    scale = row.network.scale
    return evidence.difference("psnr_db", *names, scale=scale, dataset=dataset)


def ablation_finding(evidence: Evidence, study: Resolved) -> str:
    """How many variants the first test set tells apart from their base, and in which direction."""
    dataset = evidence.config.data.test[0]
    known = [
        found
        for row, reference in _pairs(study)
        if row is not reference
        and (found := difference_to_base(evidence, row, reference, dataset)) is not None
    ]
    if not known:
        return sentence(study.ablation.question)
    where = evidence.set_name(dataset)
    if known[0].is_seed_unknown:
        return (
            f"One seed on {where}: what another would give is not known, so no variant is told "
            "apart from its base."
        )
    sides = [resolved(each) for each in known]
    parts = [
        f"{share(count, len(known), 'variant')} score{'s' * (count == 1)} {side} the base"
        for side in ("below", "above")
        if (count := sides.count(side))
    ]
    if not parts:
        return f"No variant is told apart from its base on {where}."
    return sentence(f"{listed(parts)} on {where}, by 95 % intervals.")


def ablation_table(evidence: Evidence, name: str, study: Resolved) -> Table:
    """Scores of the networks as they were trained, costs of those of published size."""
    sets, costs = evidence.config.data.test, _cost_columns(evidence)
    rows: dict[str, list[Row]] = {base: [] for base in study.ablation.base}
    for row, reference in _pairs(study):
        scale, full = row.network.scale, row.network.network.name
        scores = [
            column.fill(evidence, _trained(row), {"scale": scale, "dataset": dataset})
            for dataset in sets
            for column in _score_columns(_trained(reference))
        ]
        cells = (*scores, *(column.fill(evidence, full, {"scale": scale}) for column in costs))
        rows[row.base].append(Row(_words(row.variant), cells, family_key(row.base)))
    is_named = len(rows) > 1
    groups = (Group(label(base) * is_named, tuple(each)) for base, each in rows.items())
    spans = [Span(_heads(_score_columns("")), dataset) for dataset in sets]
    spans.append(Span(_heads(costs), "Cost, published size"))
    return Table(f"ablation-{name}", "Variant", tuple(spans), tuple(groups))


def _view(evidence: Evidence, budget: Budget, name: str, study: Resolved) -> AblationView:
    conditions = _conditions(evidence, budget, study)
    caption = Caption(ablation_finding(evidence, study), conditions, budget.steps)
    notes = [sentence(study.ablation.note)] if study.ablation.note else []
    return AblationView(
        name=name,
        ablation=study.ablation,
        table=TableView(ablation_table(evidence, name, study), caption, notes),
        panels=_panels(evidence, name, study),
        command=f"snakemake ablation_{name} --configfile configs/{evidence.config.name}.yaml",
    )


def _conditions(evidence: Evidence, budget: Budget, study: Resolved) -> str:
    scale = study.rows[0].network.scale
    timed = min(evidence.config.efficiency.latency.scales)
    seeds = counted(budget.seeds, "seed")
    reduced = ", networks reduced in size" if budget.reduction else ""
    over = "seeds and pictures" if budget.seeds > 1 else "pictures alone: of one seed"
    recipe = "the recipe of the configuration"
    if study.ablation.recipe:
        recipe = f"the recipe {study.ablation.recipe}, in the configuration’s steps and batches"
    return (
        f"×{scale}, {seeds}{reduced}; trained by {recipe}, but for what a "
        f"variant changes. Intervals are of the mean difference on the same pictures, over {over}. "
        f"FLOPs ×{scale}, latency ×{timed}."
    )


def _pairs(study: Resolved) -> list[tuple[AblationRow, AblationRow]]:
    """Each row beside the one that is its base itself."""
    reference = study.ablation.reference
    by_base = {row.base: row for row in study.rows if row.variant == reference}
    return [(row, by_base[row.base]) for row in study.rows]


def _score_columns(base: str) -> list[Shown]:
    """Scores on a set, and what they are to those of a base."""
    return [
        measured("psnr_db", "PSNR", "dB"),
        _to_base(base, Column("to base", "dB"), _mean),
        _to_base(base, Column("95 % interval", is_text=True), _interval),
        measured("ssim", "SSIM"),
    ]


def _to_base(base: str, column: Column, show: Callable[[float, PairedDifference], Cell]) -> Shown:
    def cell(evidence: Evidence, network: str, where: Where) -> Cell:
        if network == base:
            return _REFERENCE
        found = evidence.difference("psnr_db", network, base, **where)
        return NOT_RUN if found is None or found.mean is None else show(found.mean, found)

    return Shown(column, cell)


def _mean(mean: float, _: PairedDifference) -> Cell:
    return Cell(text=signed(mean, 2), value=mean)


def _interval(_: float, found: PairedDifference) -> Cell:
    ends = found.interval or found.over_pictures
    if ends is None:
        return Cell(text="nothing varies", kind="absent")
    return Cell(text=f"{signed(ends[0], 2)} to {signed(ends[1], 2)}")


def _cost_columns(evidence: Evidence) -> list[Shown]:
    """Counts, times of the default formulation on each device, and the kernel that ran there."""
    scale = min(evidence.config.efficiency.latency.scales)
    setups = [setup for setup in evidence.latency_setups if setup.formulation == "fused"]
    heads = [f"latency, {device_name(setup.device)}" for setup in setups]
    times = (
        measured("latency_ms", head, "ms", scale=scale, setup=setup, load=USUAL)
        for head, setup in zip(heads, setups)
    )

    def kernel(evidence: Evidence, network: str, _: Where) -> Cell:
        kernels = {
            record.kernel
            for record in evidence.results.of(LatencyRecord)
            if (record.network, record.scale, record.formulation) == (network, scale, "fused")
            and record.kernel
        }
        return Cell(text=listed(sorted(kernels)), kind="text") if kernels else NOT_RUN

    return [
        measured("params", "parameters", "K"),
        measured("flops", "FLOPs", "G"),
        *times,
        Shown(Column("kernel", is_text=True), kernel),
    ]


def _heads(columns: Sequence[Shown]) -> tuple[Column, ...]:
    return tuple(shown.column for shown in columns)


def _trained(row: AblationRow) -> str:
    """Name of the network that was trained: it may be reduced in size."""
    return row.runs[0].network.name


def _panels(evidence: Evidence, name: str, study: Resolved) -> list[Panel]:
    """Differences with their intervals, a panel per test set; none before anything is scored."""
    panels = []
    for dataset in evidence.config.data.test:
        whiskers = [
            Whisker(
                _label(study, row),
                found.mean,
                found.interval or found.over_pictures,
                family_key(row.base),
                row.network.network.windows.sizes,
                is_reference=row is reference,
            )
            for row, reference in _pairs(study)
            if (found := difference_to_base(evidence, row, reference, dataset))
            and found.mean is not None
        ]
        if whiskers:
            title = f"PSNR to base, {evidence.set_name(dataset)}"
            panels.append(whisker_panel(f"ablation-{name}-{file_name(dataset)}", title, whiskers))
    return panels


def _label(study: Resolved, row: AblationRow) -> str:
    words = _words(row.variant)
    return f"{label(row.base)}: {words}" if len(study.ablation.base) > 1 else words


def _words(variant: str) -> str:
    return variant.replace("_", " ")
