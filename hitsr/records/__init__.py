"""What was measured, how, by which code: every result file is one class of this module.

Records keep raw samples; averages belong to the report. Units end the field names. A quantity that
was not measured is absent (None), never zero or NaN.
"""

from hitsr.records.attribution import (
    AttributionRecord,
    AttributionSettings,
    RefinedAttribution,
    WindowAttribution,
)
from hitsr.records.cost import (
    Complexity,
    ComplexityRecord,
    ModuleCost,
    Over,
    PowerLaw,
    ScalingRecord,
    ScalingTimeRecord,
    SizeCost,
    SizeTime,
    TimeGrowth,
)
from hitsr.records.latency import (
    OWN,
    Energy,
    LatencyRecord,
    MachineState,
    PeakMemory,
    Timing,
    latency_setup,
)
from hitsr.records.pictures import (
    ChannelScore,
    DatasetRecord,
    PictureFile,
    PictureScore,
    QualityRecord,
)
from hitsr.records.record import Hash, Provenance, Record
from hitsr.records.training import LogLine, TrainingRecord, read_log

__all__ = [
    "OWN",
    "AttributionRecord",
    "AttributionSettings",
    "ChannelScore",
    "Complexity",
    "ComplexityRecord",
    "DatasetRecord",
    "Energy",
    "Hash",
    "LatencyRecord",
    "LogLine",
    "MachineState",
    "ModuleCost",
    "Over",
    "PeakMemory",
    "PictureFile",
    "PictureScore",
    "PowerLaw",
    "Provenance",
    "QualityRecord",
    "Record",
    "RefinedAttribution",
    "ScalingRecord",
    "ScalingTimeRecord",
    "SizeCost",
    "SizeTime",
    "TimeGrowth",
    "Timing",
    "TrainingRecord",
    "WindowAttribution",
    "latency_setup",
    "read_log",
]
