"""Tidy tables of what was measured: one row per measurement, units in column names, CSV files.

A quantity that was not measured is an empty field. Quoted numbers join only in the report's copies,
in columns that say so.
"""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TypeVar

import pandas as pd

from hitsr.base.files import write_text
from hitsr.records import (
    ComplexityRecord,
    LatencyRecord,
    ScalingRecord,
    ScalingTimeRecord,
    SizeCost,
    SizeTime,
    TrainingRecord,
    WindowAttribution,
)
from hitsr.report.gather import Results, gather
from hitsr.report.measures import (
    fused_gains,
    mean_psnr_db,
    mean_ssim,
    over_bicubic_db,
    pictures_per_second,
    psnr_db,
)
from hitsr.report.names import method_of
from hitsr.report.published import PAPER_RUNTIME_SCALE, Published
from hitsr.report.statistics import quartiles
from hitsr.specs.network import Formulation, Scale

T = TypeVar("T")
Columns = dict[str, Callable[[T], object]]  # name -> what stands there, made of one record

_PLACE: Columns[ComplexityRecord | LatencyRecord] = {
    "network": lambda record: record.network,
    "scale": lambda record: record.scale,
    "output_width_px": lambda record: record.output_size[0],
    "output_height_px": lambda record: record.output_size[1],
}
_COUNTS: Columns[ComplexityRecord] = {
    **_PLACE,
    "params": lambda record: record.params,
    "flops": lambda record: record.flops,
    "counter": lambda record: record.counter,
}
_TIMES: Columns[LatencyRecord] = {
    **_PLACE,
    "device": lambda record: record.provenance.device,
    "device_name": lambda record: record.provenance.device_name,
    "threads": lambda record: record.provenance.threads,
    "formulation": lambda record: record.formulation,
    "samples": lambda record: len(record.samples_ms),
    "latency_median_ms": lambda record: quartiles(record.samples_ms)[1],
    "latency_lower_quartile_ms": lambda record: quartiles(record.samples_ms)[0],
    "latency_upper_quartile_ms": lambda record: quartiles(record.samples_ms)[2],
    "peak_memory_bytes": lambda record: record.peak_memory_bytes,
    "memory_kind": lambda record: record.memory_kind,
}
_GAINS = ("gain_lower_quartile", "gain_median", "gain_upper_quartile")
_BATCHES: Columns[LatencyRecord] = {
    **_TIMES,
    "batch": lambda record: record.batch,
    "dtype": lambda record: record.dtype,
    "channels_last": lambda record: record.channels_last,
    "compiled": lambda record: record.compiled,
    "autocast": lambda record: record.autocast,
    "pictures_per_second": pictures_per_second,
}
_TRAINING: Columns[TrainingRecord] = {
    "run": lambda record: record.run.name,
    "network": lambda record: record.run.network.name,
    "scale": lambda record: record.run.scale,
    "seed": lambda record: record.run.seed,
    "params": lambda record: record.params,
    "training_pictures": lambda record: record.pictures,
    "steps": lambda record: record.run.recipe.steps,
    "batch": lambda record: record.run.recipe.batch,
    "patch_px": lambda record: record.run.recipe.patch,
    "learning_rate": lambda record: record.run.recipe.learning_rate,
    "final_loss": lambda record: record.final_loss,
    "final_validation_psnr_db": lambda record: record.final_validation_psnr_db,
    "seconds": lambda record: record.provenance.seconds,
    "device": lambda record: record.provenance.device,
    "threads": lambda record: record.provenance.threads,
    "weights_sha256": lambda record: record.weights_sha256,
}
_SCORED = ("method", "scale", "run", "dataset")
_QUALITY = (*_SCORED, "pictures", "psnr_db", "ssim", "psnr_over_bicubic_db")
_PICTURES = (*_SCORED, "picture", "psnr_db", "ssim")
_WINDOW: Columns[WindowAttribution] = {
    "picture": lambda window: window.picture,
    "window_x_px": lambda window: window.window[0],
    "window_y_px": lambda window: window.window[1],
    "window_side_px": lambda window: window.window[2],
    "diffusion_index": lambda window: window.diffusion_index,
    "information_area": lambda window: window.information_area,
    "completeness_error": lambda window: window.completeness_error,
    "refined_steps": lambda window: window.refined and window.refined.steps,
    "refined_diffusion_index": lambda window: window.refined and window.refined.diffusion_index,
    "refined_completeness_error": (
        lambda window: window.refined and window.refined.completeness_error
    ),
}
_GROWTH: Columns[ScalingRecord] = {
    "network": lambda record: record.network,
    "scale": lambda record: record.scale,
    "over": lambda record: record.over,
    "formulation": lambda record: record.formulation,
}
_POINT: Columns[SizeCost] = {
    "side_px": lambda point: point.side,
    "tokens": lambda point: point.tokens,
    "input_width_px": lambda point: point.input_size[0],
    "input_height_px": lambda point: point.input_size[1],
    "flops": lambda point: point.flops,
    "activations": lambda point: point.activations,
    "peak_activation_bytes": lambda point: point.peak_activation_bytes,
}
_GROWTH_TIME: Columns[ScalingTimeRecord] = {
    "network": lambda record: record.network,
    "scale": lambda record: record.scale,
    "formulation": lambda record: record.formulation,
    "device": lambda record: record.provenance.device,
    "device_name": lambda record: record.provenance.device_name,
    "threads": lambda record: record.provenance.threads,
}
_POINT_TIME: Columns[SizeTime] = {
    "side_px": lambda point: point.side,
    "tokens": lambda point: point.tokens,
    "input_width_px": lambda point: point.input_size[0],
    "input_height_px": lambda point: point.input_size[1],
    "samples": lambda point: len(point.samples_ms),
    "time_median_ms": lambda point: quartiles(point.samples_ms)[1],
    "time_lower_quartile_ms": lambda point: quartiles(point.samples_ms)[0],
    "time_upper_quartile_ms": lambda point: quartiles(point.samples_ms)[2],
}
# Whole numbers where some rows have none.
_WHOLE = {"params", "flops", "threads", "samples", "peak_memory_bytes", "batch", "refined_steps"}


