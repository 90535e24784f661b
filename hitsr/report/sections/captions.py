"""What stands above a table or figure: the finding, then the conditions, then the budget."""

from typing import NamedTuple

from hitsr.report.cells import Table
from hitsr.report.panels import Panel


class Caption(NamedTuple):
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
    notes: tuple[str, ...] = ()


class FigureView(NamedTuple):
    caption: Caption
    panels: list[Panel]
