"""The sections of the page, in the order of REPORT-DESIGN.

A section is plain data with a heading; `reports/templates/sections/<key>.html` lays it out. A new
section is a module here, a template there, and a line in `sections`.
"""

from typing import Protocol

from hitsr.report.budget import Budget
from hitsr.report.measures import Evidence
from hitsr.report.panels import Panel
from hitsr.report.sections.captions import TableView
from hitsr.report.sections.convergence import convergence_section
from hitsr.report.sections.efficiency import efficiency_section
from hitsr.report.sections.pictures import pictures_section
from hitsr.report.sections.protocol import protocol_section
from hitsr.report.sections.provenance import provenance_section
from hitsr.report.sections.quality import quality_section


class Section(Protocol):
    """What the page itself reads of a section; the rest is between it and its template."""

    @property
    def key(self) -> str:
        """Anchor, and name of the template."""

    @property
    def nav(self) -> str:
        """Its name in the table of contents."""

    @property
    def heading(self) -> str: ...

    @property
    def tables(self) -> list[TableView]:
        """Those that also become LaTeX files."""

    @property
    def panels(self) -> list[Panel]:
        """Those that also become SVG files."""


def sections(evidence: Evidence, budget: Budget) -> list[Section]:
    return [
        efficiency_section(evidence),
        quality_section(evidence, budget),
        convergence_section(evidence, budget),
        pictures_section(evidence, budget),
        provenance_section(evidence),
        protocol_section(evidence.config),
    ]
