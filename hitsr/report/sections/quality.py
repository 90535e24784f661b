"""Section: PSNR and SSIM on the test sets, beside bicubic and what the paper prints."""

from dataclasses import dataclass
from typing import ClassVar

from hitsr.report.budget import Budget
from hitsr.report.cells import Table
from hitsr.report.findings import behind_bicubic, quality_finding, quality_heading
from hitsr.report.measures import Evidence
from hitsr.report.panels import Panel
from hitsr.report.sections.captions import Caption, TableView
from hitsr.report.typeset import counted, listed
from hitsr.report.views import picture_tables, quality_table


@dataclass(frozen=True)
class QualitySection:
    key: ClassVar[str] = "quality"
    nav: ClassVar[str] = "Quality"
    panels: ClassVar[list[Panel]] = []
    heading: str
    quality: TableView
    pictures: list[TableView]

    @property
    def tables(self) -> list[TableView]:
        return [self.quality]

    @property
    def has_unjudged(self) -> bool:
        return any(
            cell.mark == "unjudged"
            for group in self.quality.table.groups
            for row in group.rows
            for cell in row.cells
        )


def quality_section(evidence: Evidence, budget: Budget) -> QualitySection:
    caption = Caption(quality_finding(evidence), _conditions(budget), budget.steps_words)
    return QualitySection(
        heading=quality_heading(evidence),
        quality=TableView(quality_table(evidence, budget), caption, tuple(_notes(evidence))),
        pictures=[_per_picture(table) for table in picture_tables(evidence)],
    )


def _conditions(budget: Budget) -> str:
    seeds = (
        "one seed"
        if budget.seeds == 1
        else f"{budget.seeds} seeds, ± half the 95 % interval over them"
    )
    size = "networks reduced in size" if budget.changes else "networks of published size"
    tested = f"{budget.test_words}, " if budget.test_pictures else ""
    return (
        f"Y channel, border as wide as the scale, mean over pictures: {tested}{seeds}, {size}. "
        "Best is bold, second underlined, measured and quoted apart."
    )


def _notes(evidence: Evidence) -> list[str]:
    notes = []
    if behind := behind_bicubic(evidence):
        notes.append(f"Not ahead of bicubic within this budget: {listed(behind)}.")
    others = [
        f"“{name}”"
        for name in evidence.config.data.test
        if not evidence.published.has_dataset(name)
    ]
    if others:
        notes.append(
            f"No number has been published for {listed(others)}: nothing there can be compared "
            "with the paper."
        )
    return notes


def _per_picture(table: Table) -> TableView:
    rows = len(table.groups[0].rows)
    caption = Caption(f"PSNR picture by picture: {table.title}", f"{counted(rows, 'picture')}, dB.")
    return TableView(table, caption)
