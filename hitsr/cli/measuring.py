"""Verbs that measure: quality of finished pictures, complexity and latency of networks."""

import time
from pathlib import Path
from typing import Annotated, Literal, cast

import typer

from hitsr.cli.options import (
    DeviceOption,
    JsonOption,
    NetworkArgument,
    OutFile,
    ScaleOption,
    SizeOption,
    ThreadsOption,
    check_scale,
    deliver,
    scaled,
    size_of,
)
from hitsr.config import RunSpec
from hitsr.records import ComplexityRecord, LatencyRecord, QualityRecord
from hitsr.spec import Formulation, Scale


def quality(
    sr: Annotated[Path, typer.Option(help="folder of finished SR pictures")],
    hr: Annotated[Path, typer.Option(help="folder of HR pictures")],
    scale: ScaleOption,
    run: Annotated[Path | None, typer.Option(help="the resolved run that made them")] = None,
    method: Annotated[str | None, typer.Option(help="what made them, if no run did")] = None,
    dataset: Annotated[str | None, typer.Option(help="name of the set, for the record")] = None,
    out: OutFile = None,
    as_json: JsonOption = False,
) -> None:
    """Score finished pictures: PSNR and SSIM on luma, `scale` pixels cut off each side."""
    from hitsr.measure.quality import SIGNATURES, score_folders
    from hitsr.provenance import provenance

    check_scale(scale)
    started = time.monotonic()
    spec = RunSpec.read(run) if run else None
    made_by = spec.network.name if spec else method or sr.name
    subject = spec.name if spec else f"{made_by}-x{scale}"
    scores = score_folders(sr, hr, scale)
    record = QualityRecord(
        subject=subject,
        subject_hash=spec.hash if spec else subject,
        provenance=provenance("cpu", time.monotonic() - started),
        method=made_by,
        dataset=dataset or hr.resolve().parent.name,
        scale=cast(Scale, scale),
        border=scale,
        signatures=SIGNATURES,
        pictures=scores,
    )
    deliver(record, out, as_json, _scores_table(record))


def complexity(
    network: NetworkArgument,
    scale: ScaleOption = 2,
    output_size: SizeOption = "1280x720",
    counter: Annotated[
        Literal["torch", "fvcore"], typer.Option(help="same integer; fvcore itself takes minutes")
    ] = "torch",
    out: OutFile = None,
    as_json: JsonOption = False,
) -> None:
    """Count parameters and FLOPs (as fvcore: multiply-accumulates) of the paper formulation."""
    from hitsr import api
    from hitsr.measure.complexity import input_size_for
    from hitsr.provenance import provenance

    subject, size = scaled(network, scale), size_of(output_size)
    started = time.monotonic()
    counted = api.complexity(subject.network, subject.scale, size, counter=counter)
    record = ComplexityRecord(
        subject=subject.name,
        subject_hash=subject.hash,
        provenance=provenance("cpu", time.monotonic() - started),
        network=subject.network.name,
        scale=subject.scale,
        output_size=size,
        input_size=input_size_for(size, subject.scale),
        formulation="paper",
        **counted.model_dump(),
    )
    text = f"{subject.name}: {record.params:,} parameters, {record.flops / 1e9:.2f} G FLOPs"
    deliver(record, out, as_json, f"{text} at {output_size} ({counter} counter)")


def latency(
    network: NetworkArgument,
    scale: ScaleOption = 4,
    output_size: SizeOption = "1280x720",
    formulation: Annotated[Formulation, typer.Option()] = "fused",
    device: DeviceOption = "auto",
    warmup: Annotated[int, typer.Option(min=0, help="forwards before the first sample")] = 1,
    samples: Annotated[int, typer.Option(min=1, help="timed forwards")] = 5,
    threads: ThreadsOption = 1,
    out: OutFile = None,
    as_json: JsonOption = False,
) -> None:
    """Time single forwards, raw samples kept, with the peak memory above the resting process."""
    import torch

    from hitsr.devices import pick_device
    from hitsr.measure.complexity import input_size_for
    from hitsr.measure.latency import measure
    from hitsr.models.backbone import create
    from hitsr.provenance import provenance

    subject, size = scaled(network, scale), size_of(output_size)
    started, place = time.monotonic(), pick_device(device)
    input_size = input_size_for(size, subject.scale)
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    model = create(subject.network, subject.scale, formulation=formulation)
    measured = measure(model, input_size, place, warmup=warmup, samples=samples)
    record = LatencyRecord(
        subject=subject.name,
        subject_hash=subject.hash,
        provenance=provenance(str(place), time.monotonic() - started),
        network=subject.network.name,
        scale=subject.scale,
        output_size=size,
        input_size=input_size,
        formulation=formulation,
        warmup=warmup,
        **measured.model_dump(),
    )
    middle = sorted(record.samples_ms)[len(record.samples_ms) // 2]
    text = f"{subject.name}: {middle:.1f} ms, median of {samples}, {formulation}, {place}"
    deliver(record, out, as_json, text)


def _scores_table(record: QualityRecord) -> str:
    rows = [
        f"{score.name:<24} {'identical' if score.psnr_db is None else f'{score.psnr_db:9.3f}'}"
        f" {score.ssim:8.4f}"
        for score in record.pictures
    ]
    finite = [score.psnr_db for score in record.pictures if score.psnr_db is not None]
    if len(finite) == len(record.pictures):
        mean_ssim = sum(score.ssim for score in record.pictures) / len(record.pictures)
        rows.append(f"{'mean':<24} {sum(finite) / len(finite):9.3f} {mean_ssim:8.4f}")
    return "\n".join([f"{'picture':<24} {'PSNR dB':>9} {'SSIM':>8}", *rows])
