"""Section: what in the picture each network draws on, by local attribution maps."""

from collections.abc import Callable

from hitsr.records import AttributionRecord
from hitsr.report.budget import Budget
from hitsr.report.cells import NOT_RUN, Cell, Column, Table
from hitsr.report.estimates import PairedDifference, resolved
from hitsr.report.evidence import Evidence
from hitsr.report.maps import DECADES, MappedSet, Sheet, mapped_sets, sheet
from hitsr.report.names import Family, label
from hitsr.report.section import Caption, Section, TableView
from hitsr.report.tables import Lines, Shelf, Shown, Where, fill, measured, of_conversion
from hitsr.report.typeset import THIN_SPACE, between, counted, fixed, sentence, share, signed

_INDEX = "diffusion_index"


def attribution_section(evidence: Evidence, budget: Budget) -> Section:
    found = mapped_sets(evidence)
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


def paired_indices(evidence: Evidence, place: MappedSet) -> dict[Family, PairedDifference]:
    """Conversion less baseline over the same windows, for each family that was mapped."""
    found = {
        family: evidence.difference(_INDEX, family.conversion, family.baseline, **place._asdict())
        for family in evidence.families
    }
    return {family: difference for family, difference in found.items() if difference}


def attribution_heading(evidence: Evidence) -> str:
    """A finding only where the interval of every pair on every set says so."""
    sides = {
        resolved(pair)
        for place in mapped_sets(evidence)
        for pair in paired_indices(evidence, place).values()
    }
    if sides == {"above"}:
        return "Conversions draw on a wider part of the picture"
    if sides == {"below"}:
        return "Conversions draw on a narrower part of the picture"
    return "What in the picture each network draws on"


def attribution_finding(evidence: Evidence, place: MappedSet) -> str:
    pairs = paired_indices(evidence, place)
    means = [pair.mean or 0.0 for pair in pairs.values()]
    decided = sum(resolved(pair) != "undecided" for pair in pairs.values())
    if not pairs:
        return "Diffusion index of each network."
    if len(pairs) == 1:
        return _pair_finding(evidence, place, next(iter(pairs)), means[0], is_decided=decided > 0)
    higher = sum(mean > 0 for mean in means)
    intervals = "no interval over seeds and pictures excludes zero"
    if decided:
        share_decided = share(decided, len(pairs))
        intervals = f"the interval over seeds and pictures excludes zero for {share_decided}"
    whose = "their baselines" if higher > 1 else "its baseline"
    return (
        f"{sentence(share(higher, len(pairs), 'conversion'))} {'have' if higher > 1 else 'has'} a "
        f"higher mean diffusion index than {whose} ({between(means, 2, plus=True)}); "
        f"{intervals}."
    )


def _pair_finding(
    evidence: Evidence, place: MappedSet, family: Family, mean: float, *, is_decided: bool
) -> str:
    before, after = (
        fixed(level.value, 2) if level else ""
        for network in family.networks
        for level in [evidence.over_items(_INDEX, network, **place._asdict())]
    )
    return (
        f"{label(family.conversion)} draws on {'more' if mean > 0 else 'less'} of the picture "
        f"than {label(family.baseline)}: mean diffusion index {after} against {before}"
        f"{'' if is_decided else ', which no interval over seeds and pictures decides'}."
    )


def attribution_table(evidence: Evidence, found: list[MappedSet]) -> Table:
    """Means over pictures, one group per set and scale."""
    refined = bool(evidence.facts.find("refined_index"))
    index = [
        measured(_INDEX, "mean", spread="items"),
        _of_pair(Column("to baseline", room="spread"), _to_baseline),
        _of_pair(Column("higher on"), _higher_on),
        *([measured("refined_index", "refined", spread="items")] if refined else []),
    ]
    errors = [
        measured("completeness_error", _steps(evidence)),
        *([measured("refined_error", "refined")] if refined else []),
    ]
    shelves = [
        Shelf(tuple(index), "Diffusion index"),
        Shelf((measured("information_area", "mean", "%", spread="items"),), "Information area"),
        Shelf(tuple(errors), "Completeness error", "%"),
    ]
    lines = (
        Lines(
            f"{evidence.set_name(place.dataset)}, ×{place.scale}",
            evidence.networks,
            place._asdict(),
        )
        for place in found
    )
    return fill(evidence, "attribution", "Network", shelves, lines)


def _to_baseline(pair: PairedDifference) -> Cell:
    """A conversion's mean difference; half its interval over seeds and pictures, or pictures."""
    if pair.mean is None:
        return NOT_RUN
    ends = pair.interval or pair.over_pictures
    spread = f"±{fixed((ends[1] - ends[0]) / 2, 2)}" if ends else ""
    return Cell(text=signed(pair.mean, 2), value=pair.mean, spread=spread)


def _higher_on(pair: PairedDifference) -> Cell:
    """On how many pictures a conversion's index is higher."""
    return Cell(text=f"{pair.better} of {pair.pictures}", value=pair.better / pair.pictures)


def _of_pair(column: Column, show: Callable[[PairedDifference], Cell]) -> Shown:
    """What a conversion's diffusion indices are to its baseline's."""

    def cell(evidence: Evidence, family: Family, where: Where) -> Cell:
        pair = evidence.difference(_INDEX, family.conversion, family.baseline, **where)
        return show(pair) if pair else NOT_RUN

    return of_conversion(column, cell)


def _view(evidence: Evidence, found: list[MappedSet], budget: Budget) -> TableView:
    over = "seeds and pictures" if budget.seeds > 1 else "pictures alone, one seed"
    conditions = (
        "Means over the windows of a set, one per picture, ± half the 95 % interval over them; "
        f"differences to the baseline ± half that over {over}. "
        "Diffusion index: 100 if all pixels matter alike. Information area: share of the picture "
        "with 90 % of the map’s density. Completeness error: how far the attributions are from "
        "summing to what they explain."
    )
    notes = _left_out(evidence)
    if evidence.facts.find("refined_index"):
        notes.append(
            "“Refined” integrates by midpoints and doubles the steps until the error of every map "
            "is below 1 %; where the two indices agree, the field’s path is fine enough."
        )
    caption = Caption("How far each network’s windows reach.", conditions, budget.steps)
    return TableView(attribution_table(evidence, found), caption, notes)


def _left_out(evidence: Evidence) -> list[str]:
    """A note per picture that a set's maps leave out, and why."""
    return [
        f"Left out of {evidence.set_name(dataset)}, ×{scale}: {each.picture} ({each.reason})."
        for (dataset, scale), each in dict.fromkeys(
            ((record.dataset or "", record.scale), each)
            for record in evidence.results.of(AttributionRecord)
            for each in record.left_out
        )
    ]


def _sheet(evidence: Evidence, place: MappedSet, budget: Budget) -> tuple[Sheet, Caption]:
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


def _steps(evidence: Evidence) -> str:
    steps = {record.settings.steps for record in evidence.results.of(AttributionRecord)}
    return f"{' or '.join(map(str, sorted(steps)))} steps"
