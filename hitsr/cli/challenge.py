"""Verb that measures a network as the NTIRE challenge on efficient super-resolution does."""

from pathlib import Path
from typing import Annotated

import typer
from typer import Argument, Option

from hitsr.base.errors import SpecError
from hitsr.base.files import no_file
from hitsr.cli import options
from hitsr.cli.entries import entry
from hitsr.cli.options import deliver
from hitsr.cli.subject import built, filled
from hitsr.plan.jobs import NtireJob
from hitsr.records import NtireRecord


def ntire(
    context: typer.Context,
    network: Annotated[str, Argument(help=options.METHODS)],
    lr: Annotated[Path, Option(help="folder of LR pictures, of mixed sizes")],
    hr: Annotated[Path | None, Option(help="folder of HR pictures, to score PSNR")] = None,
    weights: options.MaybeWeights = None,
    name: options.NameOption = None,
    formulation: options.FormulationOption = "fused",
    device: options.DeviceOption = "auto",
    runs: Annotated[int, Option(min=1, help="passes over all pictures, each a new process")] = 5,
    baseline: Annotated[
        Path | None, Option(help="record of the challenge's baseline, for the scores")
    ] = None,
    threads: options.Threads = 1,
    out: options.OutFile = None,
    as_json: options.Json = False,
) -> None:
    """Predict an entry to the NTIRE challenge on efficient super-resolution, at x4.

    As its test code measures: every picture once, one pair of CUDA events each (elsewhere the wall
    clock), no warm-up, the mean over pictures and over five fresh processes; FLOPs and activations
    at 256x256; peak memory with weights; PSNR on RGB. Times of other devices than the challenge's
    are its only in proportion: measure the challenge's baseline too, and name its record.
    """
    subject = filled(network, 4, weights, name) if weights else built(network, None, 4, name)
    options.check_own(context, subject)
    if subject.scale != 4:
        raise SpecError(f"{network}: is x{subject.scale}, but the challenge is x4")
    if hr is not None and weights is None and subject.spec is not None:
        raise SpecError(f"{network}: PSNR needs --weights FILE; or leave out --hr")
    if baseline is not None and not baseline.is_file():
        raise SpecError(f"--baseline {no_file(baseline)}")
    job = NtireJob(
        name=subject.name,
        output=out,
        inputs={"weights": weights} if weights else {},
        subject=subject,
        lr=lr,
        hr=hr,
        formulation=formulation if subject.spec else None,
        device=device,
        runs=runs,
    )
    from hitsr.cli.doing import challenging

    reference = NtireRecord.load(baseline) if baseline else None
    record = challenging.challenge(job, threads)
    deliver(record, out, as_json, entry(record, reference))
