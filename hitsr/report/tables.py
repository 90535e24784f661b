"""Tables as declarations: rows of networks, columns of quantities, one function to fill them.

A column says which quantity it shows and how it is compared; it never touches HTML or LaTeX.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from hitsr.report.cells import (
    IDENTICAL,
    NO_BASELINE,
    NO_SOURCE,
    NOT_RUN,
    UNPAIRED,
    Cell,
    Column,
    Group,
    Mark,
    Span,
    Table,
    estimate,
    here,
    paper,
    ranked,
    row,
)
from hitsr.report.estimates import Quartiles
from hitsr.report.evidence import Evidence
from hitsr.report.facts import QUANTITIES, digits_for
from hitsr.report.judging import JudgedNumber, printed_number
from hitsr.report.names import HR, Family, Setup, family_of
from hitsr.report.typeset import signed

Where = dict[str, Any]  # fields that facts must have, besides their quantity and network
Fill = Callable[[Evidence, str, Where], Cell]


@dataclass(frozen=True)
class Shown:
    """A declared column: its head, and what it shows of a network."""

    column: Column
    fill: Fill
    is_ranked: bool = False  # the best and second best of a group are marked


@dataclass(frozen=True)
class Shelf:
    """Neighbouring declared columns under one title."""

    columns: tuple[Shown, ...]
    title: str = ""
    unit: str = ""


@dataclass(frozen=True)
class Lines:
    """A group of rows: networks, and the fields that all their facts have."""

    title: str
    networks: Sequence[str]
    where: Where


def fill(
    evidence: Evidence, name: str, first: str, shelves: Sequence[Shelf], lines: Iterable[Lines]
) -> Table:
    """The table that declared columns and rows make."""
    spans = tuple(
        Span(tuple(shown.column for shown in shelf.columns), shelf.title, shelf.unit)
        for shelf in shelves
    )
    shown = [column for shelf in shelves for column in shelf.columns]
    return Table(name, first, spans, tuple(_group(evidence, shown, each) for each in lines))


def _group(evidence: Evidence, shown: Sequence[Shown], lines: Lines) -> Group:
    columns = []
    for each in shown:
        cells = [each.fill(evidence, network, lines.where) for network in lines.networks]
        columns.append(_ranked(cells, lines.networks) if each.is_ranked else cells)
    rows = zip(lines.networks, zip(*columns))
    return Group(lines.title, tuple(row(network, cells) for network, cells in rows))


def _ranked(cells: Sequence[Cell], networks: Sequence[str]) -> list[Cell]:
    """HR stands aside: it is what the others are measured by."""
    marked = iter(ranked([c for c, network in zip(cells, networks) if network != HR]))
    return [c if network == HR else next(marked) for c, network in zip(cells, networks)]


def measured(
    quantity: str,
    head: str,
    unit: str = "",
    *,
    digits: int | None = None,
    spread: Literal["seeds", "items", ""] = "",
    has_room: bool = True,  # False leaves the spread to LaTeX
    is_ranked: bool = False,
    **where: Any,
) -> Shown:
    """A network's number; with `spread`, half its interval over seeds or over pictures."""

    def cell(evidence: Evidence, network: str, also: Where) -> Cell:
        make = evidence.over_items if spread == "items" else evidence.level
        found = make(quantity, network, **{**also, **where})
        value = found.value if found else 0.0
        places = digits_for(quantity, value) if digits is None else digits
        shown = estimate(found, places)
        if not found:
            why = evidence.why_absent(quantity, network, **{**also, **where})
            has_failed = why in evidence.results.failed.values()
            shown = replace(shown, reason=why, text="failed" if has_failed else shown.text)
        if doubts := evidence.doubts(quantity, network, **{**also, **where}):
            shown = replace(shown, mark="doubtful", reason="; ".join(doubts))
        return shown if spread else replace(shown, spread="")

    return Shown(Column(head, unit, room="spread" if spread and has_room else ""), cell, is_ranked)


def printed(quantity: str, head: str, unit: str = "", **where: Any) -> Shown:
    """What the paper prints."""

    def cell(evidence: Evidence, network: str, also: Where) -> Cell:
        place = {key: also[key] for key in ("scale", "dataset") if key in also} | where
        value = evidence.facts.value(quantity, network, speaker="paper", **place)
        return paper(value, QUANTITIES[quantity].digits)

    return Shown(Column(head, unit), cell)


def to_print(quantity: str, head: str, unit: str = "", **where: Any) -> Shown:
    """Here less printed, both rounded as they are shown; marked by the claim's verdict."""

    def cell(evidence: Evidence, network: str, also: Where) -> Cell:
        both = {**also, **where}
        judged = printed_number(evidence, quantity, network, both["scale"], both.get("dataset"))
        return _difference(judged, evidence, quantity, network, both)

    return Shown(Column(head, unit, room="mark"), cell)


def _difference(
    judged: JudgedNumber | None, evidence: Evidence, quantity: str, network: str, where: Where
) -> Cell:
    level = evidence.level(quantity, network, **where)
    if level is None:
        return NOT_RUN
    quoted = evidence.facts.value(quantity, network, speaker="paper", **where)
    if quoted is None:
        return NO_SOURCE
    digits, mark = QUANTITIES[quantity].digits, _mark(judged)
    value = round(level.value, digits) - round(quoted, digits)
    if mark == "outside" and judged and judged.expected.holds(quoted + value):
        digits, value = digits + 1, level.value - quoted  # rounding would hide why it is marked
    text, reason = signed(value, digits), _reason(judged) if mark == "unjudged" else ""
    return Cell(text=text, value=value, kind="difference", mark=mark, reason=reason)


def _mark(judged: JudgedNumber | None) -> Mark | None:
    if judged is None or judged.verdict == "not_testable":
        return "unjudged"
    return "outside" if judged.verdict == "not_reproduced" else None


def _reason(judged: JudgedNumber | None) -> str:
    return judged.judgement.reason if judged else "not judged: no claim is about it"


def over_bicubic(quantity: str, head: str, unit: str = "", **where: Any) -> Shown:
    """A network's score less that of the control."""

    def cell(evidence: Evidence, network: str, also: Where) -> Cell:
        found = evidence.over_bicubic(quantity, network, **{**also, **where})
        if found is None:
            return NOT_RUN
        if found.value == float("inf"):
            return IDENTICAL
        text = signed(found.value, QUANTITIES[quantity].digits)
        return Cell(text=text, value=found.value)

    return Shown(Column(head, unit), cell)


def of_conversion(column: Column, make: Callable[[Evidence, Family, Where], Cell]) -> Shown:
    """What a conversion is beside its baseline; baselines say that they are it."""

    def cell(evidence: Evidence, network: str, where: Where) -> Cell:
        family = family_of(network)
        if family is None:
            return UNPAIRED
        if network != family.conversion:
            return NO_BASELINE
        return make(evidence, family, where)

    return Shown(column, cell)


def times_as_fast(head: str, device: str) -> Shown:
    def make(evidence: Evidence, family: Family, where: Where) -> Cell:
        setup = Setup(device, where["formulation"])
        ratio = evidence.speedup(family, where["scale"], setup)
        return ratio_cell(ratio)

    return of_conversion(Column(head, room="spread"), make)


def ratio_cell(ratio: Quartiles | None, digits: int = 1) -> Cell:
    """A ratio of times with half the interquartile range of neighbours."""
    if ratio is None:
        return NOT_RUN
    digits = digits if ratio.median >= 0.1 else 2  # one decimal would show nothing
    return here(ratio.median, digits, (ratio.upper - ratio.lower) / 2)
