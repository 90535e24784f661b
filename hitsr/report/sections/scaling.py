"""Section: how costs grow with the size of windows and of pictures."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from hitsr.records import PowerLaw, ScalingRecord, ScalingTimeRecord
from hitsr.report.cells import NOT_RUN, Cell, Column, Table, here
from hitsr.report.evidence import Evidence
from hitsr.report.growth import COSTS, growth_panels
from hitsr.report.section import Caption, Section, TableView
from hitsr.report.sections.provenance import machine_words
from hitsr.report.tables import Lines, Shelf, Shown, Where, fill
from hitsr.report.typeset import between, listed
from hitsr.specs.config import Over

_HEADS = {"flops": "FLOPs", "activations": "activations", "activation_memory": "memory"}


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


def scaling_heading(evidence: Evidence) -> str:
    """A finding where the claim about windows allows it: its tolerance says what is linear."""
    before, after = _window_laws(evidence)
    if not before or not after:
        return "How costs grow"
    linear = _linear(evidence)
    if all(abs(each - 1) <= linear for each in after) and min(before) > 1 + linear:
        return "Conversions’ cost is linear in the window’s size, their baselines’ is not"
    return "How costs grow with windows and pictures"


def window_finding(evidence: Evidence) -> str:
    before, after = _window_laws(evidence)
    if not before or not after:
        return "Cost against the size of windows."
    words = (
        f"FLOPs of one window grow as its tokens to the power of {between(after, 2)} in "
        f"conversions, {between(before, 2)} in their baselines."
    )
    for setup in evidence.scaling_setups:
        before, after = (
            # At one picture there are fewer windows the larger they are: p + 1 in each of them.
            [p + 1 for p in _exponents(evidence, "growth_time", names, setup=setup, over="window")]
            for names in zip(*(family.networks for family in evidence.families))
        )
        if before and after:
            words += (
                f" Time as measured ({setup.words}): {between(after, 2)} and {between(before, 2)}."
            )
    return words


def picture_finding(evidence: Evidence) -> str:
    def exponents(quantity: str, **where: Any) -> list[float]:
        return _exponents(evidence, quantity, evidence.networks, over="picture", **where)

    if not (laws := exponents("growth_flops")):
        return "Cost against the size of pictures."
    words = f"FLOPs grow as the picture’s pixels to the power of {between(laws, 2)}."
    for setup in evidence.scaling_setups:
        if timed := exponents("growth_time", setup=setup):
            words += f" Time as measured ({setup.words}): {between(timed, 2)}."
    return words


def scaling_table(evidence: Evidence) -> Table:
    """Exponents and their standard errors."""

    def shelf(over: Over) -> tuple[Shown, ...]:
        costs = [_exponent(f"growth_{cost}", _HEADS[cost], over=over) for cost in COSTS]
        times = [
            _exponent("growth_time", f"time, {setup.words}", over=over, setup=setup)
            for setup in evidence.scaling_setups
        ]
        return (*costs, *times)

    window = (_exponent("flops_exponent", "FLOPs, one window"), *shelf("window"))
    shelves = [Shelf(window, "Windows of one picture"), Shelf(shelf("picture"), "Pictures")]
    return fill(evidence, "scaling", "Network", shelves, [Lines("", evidence.networks, {})])


def _exponent(quantity: str, head: str, **where: Any) -> Shown:
    """A fitted exponent, ± its standard error."""

    def cell(evidence: Evidence, network: str, _: Where) -> Cell:
        law = _law(evidence, quantity, network, **where)
        if law is None:
            return replace(NOT_RUN, reason=evidence.why_absent(quantity, network, **where))
        return here(law.exponent, 2, law.standard_error)

    return Shown(Column(head, room="spread"), cell)


def _law(evidence: Evidence, quantity: str, network: str, **where: Any) -> PowerLaw | None:
    """The fit at the smallest scale that was measured."""
    rows = evidence.facts.find(quantity, network, **where)
    return min(rows, key=lambda row: row.scale).law if rows else None


def _exponents(
    evidence: Evidence, quantity: str, networks: Sequence[str], **where: Any
) -> list[float]:
    laws = (_law(evidence, quantity, network, **where) for network in networks)
    return [law.exponent for law in laws if law]


def _linear(evidence: Evidence) -> float:
    """How far from 1 an exponent may be and still be called linear: the claim's tolerance."""
    limits = (c.quantities.get("flops_exponent") for c in evidence.claims)
    return next((limit for limit in limits if limit is not None), 0.0)


def _window_laws(evidence: Evidence) -> tuple[list[float], list[float]]:
    """Exponents of one window: of baselines and of conversions, where both were measured."""
    found = (_exponents(evidence, "flops_exponent", each.networks) for each in evidence.families)
    pairs = [pair for pair in found if len(pair) == 2]
    return [before for before, _ in pairs], [after for _, after in pairs]


def _view(evidence: Evidence) -> TableView:
    formulations = sorted({record.formulation for record in evidence.results.of(ScalingRecord)})
    conditions = (
        "Exponents of cost as a power of tokens, fitted to the logarithms by least squares, ± "
        "their standard error. At one picture there are fewer windows the larger they are: an "
        "exponent p over the whole picture is p + 1 in each window, where 1 is linear. Over "
        "windows, FLOPs, activations and time are of the mixer of a one-block network, memory of "
        f"that network; over pictures, all are of the whole network.{_timing_conditions(evidence)} "
        f"Counted on the {' and '.join(formulations)} formulation."
    )
    return TableView(scaling_table(evidence), Caption("Fitted exponents.", conditions))


def _timing_conditions(evidence: Evidence) -> str:
    """Which sizes were timed, how often, and on what; empty where none was."""
    records = evidence.results.of(ScalingTimeRecord)
    if not records:
        return ""
    growths = [growth for r in records for growth in (r.windows, r.pictures) if growth]
    samples = sorted({len(point.samples_ms) for growth in growths for point in growth.points})
    pictures = sorted({point.side for r in records if r.pictures for point in r.pictures.points})
    sides = f" at pictures of {listed([*map(str, pictures)])} pixels a side" if pictures else ""
    return (
        f" Time is the median of {listed([*map(str, samples)])} forwards{sides}, sizes in turns, "
        f"on {machine_words(records)}: its exponents are of that machine."
    )
