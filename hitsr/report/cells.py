"""A table as it is shown: cells that know who is speaking, for HTML and LaTeX alike.

Upright numbers were measured here, italic ones are quoted, and an absent one says why.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from hitsr.plan.subjects import CONTROLS
from hitsr.report.estimates import Estimate
from hitsr.report.names import Role, family_key, label, role_of
from hitsr.report.typeset import fixed

Mark = Literal["outside", "unjudged", "doubtful"]


@dataclass(frozen=True, kw_only=True)
class Cell:
    text: str
    value: float | None = None  # what sorting compares; None stays last
    kind: Literal["here", "paper", "difference", "absent", "text"] = "here"
    spread: str = ""
    mark: Mark | None = None
    # Of a difference that is not judged ("not judged: 900 of 500 000 iterations"); of a number that
    # is absent, where more is known than that it was not run; of one whose measurement is doubtful.
    reason: str = ""
    rank: Literal["best", "second"] | None = None
    hover: str = ""  # more about the number, where there is room for it


NOT_RUN = Cell(text="not run", kind="absent")
IDENTICAL = Cell(text="identical", kind="absent")  # to its HR: PSNR is infinite
NO_SOURCE = Cell(text="no source", kind="absent")
NOT_LOGGED = Cell(text="not logged", kind="absent")  # by an earlier version
NOT_REACHED = Cell(text="not reached", kind="absent")
QUOTED = Cell(text="quoted", kind="absent")  # a difference to itself
NO_BASELINE = Cell(text="baseline", kind="absent")
UNPAIRED = Cell(text="no pair", kind="absent")  # a network of one's own
REFERENCE = Cell(text="reference", kind="absent")  # what others are held against


@dataclass(frozen=True)
class Column:
    head: str
    unit: str = ""
    room: Literal["", "spread", "mark"] = ""  # width kept in every row, so that points align
    is_text: bool = False  # aligned left, not by its points


@dataclass(frozen=True)
class Span:
    """Neighbouring columns under one title, said with the unit that they share."""

    columns: tuple[Column, ...]
    title: str = ""
    unit: str = ""


@dataclass(frozen=True)
class Row:
    label: str
    cells: tuple[Cell, ...]
    style: str = "ctl"  # or a family's key
    role: Role | None = None  # None: no network


@dataclass(frozen=True)
class Group:
    """Rows under one heading, such as a scale; an empty title shows none."""

    title: str
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Table:
    name: str  # of its files
    first: str  # head of the column of names
    spans: tuple[Span, ...]
    groups: tuple[Group, ...]

    @property
    def columns(self) -> list[tuple[Span, Column]]:
        return [(span, column) for span in self.spans for column in span.columns]

    @property
    def marks(self) -> set[Mark | None]:
        return {cell.mark for cell in self._cells}

    @property
    def reasons(self) -> list[str]:
        """Why some differences are not judged, each reason once."""
        marked = (cell.reason for cell in self._cells if cell.mark == "unjudged")
        reasons = (reason.removeprefix("not judged: ") for reason in marked)
        return list(dict.fromkeys(reason for reason in reasons if reason))

    @property
    def doubts(self) -> list[str]:
        """ "HiT-SIR, ×2, input 640×360: drifts by 8 %": why numbers are doubtful, each once."""
        found = [
            f"{', '.join(filter(None, (row.label, group.title)))}: {cell.reason}"
            for group in self.groups
            for row in group.rows
            for cell in row.cells
            if cell.mark == "doubtful"
        ]
        return list(dict.fromkeys(found))

    @property
    def absences(self) -> list[tuple[str, str]]:
        """Why some numbers are absent: what their cells say, and the reason, each once."""
        absent = (cell for cell in self._cells if cell.kind == "absent" and cell.reason)
        return list(dict.fromkeys((cell.text, cell.reason) for cell in absent))

    @property
    def _cells(self) -> list[Cell]:
        return [cell for group in self.groups for row in group.rows for cell in row.cells]


def listing(name: str, first: str, columns: Sequence[Column], rows: Iterable[Row]) -> Table:
    """A table with neither spans nor groups."""
    return Table(name, first, (Span(tuple(columns)),), (Group("", tuple(rows)),))


def row(network: str, cells: Iterable[Cell], name: str = "") -> Row:
    """A network's row, called after it if not by `name`."""
    name = name or (f"{label(network)}, control" if network in CONTROLS else label(network))
    return Row(name, tuple(cells), family_key(network), role_of(network))


def here(value: float | None, digits: int = 0, half: float | None = None) -> Cell:
    if value is None:
        return NOT_RUN
    if math.isinf(value):
        return IDENTICAL
    spread = "" if half is None else f"±{fixed(half, digits)}"
    return Cell(text=fixed(value, digits), value=value, spread=spread)


def estimate(measured: Estimate | None, digits: int) -> Cell:
    return here(measured.value, digits, measured.half) if measured else NOT_RUN


def paper(value: float | None, digits: int = 0) -> Cell:
    if value is None:
        return NO_SOURCE
    return Cell(text=fixed(value, digits), value=value, kind="paper")


def ranked(cells: Sequence[Cell]) -> list[Cell]:
    """Mark the highest and the second highest by what is printed: ties share a mark.

    Fewer than three numbers are not ranked.
    """
    values = {cell.text: cell.value for cell in cells if cell.value is not None}
    if sum(cell.value is not None for cell in cells) < 3:
        return list(cells)
    order = sorted(values, key=values.__getitem__, reverse=True)
    ranks: dict[str, Literal["best", "second"]] = dict(zip(order, ("best", "second")))
    return [replace(cell, rank=ranks.get(cell.text)) for cell in cells]
