"""Section: what in the picture each network draws on, by local attribution maps."""

from dataclasses import replace

from hitsr.report.attributed import (
    Number,
    PairedIndex,
    Place,
    area_percent,
    attributed,
    by_window,
    diffusion_index,
    error_percent,
    over_windows,
    paired_indices,
    places,
    refined_error_percent,
    refined_index,
)
from hitsr.report.budget import Budget
from hitsr.report.cells import (
    NO_BASELINE,
    NOT_RUN,
    Cell,
    Column,
    Group,
    Row,
    Span,
    Table,
    estimate,
    gain,
    row,
)
from hitsr.report.maps import DECADES, Sheet, sheet
from hitsr.report.measures import Evidence
from hitsr.report.names import label
from hitsr.report.section import Caption, Section, TableView
from hitsr.report.typeset import THIN_SPACE, between, counted, fixed, share


def attribution_section(evidence: Evidence, budget: Budget) -> Section:
    found = places(evidence)
    view = _view(evidence, found, budget) if found else None
    sheets = [_sheet(evidence, place, budget) for place in found]
    return Section(
        key="attribution",
        nav="Attribution",
        heading=attribution_heading(evidence),
        parts={"sheets": sheets, "view": view},
        tables=[view] if view else [],
        pictures=[picture for shown, _ in sheets for picture in shown.page_pictures],
    )


def attribution_heading(evidence: Evidence) -> str:
    """Of all pairs everywhere: a finding only where each interval says so."""
    pairs = [pair for place in places(evidence) for pair in paired_indices(evidence, place)]
    if pairs and all(pair.is_wider for pair in pairs):
        return "Conversions draw on a wider part of the picture"
    if pairs and all(pair.is_narrower for pair in pairs):
        return "Conversions draw on a narrower part of the picture"
    return "What in the picture each network draws on"


def attribution_finding(evidence: Evidence, place: Place) -> str:
    pairs = paired_indices(evidence, place)
    if not pairs:
        return "Diffusion index of each network."
    if len(pairs) == 1:
        return _one_pair(pairs[0])
    higher = sum(pair.difference.value > 0 for pair in pairs)
    changes = between([pair.difference.value for pair in pairs], 2, plus=True)
    decided = sum(pair.is_wider or pair.is_narrower for pair in pairs)
    return (
        f"{share(higher, len(pairs)).capitalize()} conversions "
        f"{'have' if higher > 1 else 'has'} a higher mean diffusion index "
        f"than their baseline ({changes}); the interval over pictures excludes zero for "
        f"{share(decided, len(pairs))}."
    )


def attribution_table(evidence: Evidence, found: list[Place]) -> Table:
    """Means over pictures, one group per set and scale."""
    refined = any(_refined(evidence, place) for place in found)
    index = (
        Column("mean", room="spread"),
        Column("to baseline", room="spread"),
        Column("higher on"),
        *([Column("refined", room="spread")] if refined else []),
    )
    errors = (Column(_steps(evidence, found)), *([Column("refined")] if refined else []))
    spans = (
        Span(index, "Diffusion index"),
        Span((Column("mean", "%", room="spread"),), "Information area"),
        Span(errors, "Completeness error", "%"),
    )
    groups = tuple(
        Group(
            f"{evidence.set_name(place.dataset)}, ×{place.scale}",
            tuple(_row(evidence, network, place, refined) for network in evidence.networks),
        )
        for place in found
    )
    return Table("attribution", "Network", spans, groups)


def _one_pair(pair: PairedIndex) -> str:
    more = "more" if pair.difference.value > 0 else "less"
    decided = "" if pair.is_wider or pair.is_narrower else ", within the spread of the pictures"
    return (
        f"{label(pair.family.conversion)} draws on {more} of the picture than "
        f"{label(pair.family.baseline)}: mean diffusion index {fixed(pair.conversion, 2)} against "
        f"{fixed(pair.baseline, 2)}{decided}."
    )


def _row(evidence: Evidence, network: str, place: Place, refined: bool) -> Row:
    records = attributed(evidence, network, place)

    def cell(number: Number, digits: int) -> Cell:
        return estimate(over_windows(records, number), digits)

    def bare(number: Number, digits: int) -> Cell:
        return replace(cell(number, digits), spread="")

    cells = [
        cell(diffusion_index, 2),
        *_compared(evidence, network, place),
        *([cell(refined_index, 2)] if refined else []),
        cell(area_percent, 1),
        bare(error_percent, 1),
        *([bare(refined_error_percent, 2)] if refined else []),
    ]
    return row(network, cells)


def _compared(evidence: Evidence, network: str, place: Place) -> list[Cell]:
    """A conversion's difference to its baseline, and on how many pictures it is higher."""
    pairs = {pair.family.conversion: pair for pair in paired_indices(evidence, place)}
    if network not in pairs:
        converted = any(network == family.conversion for family in evidence.families)
        return [NOT_RUN if converted else NO_BASELINE] * 2
    pair = pairs[network]
    of = f"{pair.higher} of {pair.pictures}"
    spread = "" if pair.difference.half is None else f"±{fixed(pair.difference.half, 2)}"
    return [
        replace(gain(pair.difference, 2), spread=spread),
        Cell(text=of, value=pair.higher / pair.pictures),
    ]


def _view(evidence: Evidence, found: list[Place], budget: Budget) -> TableView:
    conditions = (
        "Means over the windows of a set, one per picture, ± half the 95 % interval over them. "
        "Diffusion index: 100 if all pixels matter alike. Information area: share of the picture "
        "with 90 % of the map’s density. Completeness error: how far the attributions are from "
        "summing to what they explain."
    )
    notes = []
    if any(_refined(evidence, place) for place in found):
        notes.append(
            "“Refined” integrates by midpoints and doubles the steps until the error of every map "
            "is below 1 %; where the two indices agree, the field’s path is fine enough."
        )
    caption = Caption("How far each network’s windows reach.", conditions, budget.steps)
    return TableView(attribution_table(evidence, found), caption, notes)


def _sheet(evidence: Evidence, place: Place, budget: Budget) -> tuple[Sheet, Caption]:
    shown = sheet(evidence, place)
    some = (
        f"The first {len(shown.rows)} of {counted(shown.pictures, 'picture')} by name. "
        if len(shown.rows) < shown.pictures
        else ""
    )
    conditions = (
        f"Local attribution on {evidence.set_name(place.dataset)}, ×{place.scale}: which pixels "
        "of the input the framed window owes its detail to. All maps share one logarithmic scale: "
        f"dark red is {fixed(shown.largest * 100, 1)}{THIN_SPACE}% of a map’s total in one pixel, "
        f"white {fixed(10**DECADES)} times less, or nothing. {some}"
        "The window is the picture’s busiest. DI: diffusion index; area: information area."
    )
    return shown, Caption(attribution_finding(evidence, place), conditions, budget.steps)


def _refined(evidence: Evidence, place: Place) -> bool:
    return any(
        by_window(attributed(evidence, network, place), refined_index)
        for network in evidence.networks
    )


def _steps(evidence: Evidence, found: list[Place]) -> str:
    steps = {
        record.settings.steps
        for place in found
        for network in evidence.networks
        for record in attributed(evidence, network, place)
    }
    return f"{' or '.join(map(str, sorted(steps)))} steps"
