"""Records: one class per kind of result file, with raw samples, units and provenance.

The report averages samples. Field names end with units. A quantity that was not measured is None,
never zero or NaN.
"""

from hitsr.records.attribution import (
    AttributionRecord,
    AttributionSettings,
    LeftOut,
    RefinedAttribution,
    WindowAttribution,
)
from hitsr.records.challenge import EntryPicture, EntryRun, NtireRecord
from hitsr.records.cost import (
    Complexity,
    ComplexityRecord,
    ModuleCost,
    PowerLaw,
    ScalingRecord,
    ScalingTimeRecord,
    SizeCost,
    SizeTime,
    TimeGrowth,
)
from hitsr.records.latency import (
    Energy,
    LatencyRecord,
    MachineState,
    PeakMemory,
    Timing,
)
from hitsr.records.pictures import (
    BICUBIC_LR,
    ChannelScore,
    DatasetRecord,
    Origin,
    PictureFile,
    PictureScore,
    QualityRecord,
    RestoredRecord,
)
from hitsr.records.record import Hash, Provenance, Record
from hitsr.records.training import GateResult, LogLine, Session, TrainingRecord, read_log

__all__ = [
    "BICUBIC_LR",
    "AttributionRecord",
    "AttributionSettings",
    "ChannelScore",
    "Complexity",
    "ComplexityRecord",
    "DatasetRecord",
    "Energy",
    "EntryPicture",
    "EntryRun",
    "GateResult",
    "Hash",
    "LatencyRecord",
    "LeftOut",
    "LogLine",
    "MachineState",
    "ModuleCost",
    "NtireRecord",
    "Origin",
    "PeakMemory",
    "PictureFile",
    "PictureScore",
    "PowerLaw",
    "Provenance",
    "QualityRecord",
    "Record",
    "RefinedAttribution",
    "RestoredRecord",
    "ScalingRecord",
    "ScalingTimeRecord",
    "Session",
    "SizeCost",
    "SizeTime",
    "TimeGrowth",
    "Timing",
    "TrainingRecord",
    "WindowAttribution",
    "read_log",
]
