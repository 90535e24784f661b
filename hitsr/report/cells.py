"""A table as it is shown: cells that know who is speaking, for HTML and LaTeX alike.

Upright numbers were measured here, italic ones are quoted, and an absent one says why.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Literal, NamedTuple

from hitsr.report.names import BICUBIC, Role, family_key, label, role_of
from hitsr.report.statistics import Estimate
from hitsr.report.typeset import fixed, signed

Kind = Literal["here", "paper", "difference", "absent", "text"]
Mark = Literal["outside", "unjudged"]


@dataclass(frozen=True, kw_only=True)
class Cell:
    text: str
    value: float | None = None  # what sorting compares; None stays last
    kind: Kind = "here"
    spread: str = ""
    mark: Mark | None = None
    rank: Literal["best", "second"] | None = None


NOT_RUN = Cell(text="not run", kind="absent")
NO_SOURCE = Cell(text="no source", kind="absent")
NO_BASELINE = Cell(text="baseline", kind="absent")


@dataclass(frozen=True)
class Column:
    head: str
    unit: str = ""
    group: str = ""
    room: Literal["", "spread", "mark"] = ""  # width kept in every row, so that points align
    is_text: bool = False  # aligned left, not by its points


class Span(NamedTuple):
    """Neighbouring columns under one title, with their unit if they share one."""

    title: str
    unit: str
    width: int


class Head(NamedTuple):
    """A column's own head; the unit only if its group does not say it."""

    text: str
    unit: str
    name: str  # as said aloud, its group first
    is_text: bool
    apart: bool  # opens a group after the first


@dataclass(frozen=True)
class Row:
    label: str
    style: str  # family key, or "ctl"
    role: Role | None  # None: no network
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Group:
    """Rows under one heading, such as a scale; an empty title shows none."""

    title: str
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Table:
    name: str  # of its files
    title: str
    first: str  # head of the column of names
    columns: tuple[Column, ...]
    groups: tuple[Group, ...]

    @property
    def is_grouped(self) -> bool:
        return any(column.group for column in self.columns)

    @property
    def spans(self) -> list[Span]:
        spans = []
        for title, members in groupby(self.columns, key=lambda column: column.group):
            columns = list(members)
            units = {column.unit for column in columns}
            spans.append(
                Span(title, units.pop() if title and len(units) == 1 else "", len(columns))
            )
        return spans

    @property
    def heads(self) -> list[Head]:
        heads: list[Head] = []
        for span in self.spans:
            start = len(heads)
            for position, column in enumerate(self.columns[start : start + span.width]):
                unit = "" if span.unit else column.unit
                name = f"{column.group} {column.head}".strip()
                apart = position == 0 and start > 0
                heads.append(Head(column.head, unit, name, column.is_text, apart))
        return heads


def row(network: str, cells: Sequence[Cell]) -> Row:
    text = f"{label(network)}, control" if network == BICUBIC else label(network)
    return Row(text, family_key(network), role_of(network), tuple(cells))


def here(value: float | None, digits: int = 0, half: float | None = None) -> Cell:
    if value is None:
        return NOT_RUN
    spread = "" if half is None else f"±{fixed(half, digits)}"
    return Cell(text=fixed(value, digits), value=value, spread=spread)


def estimate(measured: Estimate | None, digits: int) -> Cell:
    return here(measured.value, digits, measured.half) if measured else NOT_RUN


def gain(measured: Estimate | None, digits: int) -> Cell:
    """A difference between two measured values, with its sign."""
    if measured is None:
        return NOT_RUN
    return Cell(text=signed(measured.value, digits), value=measured.value)


def paper(value: float | None, digits: int = 0) -> Cell:
    if value is None:
        return NO_SOURCE
    return Cell(text=fixed(value, digits), value=value, kind="paper")


def difference(
    measured: float | None, quoted: float | None, digits: int, tolerance: float, judged: bool = True
) -> Cell:
    """Here minus paper, at the digits printed: both are rounded first, as a reader would.

    Marked where it is outside the tolerance, or not judged because the budgets differ.
    """
    if measured is None:
        return NOT_RUN
    if quoted is None:
        return NO_SOURCE
    value = round(measured, digits) - round(quoted, digits)
    outside = judged and round(abs(value), digits) > tolerance
    return Cell(
        text=signed(value, digits),
        value=value,
        kind="difference",
        mark="outside" if outside else (None if judged else "unjudged"),
    )


def ranked(cells: Sequence[Cell]) -> list[Cell]:
    """Mark the highest and the second highest by what is printed: ties share a mark.

    Fewer than three numbers are not ranked.
    """
    values = {cell.text: cell.value for cell in cells if cell.value is not None}
    if sum(cell.value is not None for cell in cells) < 3:
        return list(cells)
    order = sorted(values, key=values.__getitem__, reverse=True)
    best, second = order[0], order[1] if len(order) > 1 else None
    return [
        replace(cell, rank="best" if cell.text == best else "second")
        if cell.value is not None and cell.text in (best, second)
        else cell
        for cell in cells
    ]
