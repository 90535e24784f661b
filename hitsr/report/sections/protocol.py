"""Section: how each kind of number is taken."""

from dataclasses import dataclass
from typing import ClassVar

from hitsr.config import Config
from hitsr.report.panels import Panel
from hitsr.report.sections.captions import TableView
from hitsr.report.typeset import counted, size


@dataclass(frozen=True)
class ProtocolSection:
    key: ClassVar[str] = "protocol"
    nav: ClassVar[str] = "Protocol"
    heading: ClassVar[str] = "What each number means"
    tables: ClassVar[list[TableView]] = []
    panels: ClassVar[list[Panel]] = []
    output_size: str
    samples: str
    warmup: str


def protocol_section(config: Config) -> ProtocolSection:
    width, height = config.efficiency.output_size
    return ProtocolSection(
        output_size=size(width, height),
        samples=counted(config.efficiency.latency.samples, "sample"),
        warmup=counted(config.efficiency.latency.warmup, "warm-up forward"),
    )
