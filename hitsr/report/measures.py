"""What the report says about records: ratios, gains over bicubic, curves. Pure, None if absent."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from hitsr.config import Config
from hitsr.records import LogLine, QualityRecord
from hitsr.report.gather import Results
from hitsr.report.names import BICUBIC, Family, method_of
from hitsr.report.published import Published
from hitsr.report.statistics import Estimate, mean, median
from hitsr.spec import Formulation, Scale

Quantity = Literal["loss", "validation_psnr_db"]

_FORMULATIONS: dict[Formulation, str] = {"paper": "as published", "fused": "fused"}
_DEVICES = {"cpu": "CPU", "cuda": "GPU"}


@dataclass(frozen=True)
class Evidence:
    """All that a report is written from."""

    config: Config
    results: Results
    published: Published

    @property
    def latency_setups(self) -> list[tuple[str, Formulation]]:
        """Device and formulation of the latencies measured, in a fixed order."""
        return sorted({(device, form) for _, _, device, form in self.results.latency})

    def set_name(self, dataset: str) -> str:
        """One of the paper's test sets by its name, any other in quotes."""
        return dataset if self.published.has_dataset(dataset) else f"“{dataset}”"

    @property
    def figure_scale(self) -> Scale:
        """The scale of cost figures: the smallest with latencies, else the smallest counted."""
        measured = {scale for _, scale, _, _ in self.results.latency}
        return min(measured or set(self.config.efficiency.scales))


@dataclass(frozen=True)
class Score:
    """Mean PSNR and SSIM of a method on one dataset, over its seeds."""

    psnr_db: Estimate
    ssim: Estimate
    over_bicubic_db: Estimate | None  # None without the control
    seeds: int
    pictures: int


@dataclass(frozen=True)
class Curve:
    """A logged quantity over training: its mean and range over seeds at each common step."""

    steps: tuple[int, ...]
    seconds: tuple[float, ...]  # mean over seeds
    mean: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


def mean_psnr_db(record: QualityRecord) -> float:
    """Over pictures; infinite where one is identical to its HR."""
    return mean([infinite_if_none(picture.psnr_db) for picture in record.pictures]).value


def infinite_if_none(psnr_db: float | None) -> float:
    """Records say None where pictures are identical, because JSON has no infinity."""
    return float("inf") if psnr_db is None else psnr_db


def control(results: Results, scale: Scale, dataset: str) -> QualityRecord | None:
    return results.quality.get((f"{BICUBIC}-x{scale}", dataset))


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
    psnr_db = [mean_psnr_db(record) for record in records]
    bicubic = control(results, scale, dataset)
    gains = [value - mean_psnr_db(bicubic) for value in psnr_db] if bicubic else []
    return Score(
        psnr_db=mean(psnr_db),
        ssim=mean([mean([p.ssim for p in record.pictures]).value for record in records]),
        over_bicubic_db=mean(gains) if gains else None,
        seeds=len(records),
        pictures=len(records[0].pictures),
    )


def setup_name(setup: tuple[str, Formulation]) -> str:
    """ "CPU, fused"."""
    device, formulation = setup
    return f"{_DEVICES.get(device, device)}, {_FORMULATIONS[formulation]}"


def latency_ms(
    results: Results, network: str, scale: Scale, setup: tuple[str, Formulation]
) -> Estimate | None:
    """Median of the samples with half their interquartile range."""
    record = results.latency.get((network, scale, *setup))
    return median(record.samples_ms) if record else None


def speedup(
    results: Results, family: Family, scale: Scale, setup: tuple[str, Formulation]
) -> float | None:
    """How many times as fast the conversion runs as its baseline, by medians."""
    baseline = latency_ms(results, family.baseline, scale, setup)
    conversion = latency_ms(results, family.conversion, scale, setup)
    return baseline.value / conversion.value if baseline and conversion else None


def published_speedup(published: Published, family: Family) -> float | None:
    baseline = published.runtime_ms(family.baseline)
    conversion = published.runtime_ms(family.conversion)
    return baseline / conversion if baseline and conversion else None


def logs_of(results: Results, network: str, scale: Scale) -> list[tuple[LogLine, ...]]:
    return [
        training.log
        for training in results.training.values()
        if (training.record.run.network.name, training.record.run.scale) == (network, scale)
    ]


def curve(logs: Sequence[Sequence[LogLine]], quantity: Quantity) -> Curve | None:
    """Align the seeds of one network by step; None if no step has the quantity in all logs."""
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
