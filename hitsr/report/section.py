"""A section of the page: plain data that `templates/sections/<key>.html` lays out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from hitsr.report.cells import Table
from hitsr.report.embedding import PagePicture
from hitsr.report.svg import Panel


class Caption(NamedTuple):
    """What stands above a table or figure: the finding, then the conditions, then the budget."""

    finding: str
    conditions: str
    chip: str = ""  # the training budget, where the numbers depend on it

    @property
    def text(self) -> str:
        """All of it, for where nothing sets it apart."""
        return f"{self.finding} {self.conditions}" + (f" {self.chip}." if self.chip else "")


class TableView(NamedTuple):
    table: Table
    caption: Caption
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class Section:
    key: str  # anchor, and name of the template
    nav: str  # in the table of contents
    heading: str
    parts: Mapping[str, object]  # what its template shows, by the names used there
    tables: Sequence[TableView] = ()  # those that also become LaTeX files
    panels: Sequence[Panel] = ()  # those that also become SVG and PDF files
    pictures: Sequence[PagePicture] = ()  # all that its template shows by `address`
    files: Mapping[str, str] = field(default_factory=dict)  # other texts beside the page, by name