def collect(results: Path) -> None:
    """Write `results`/tables/*.csv from the records of a results folder such as results/demo.

    RecordError for a damaged record; OSError where nothing can be written.
    """
    for name, frame in frames(gather(results)).items():
        write_text(results / "tables" / f"{name}.csv", to_csv(frame))


def frames(results: Results) -> dict[str, pd.DataFrame]:
    """All tables by name."""
    quality, pictures = [], []
    for (run, dataset), record in results.quality.items():
        place = (method_of(run), record.scale, run, dataset)
        gain_db = over_bicubic_db(results, record)
        means = (len(record.pictures), mean_psnr_db(record), mean_ssim(record), gain_db)
        quality.append(dict(zip(_QUALITY, place + means, strict=True)))
        for picture in record.pictures:
            scores = (picture.name, psnr_db(picture), picture.ssim)
            pictures.append(dict(zip(_PICTURES, place + scores, strict=True)))
    return {
        "efficiency": _efficiency(results),
        "quality": _frame(quality, _QUALITY),
        "quality_pictures": _frame(pictures, _PICTURES),
        "training": _frame([_fields(_TRAINING, r) for r in results.trainings], _TRAINING),
        "attribution": _attribution(results),
        "scaling": _scaling(results),
        "scaling_time": _scaling_time(results),
        "throughput": _frame([_fields(_BATCHES, r) for r in results.special], _BATCHES),
    }


def with_quotes(name: str, frame: pd.DataFrame, published: Published) -> pd.DataFrame:
    """The efficiency or quality table with what the paper prints beside each row."""
    if name == "efficiency":
        costs = [published.cost(*row) for row in zip(frame["network"], frame["scale"])]
        quoted = {
            "params_paper_k": [quote and quote.params_k for quote in costs],
            "flops_paper_g": [quote and quote.flops_g for quote in costs],
            "runtime_paper_a100_ms": [
                quote.runtime_ms if quote and scale == PAPER_RUNTIME_SCALE else None
                for quote, scale in zip(costs, frame["scale"])
            ],
            "paper_source": [quote and quote.source for quote in costs],
        }
    elif name == "quality":
        places = zip(frame["method"], frame["scale"], frame["dataset"])
        scores = [published.quality(*place) for place in places]
        quoted = {
            "psnr_paper_db": [quote and quote.psnr_db for quote in scores],
            "ssim_paper": [quote and quote.ssim for quote in scores],
            "paper_source": [quote and quote.source for quote in scores],
        }
    else:
        return frame
    return frame.join(pd.DataFrame(quoted))


def to_csv(frame: pd.DataFrame) -> str:
    return str(frame.to_csv(index=False, lineterminator="\n"))


def _efficiency(results: Results) -> pd.DataFrame:
    """One row per network, scale and latency setup, or one without any."""
    counts, times = results.complexity, results.latency
    rows = []
    for place in sorted({*counts, *((network, scale) for network, scale, _, _ in times)}):
        counted = _fields(_COUNTS, counts.get(place))
        timed = [
            _fields(_TIMES, record) | _gains(results, key)
            for key, record in times.items()
            if key[:2] == place
        ]
        rows += [counted | fields for fields in timed or [{}]]
    return _frame(rows, [*{**_COUNTS, **_TIMES}, *_GAINS])


def _gains(results: Results, key: tuple[str, Scale, str, Formulation]) -> dict[str, object]:
    """Of the fused formulation over the other, where both took turns."""
    network, scale, device, formulation = key
    gains = fused_gains(results, network, scale, device) if formulation == "fused" else ()
    return dict(zip(_GAINS, quartiles(gains))) if gains else {}


def _attribution(results: Results) -> pd.DataFrame:
    """One row per window."""
    rows = [
        dict(zip(_SCORED, (method_of(run), record.scale, run, dataset)))
        | {"steps": record.settings.steps}
        | _fields(_WINDOW, window)
        for (run, dataset), record in results.attribution.items()
        for window in record.windows
    ]
    return _frame(rows, [*_SCORED, "steps", *_WINDOW])


def _scaling(results: Results) -> pd.DataFrame:
    """One row per size."""
    rows = [
        _fields(_GROWTH, record) | _fields(_POINT, point)
        for record in results.scaling.values()
        for point in record.points
    ]
    return _frame(rows, [*_GROWTH, *_POINT])


def _scaling_time(results: Results) -> pd.DataFrame:
    """One row per size."""
    rows = [
        {"over": over} | _fields(_GROWTH_TIME, record) | _fields(_POINT_TIME, point)
        for record in results.scaling_time.values()
        for over, growth in (("window", record.windows), ("picture", record.pictures))
        if growth
        for point in growth.points
    ]
    return _frame(rows, ["over", *_GROWTH_TIME, *_POINT_TIME])


def _fields(columns: Columns[T], record: T | None) -> dict[str, object]:
    return {} if record is None else {name: make(record) for name, make in columns.items()}


def _frame(rows: Iterable[Mapping[str, object]], columns: Iterable[str]) -> pd.DataFrame:
    """Keep whole numbers whole where some are absent."""
    frame = pd.DataFrame(list(rows), columns=list(columns))
    return frame.astype(dict.fromkeys(_WHOLE.intersection(frame.columns), "Int64"))
