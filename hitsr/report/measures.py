"""What the report says about records: ratios, gains over bicubic, curves. Pure, None if absent."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from hitsr.records import ChannelScore, LatencyRecord, LogLine, QualityRecord
from hitsr.report.gather import Results, Setup
from hitsr.report.names import BICUBIC, FAMILIES, Family, method_of
from hitsr.report.published import Published
from hitsr.report.statistics import Estimate, mean, median
from hitsr.specs.ablation import Resolved
from hitsr.specs.claims import AnyClaim
from hitsr.specs.config import Config
from hitsr.specs.network import Formulation, Scale

Quantity = Literal["loss", "validation_psnr_db"]

FORMULATIONS: dict[Formulation, str] = {"paper": "as published", "fused": "fused"}
_DEVICES = {"cpu": "CPU", "cuda": "GPU"}


@dataclass(frozen=True)
class Evidence:
    """All that a report is written from."""

    config: Config
    results: Results
    published: Published
    ablations: Mapping[str, Resolved] = field(default_factory=dict)
    claims: tuple[AnyClaim, ...] = ()

    @property
    def networks(self) -> list[str]:
        """Each baseline followed by its conversion, then networks of one's own."""
        networks = [name for family in FAMILIES for name in family.networks]
        return [name for name in networks if name in self.config.networks] + list(self.config.own)

    @property
    def families(self) -> list[Family]:
        """Those of which the config names both members."""
        return [f for f in FAMILIES if set(f.networks) <= set(self.config.networks)]

    @property
    def latency_setups(self) -> list[Setup]:
        """Device and formulation of the latencies measured, in a fixed order."""
        return sorted({(device, form) for _, _, device, form in self.results.latency})

    @property
    def latency_scales(self) -> list[Scale]:
        """Scales with at least one latency."""
        return sorted({scale for _, scale, _, _ in self.results.latency})

    @property
    def scaling_setups(self) -> list[Setup]:
        """Device and formulation of the times over sizes, in a fixed order."""
        return sorted({(device, form) for _, device, form in self.results.scaling_time})

    def set_name(self, dataset: str) -> str:
        """One of the paper's test sets by its name, any other in quotes."""
        return dataset if self.published.has_dataset(dataset) else f"“{dataset}”"


@dataclass(frozen=True)
class Score:
    """Mean PSNR and SSIM of a method on one dataset, over its seeds."""

    psnr_db: Estimate
    ssim: Estimate
    over_bicubic_db: Estimate | None  # None without the control


@dataclass(frozen=True)
class Curve:
    """A logged quantity over training: its mean and range over seeds at each common step."""

    steps: tuple[int, ...]
    seconds: tuple[float, ...]  # mean over seeds
    mean: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


def psnr_db(picture: ChannelScore) -> float:
    """Infinite where the pictures are identical: records say None, as JSON has no infinity."""
    return math.inf if picture.psnr_db is None else picture.psnr_db


def mean_psnr_db(record: QualityRecord) -> float:
    """Over pictures; infinite where one is identical to its HR."""
    return mean([psnr_db(picture) for picture in record.pictures]).value


def mean_ssim(record: QualityRecord) -> float:
    return mean([picture.ssim for picture in record.pictures]).value


def control(results: Results, scale: Scale, dataset: str) -> QualityRecord | None:
    return results.quality.get((f"{BICUBIC}-x{scale}", dataset))


def validation_control(evidence: "Evidence", scale: Scale) -> QualityRecord | None:
    """Bicubic on the set that the logs of trainings follow."""
    dataset = evidence.config.data.validation
    return control(evidence.results, scale, dataset) if dataset else None


def over_bicubic_db(results: Results, record: QualityRecord) -> float | None:
    """Its mean PSNR less that of the control on the same pictures."""
    bicubic = control(results, record.scale, record.dataset)
    return mean_psnr_db(record) - mean_psnr_db(bicubic) if bicubic else None


def scored(results: Results, method: str, scale: Scale, dataset: str) -> list[QualityRecord]:
    """The records of a method's seeds, or bicubic's one."""
    return [
        record
        for (run, name), record in results.quality.items()
        if (method_of(run), record.scale, name) == (method, scale, dataset)
    ]


def score(results: Results, method: str, scale: Scale, dataset: str) -> Score | None:
    records = scored(results, method, scale, dataset)
    if not records:
        return None
    gains = [gain for r in records if (gain := over_bicubic_db(results, r)) is not None]
    return Score(
        psnr_db=mean([mean_psnr_db(record) for record in records]),
        ssim=mean([mean_ssim(record) for record in records]),
        over_bicubic_db=mean(gains) if gains else None,
    )


def setup_name(setup: Setup) -> str:
    """ "CPU, fused"."""
    device, formulation = setup
    return f"{device_name(device)}, {FORMULATIONS[formulation]}"


def device_name(device: str) -> str:
    """ "CPU"."""
    return _DEVICES.get(device, device)


def latency_ms(results: Results, network: str, scale: Scale, setup: Setup) -> Estimate | None:
    """Median of the samples with half their interquartile range."""
    record = results.latency.get((network, scale, *setup))
    return median(record.samples_ms) if record else None


def pictures_per_second(record: LatencyRecord) -> float:
    """By the median of its samples, each of a whole batch."""
    return record.batch * 1000 / median(record.samples_ms).value


def speedup(results: Results, family: Family, scale: Scale, setup: Setup) -> float | None:
    """How many times as fast the conversion runs as its baseline, by medians."""
    baseline = latency_ms(results, family.baseline, scale, setup)
    conversion = latency_ms(results, family.conversion, scale, setup)
    return baseline.value / conversion.value if baseline and conversion else None


def fused_gains(results: Results, network: str, scale: Scale, device: str) -> tuple[float, ...]:
    """How many times as fast the fused formulation ran as the other, forward beside forward.

    Empty where they did not take turns.
    """
    paper, fused = (results.latency.get((network, scale, device, form)) for form in FORMULATIONS)
    return paper.over(fused) if paper and fused else ()


def published_speedup(published: Published, family: Family) -> float | None:
    baseline = published.runtime_ms(family.baseline)
    conversion = published.runtime_ms(family.conversion)
    return baseline / conversion if baseline and conversion else None


def curve(results: Results, network: str, scale: Scale, quantity: Quantity) -> Curve | None:
    """What the seeds of a network logged; None where no step has the quantity in all logs."""
    return aligned(
        [
            training.log
            for training in results.training.values()
            if (training.record.run.network.name, training.record.run.scale) == (network, scale)
        ],
        quantity,
    )


def aligned(logs: Sequence[Sequence[LogLine]], quantity: Quantity) -> Curve | None:
    """Logs of several seeds as one curve, by step."""
    tables = [
        {line.step: line for line in log if getattr(line, quantity) is not None} for log in logs
    ]
    steps = sorted(set.intersection(*map(set, tables))) if tables else []
    if not steps:
        return None
    values = [[float(getattr(table[step], quantity)) for table in tables] for step in steps]
    return Curve(
        steps=tuple(steps),
        seconds=tuple(mean([table[step].seconds for table in tables]).value for step in steps),
        mean=tuple(mean(row).value for row in values),
        low=tuple(min(row) for row in values),
        high=tuple(max(row) for row in values),
    )


def reached_at(curve: Curve, target: float) -> int | None:
    """Position on the curve where its mean first reaches `target`."""
    return next((i for i, value in enumerate(curve.mean) if value >= target), None)
