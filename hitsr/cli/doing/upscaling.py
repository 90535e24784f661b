"""Upscale users' pictures with a network on a device."""

import os
from collections.abc import Sequence
from pathlib import Path

import torch
import typer

from hitsr.base.errors import SpecError
from hitsr.base.files import write_text
from hitsr.cli.doing.building import load
from hitsr.cli.options import say
from hitsr.models.backbone import SuperResolver
from hitsr.runtime.capture_rules import CaptureError
from hitsr.runtime.devices import pick_device
from hitsr.runtime.graphs import check_graphs
from hitsr.specs.config import Device
from hitsr.specs.network import ScaledNetwork
from hitsr.specs.steps import Launch
from hitsr.upscaling.files import upscale_bytes, upscale_files
from hitsr.upscaling.gallery import gallery
from hitsr.upscaling.inference import UpscaleOptions
from hitsr.upscaling.tasks import UpscaleTask

__all__ = ["UpscaleOptions", "load_on_device", "upscale_bytes", "upscale_tasks"]


def load_on_device(
    subject: ScaledNetwork,
    weights: Path,
    device: Device,
    threads: int,
    launch: Launch,
    autocast: bool,
) -> SuperResolver:
    """The network with its weights, on its device; CPU work will use `threads` threads.

    Raises SpecError for graphs on another device than CUDA.
    """
    torch.set_num_threads(threads)
    place = pick_device(device)
    if launch == "graph":
        try:
            check_graphs(place)
        except CaptureError as error:
            raise SpecError(f"--graph: {error}; leave it out") from error
    return load(subject, weights, launch, autocast).to(place)


def upscale_tasks(
    model: SuperResolver,
    tasks: Sequence[UpscaleTask],
    options: UpscaleOptions,
    overwrite: bool,
    page: Path | None,
    name: str,
) -> bool:
    """Upscale every picture, print finished files, write a gallery to `page`; False if one failed.

    Failures, and existing outputs that were kept, are reported on stderr. So are pictures that the
    gallery cannot show, which count as failures too.
    """
    outcomes = upscale_files(model, tasks, options, overwrite=overwrite)
    finished = [outcome.task for outcome in outcomes if outcome.state != "failed"]
    failed = [outcome.reason for outcome in outcomes if outcome.state == "failed"]
    kept = sum(outcome.state == "kept" for outcome in outcomes)
    for task in finished:
        typer.echo(os.fsencode(task.target))  # also names that are no UTF-8
    if kept:
        say(f"{kept} of {len(tasks)} existed and were kept; --overwrite replaces them")
    for reason in failed:
        say(f"hitsr: {reason}")
    if failed:
        say(f"{len(failed)} of {len(tasks)} pictures failed")
    unseen: list[str] = []
    if page and finished:  # after the failures, as there may be no room for it
        write_text(page, gallery(finished, f"Upscaled by {name}", tell=unseen.append))
        typer.echo(os.fsencode(page))
    for reason in unseen:
        say(f"hitsr: {reason}")
    return not failed and not unseen
