"""Tidy tables of what was measured: one row per measurement, units in column names, CSV files.

A quantity that was not measured is an empty field. Quoted numbers join only in the report's copies,
in columns that say so.
"""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from hitsr.files import write_text
from hitsr.records import LatencyRecord
from hitsr.report.gather import Results, gather
from hitsr.report.measures import control, infinite_if_none, mean_psnr_db
from hitsr.report.names import method_of
from hitsr.report.published import PAPER_RUNTIME_SCALE, Published
from hitsr.report.statistics import mean, quartiles

Fields = dict[str, Any]  # one row: column -> text, number or None


def collect(results: Path) -> None:
    """Write `results`/tables/*.csv from the records of a results folder such as results/demo.

    RecordError for a damaged record; OSError where nothing can be written.
    """
    for name, frame in frames(gather(results)).items():
        write_text(results / "tables" / f"{name}.csv", to_csv(frame))


def frames(results: Results) -> dict[str, pd.DataFrame]:
    """All tables by name."""
    return {
        "efficiency": efficiency(results),
        "quality": quality(results),
        "quality_pictures": quality_pictures(results),
        "training": training(results),
    }


def to_csv(frame: pd.DataFrame) -> str:
    return str(frame.to_csv(index=False, lineterminator="\n"))


def efficiency(results: Results) -> pd.DataFrame:
    """Counts and latencies: one row per network, scale and latency setup, or one without any."""
    return _frame(_efficiency_rows(results), _EFFICIENCY)


def quality(results: Results) -> pd.DataFrame:
    """Means over pictures: one row per run and dataset."""
    return _frame(_quality_rows(results), _QUALITY)


def quality_pictures(results: Results) -> pd.DataFrame:
    rows = (
        {
            "method": method_of(run),
            "scale": record.scale,
            "run": run,
            "dataset": dataset,
            "picture": picture.name,
            "psnr_db": infinite_if_none(picture.psnr_db),
            "ssim": picture.ssim,
        }
        for (run, dataset), record in results.quality.items()
        for picture in record.pictures
    )
    return _frame(rows, ("method", "scale", "run", "dataset", "picture", "psnr_db", "ssim"))


def training(results: Results) -> pd.DataFrame:
    """One row per finished training run."""
    return _frame(_training_rows(results), _TRAINING)


def with_quotes(frame: pd.DataFrame, name: str, published: Published) -> pd.DataFrame:
    """Add what the paper prints beside each row of the efficiency or quality table."""
    if name == "efficiency":
        quotes = [_cost_quote(published, row) for row in frame.to_dict("records")]
        return frame.join(_frame(quotes, _COST_QUOTE))
    if name == "quality":
        quotes = [_quality_quote(published, row) for row in frame.to_dict("records")]
        return frame.join(_frame(quotes, _QUALITY_QUOTE))
    return frame


_LATENCY = (
    "device", "device_name", "threads", "formulation", "samples", "latency_median_ms",
    "latency_lower_quartile_ms", "latency_upper_quartile_ms", "peak_memory_bytes", "memory_kind",
)  # fmt: skip
_EFFICIENCY = (
    "network", "scale", "output_width_px", "output_height_px", "params", "flops", "counter",
    *_LATENCY,
)  # fmt: skip
_QUALITY = (
    "method", "scale", "run", "dataset", "pictures", "psnr_db", "ssim", "psnr_over_bicubic_db",
)  # fmt: skip
_TRAINING = (
    "run", "network", "scale", "seed", "params", "training_pictures", "steps", "batch", "patch_px",
    "learning_rate", "final_loss", "final_validation_psnr_db", "seconds", "device", "threads",
    "weights_sha256",
)  # fmt: skip
_WHOLE = {"params", "flops", "threads", "samples", "peak_memory_bytes"}  # where some are absent
_COST_QUOTE = ("params_paper_k", "flops_paper_g", "runtime_paper_a100_ms", "paper_source")
_QUALITY_QUOTE = ("psnr_paper_db", "ssim_paper", "paper_source")


def _efficiency_rows(results: Results) -> Iterator[Fields]:
    keys = {*results.complexity, *((network, scale) for network, scale, _, _ in results.latency)}
    for network, scale in sorted(keys):
        counted = results.complexity.get((network, scale))
        timed = [r for key, r in results.latency.items() if key[:2] == (network, scale)]
        measured = counted or timed[0]
        counts: Fields = {
            "network": network,
            "scale": scale,
            "output_width_px": measured.output_size[0],
            "output_height_px": measured.output_size[1],
            "params": counted.params if counted else None,
            "flops": counted.flops if counted else None,
            "counter": counted.counter if counted else None,
        }
        yield from (counts | _latency_fields(latency) for latency in timed)
        if not timed:
            yield counts


def _latency_fields(record: LatencyRecord) -> Fields:
    lower, middle, upper = quartiles(record.samples_ms)
    provenance = record.provenance
    values = (
        provenance.device, provenance.device_name, provenance.threads, record.formulation,
        len(record.samples_ms), middle, lower, upper, record.peak_memory_bytes, record.memory_kind,
    )  # fmt: skip
    return dict(zip(_LATENCY, values, strict=True))


def _quality_rows(results: Results) -> Iterator[Fields]:
    for (run, dataset), record in results.quality.items():
        bicubic, psnr_db = control(results, record.scale, dataset), mean_psnr_db(record)
        yield {
            "method": method_of(run),
            "scale": record.scale,
            "run": run,
            "dataset": dataset,
            "pictures": len(record.pictures),
            "psnr_db": psnr_db,
            "ssim": mean([picture.ssim for picture in record.pictures]).value,
            "psnr_over_bicubic_db": psnr_db - mean_psnr_db(bicubic) if bicubic else None,
        }


def _training_rows(results: Results) -> Iterator[Fields]:
    for name, trained in results.training.items():
        record, run = trained.record, trained.record.run
        yield {
            "run": name,
            "network": run.network.name,
            "scale": run.scale,
            "seed": run.seed,
            "params": record.params,
            "training_pictures": record.pictures,
            "steps": run.recipe.steps,
            "batch": run.recipe.batch,
            "patch_px": run.recipe.patch,
            "learning_rate": run.recipe.learning_rate,
            "final_loss": record.final_loss,
            "final_validation_psnr_db": record.final_validation_psnr_db,
            "seconds": record.provenance.seconds,
            "device": record.provenance.device,
            "threads": record.provenance.threads,
            "weights_sha256": record.weights_sha256,
        }


def _cost_quote(published: Published, row: Mapping[Any, Any]) -> Fields:
    quote = published.cost(row["network"], row["scale"])
    if quote is None:
        return {}
    runtime_ms = quote.runtime_ms if row["scale"] == PAPER_RUNTIME_SCALE else None
    values = (quote.params_k, quote.flops_g, runtime_ms, quote.source)
    return dict(zip(_COST_QUOTE, values, strict=True))


def _quality_quote(published: Published, row: Mapping[Any, Any]) -> Fields:
    quote = published.quality(row["method"], row["scale"], row["dataset"])
    if quote is None:
        return {}
    return dict(zip(_QUALITY_QUOTE, (quote.psnr_db, quote.ssim, quote.source), strict=True))


def _frame(rows: Iterable[Fields], columns: tuple[str, ...]) -> pd.DataFrame:
    """Keep whole numbers whole where some are absent."""
    frame = pd.DataFrame(list(rows), columns=list(columns))
    return frame.astype(dict.fromkeys(_WHOLE.intersection(frame.columns), "Int64"))
