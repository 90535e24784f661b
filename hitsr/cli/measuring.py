"""The verb that measures the quality of finished pictures."""

import time
from pathlib import Path
from statistics import fmean
from typing import Annotated, cast

import typer

from hitsr.cli.options import (
    DeviceOption,
    JsonOption,
    OutFile,
    ScaleOption,
    check_scale,
    deliver,
)
from hitsr.records import PictureScore, QualityRecord
from hitsr.specs.config import RunSpec
from hitsr.specs.network import Scale


def quality(
    sr: Annotated[Path, typer.Option(help="folder of finished SR pictures")],
    hr: Annotated[Path, typer.Option(help="folder of HR pictures")],
    scale: ScaleOption,
    metrics: Annotated[
        str, typer.Option(help="more metrics, by pyiqa's names: lpips,dists,ms_ssim,niqe")
    ] = "",
    lr: Annotated[str, typer.Option(help="what the LR was made by, for the signature")] = (
        "matlab-bicubic"
    ),
    run: Annotated[Path | None, typer.Option(help="the resolved run that made them")] = None,
    method: Annotated[str | None, typer.Option(help="what made them, if no run did")] = None,
    dataset: Annotated[str | None, typer.Option(help="name of the set, for the record")] = None,
    device: DeviceOption = "auto",
    out: OutFile = None,
    as_json: JsonOption = False,
) -> None:
    """Score finished pictures on luma and RGB, `scale` pixels cut off each side."""
    from hitsr.measure.quality import score_folders, signatures
    from hitsr.records.provenance import provenance

    check_scale(scale)
    started = time.monotonic()
    spec = RunSpec.read(run) if run else None
    made_by = spec.network.name if spec else method or sr.name
    subject = spec.name if spec else f"{made_by}-x{scale}"
    scores, taken, unavailable, place = {}, signatures(lr), {}, "cpu"
    if metrics:
        from hitsr.measure.perceptual import load_metrics
        from hitsr.runtime.devices import pick_device

        torch_device = pick_device(device)
        loaded = load_metrics(metrics.split(","), torch_device)
        scores, unavailable, place = loaded.scores, loaded.unavailable, str(torch_device)
        taken |= loaded.signatures
    pictures = score_folders(sr, hr, scale, scores)
    record = QualityRecord(
        subject=subject,
        subject_hash=spec.hash if spec else subject,
        provenance=provenance(place, time.monotonic() - started),
        method=made_by,
        dataset=dataset or hr.resolve().parent.name,
        scale=cast(Scale, scale),
        border=scale,
        signatures=taken,
        unavailable=unavailable,
        pictures=pictures,
    )
    deliver(record, out, as_json, _scores_table(record))


def _scores_table(record: QualityRecord) -> str:
    """One line per picture, and their mean where no picture is identical to its HR."""
    rows = {picture.name: _scores(picture) for picture in record.pictures}
    columns = list(next(iter(rows.values())))
    lines = [f"{'picture':<24}" + "".join(f" {column:>11}" for column in columns)]
    for name, row in rows.items():
        cells = ("identical" if score is None else f"{score:.4f}" for score in row.values())
        lines.append(f"{name:<24}" + "".join(f" {cell:>11}" for cell in cells))
    means = (_mean([row[column] for row in rows.values()]) for column in columns)
    lines.append(f"{'mean':<24}" + "".join(f" {mean:>11}" for mean in means))
    lines += [f"{name}: unavailable: {reason}" for name, reason in record.unavailable.items()]
    return "\n".join(lines)


def _mean(scores: list[float | None]) -> str:
    finite = [score for score in scores if score is not None]
    return f"{fmean(finite):.4f}" if len(finite) == len(scores) else "infinite"


def _scores(picture: PictureScore) -> dict[str, float | None]:
    rgb = picture.rgb
    assert rgb is not None  # `quality` has just measured it
    return {
        "PSNR Y dB": picture.psnr_db,
        "SSIM Y": picture.ssim,
        "PSNR RGB dB": rgb.psnr_db,
        "SSIM RGB": rgb.ssim,
        **picture.others,
    }
