"""Section: how costs grow with the size of windows and of pictures."""

from collections.abc import Sequence

from hitsr.records import Over
from hitsr.report.cells import NOT_RUN, Cell, Column, Group, Row, Span, Table, here, row
from hitsr.report.gather import Setup
from hitsr.report.growth import COSTS, Cost, Law, growth_panels, law, time_law
from hitsr.report.measures import Evidence, setup_name
from hitsr.report.section import Caption, Section, TableView
from hitsr.report.sections.provenance import machine_words
from hitsr.report.typeset import between, listed

# An exponent this close to 1 is called linear, fixed before any was fitted.
LINEAR = 0.05


def scaling_section(evidence: Evidence) -> Section:
    windows, pictures = (growth_panels(evidence, over) for over in ("window", "picture"))
    view = _view(evidence) if windows or pictures else None
    return Section(
        key="scaling",
        nav="Scaling",
        heading=scaling_heading(evidence),
        parts={
            "windows": windows,
            "pictures": pictures,
            "window_finding": window_finding(evidence),
            "picture_finding": picture_finding(evidence),
            "timed": bool(evidence.scaling_setups),
            "view": view,
        },
        tables=[view] if view else [],
        panels=[*windows, *pictures],
    )


def per_window(evidence: Evidence, network: str) -> Law | None:
    """Exponent of the FLOPs of one window: at a fixed picture, larger windows are fewer."""
    record = evidence.results.scaling.get((network, "window"))
    if record is None:
        return None
    whole = law(record, "flops")
    return Law(whole.exponent + 1, whole.error)


def scaling_heading(evidence: Evidence) -> str:
    before, after = _window_laws(evidence)
    if not before or not after:
        return "How costs grow"
    if all(abs(each - 1) <= LINEAR for each in after) and min(before) > 1 + LINEAR:
        return "Conversions’ cost is linear in the window’s size, their baselines’ is not"
    return "How costs grow with windows and pictures"


def window_finding(evidence: Evidence) -> str:
    before, after = _window_laws(evidence)
    if not before or not after:
        return "Cost against the size of windows."
    times = [
        f" Time as measured ({setup_name(setup)}): {between(timed[1], 2)} and "
        f"{between(timed[0], 2)}."
        for setup in evidence.scaling_setups
        if all(timed := _window_time_laws(evidence, setup))
    ]
    return (
        f"FLOPs of one window grow as its tokens to the power of {between(after, 2)} in "
        f"conversions, {between(before, 2)} in their baselines.{''.join(times)}"
    )


def picture_finding(evidence: Evidence) -> str:
    laws = [
        law(record, "flops").exponent
        for (_, over), record in evidence.results.scaling.items()
        if over == "picture"
    ]
    if not laws:
        return "Cost against the size of pictures."
    timed = [
        f" Time as measured ({setup_name(setup)}): {between(found, 2)}."
        for setup in evidence.scaling_setups
        if (found := _times(evidence, evidence.networks, setup, "picture"))
    ]
    return f"FLOPs grow as the picture’s pixels to the power of {between(laws, 2)}.{''.join(timed)}"


def scaling_table(evidence: Evidence) -> Table:
    """Exponents and their standard errors."""
    times = [f"time, {setup_name(setup)}" for setup in evidence.scaling_setups]
    heads = ["FLOPs", "activations", "memory", *times]
    costs = tuple(Column(head, room="spread") for head in heads)
    window = (Column("FLOPs, one window", room="spread"), *costs)
    spans = (Span(window, "Windows of one picture"), Span(costs, "Pictures"))
    rows = tuple(_row(evidence, network) for network in evidence.networks)
    return Table("scaling", "Network", spans, (Group("", rows),))


def _row(evidence: Evidence, network: str) -> Row:
    cells = [_cell(per_window(evidence, network))]
    overs: tuple[Over, ...] = ("window", "picture")
    for over in overs:
        cells += [_fitted(evidence, network, over, cost) for cost in COSTS]
        for setup in evidence.scaling_setups:
            timed = evidence.results.scaling_time.get((network, *setup))
            cells.append(_cell(time_law(timed, over) if timed else None))
    return row(network, cells)


def _fitted(evidence: Evidence, network: str, over: Over, cost: Cost) -> Cell:
    record = evidence.results.scaling.get((network, over))
    return _cell(law(record, cost) if record else None)


def _cell(found: Law | None) -> Cell:
    return here(found.exponent, 2, found.error) if found else NOT_RUN


def _times(evidence: Evidence, networks: Sequence[str], setup: Setup, over: Over) -> list[float]:
    """Exponents of measured time, of those networks that were timed."""
    records = (evidence.results.scaling_time.get((network, *setup)) for network in networks)
    return [found.exponent for record in records if record and (found := time_law(record, over))]


def _window_time_laws(evidence: Evidence, setup: Setup) -> tuple[list[float], list[float]]:
    """Exponents of one window's time: of baselines and of conversions."""
    roles = zip(*(family.networks for family in evidence.families))
    before, after = ([p + 1 for p in _times(evidence, names, setup, "window")] for names in roles)
    return before, after


def _window_laws(evidence: Evidence) -> tuple[list[float], list[float]]:
    """Exponents of one window: of baselines and of conversions, where both were measured."""
    pairs = [
        (before.exponent, after.exponent)
        for family in evidence.families
        if (before := per_window(evidence, family.baseline))
        and (after := per_window(evidence, family.conversion))
    ]
    return [before for before, _ in pairs], [after for _, after in pairs]


def _view(evidence: Evidence) -> TableView:
    conditions = (
        "Exponents of cost as a power of tokens, fitted to the logarithms by least squares, ± "
        "their standard error. At one picture there are fewer windows the larger they are: an "
        "exponent p over the whole picture is p + 1 in each window, where 1 is linear. Over "
        "windows, FLOPs, activations and time are of the mixer of a one-block network, memory of "
        "that network; over pictures, all are of the whole network."
    )
    if evidence.scaling_setups:
        conditions += _timing_conditions(evidence)
    formulations = sorted({record.formulation for record in evidence.results.scaling.values()})
    caption = Caption(
        "Fitted exponents.",
        f"{conditions} Counted on the {' and '.join(formulations)} formulation.",
    )
    return TableView(scaling_table(evidence), caption)


def _timing_conditions(evidence: Evidence) -> str:
    """Which sizes were timed, how often, and on what."""
    records = list(evidence.results.scaling_time.values())
    growths = [growth for r in records for growth in (r.windows, r.pictures) if growth]
    samples = sorted({len(point.samples_ms) for growth in growths for point in growth.points})
    pictures = sorted({point.side for r in records if r.pictures for point in r.pictures.points})
    sides = f" at pictures of {listed([*map(str, pictures)])} pixels a side" if pictures else ""
    return (
        f" Time is the median of {listed([*map(str, samples)])} forwards{sides}, sizes in turns, "
        f"on {machine_words(records)}: its exponents are of that machine."
    )
