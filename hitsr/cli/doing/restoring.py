"""Upscale the LR pictures of a set. Loads torch only for networks."""

import time
from pathlib import Path
from typing import Literal

from hitsr.base.files import sha256
from hitsr.base.writers import sole_writer
from hitsr.cli.options import say
from hitsr.data.images import read_image
from hitsr.data.sources import pairs
from hitsr.plan.jobs import RestoreJob
from hitsr.plan.layout import Layout
from hitsr.plan.subjects import ControlMethod, OwnNetwork
from hitsr.records import RestoredRecord
from hitsr.records.provenance import provenance
from hitsr.upscaling.controls import restore_control


def restore(
    job: RestoreJob,
    threads: int,
    tile: int | Literal["auto"] = "auto",
    self_ensemble: bool = False,
    *,
    resume: bool = False,
) -> None:
    """Write one SR picture per LR picture of the set into the job's output, which is a folder.

    With `resume`, pictures that are there stay as they are, and a record says whose they are.
    """
    started = time.monotonic()
    device, files = _restored(job, threads, tile, self_ensemble, resume)
    if not resume:
        return
    assert job.output is not None
    weights = job.inputs.get("weights")
    RestoredRecord(
        subject=job.subject.name,
        job_hash=job.hash,
        provenance=provenance(device, time.monotonic() - started),
        dataset=job.dataset,
        scale=job.subject.scale,
        weights_sha256=sha256(weights) if weights else None,
        pictures={file.stem: sha256(file) for file in files},
    ).save(Layout.restored(job.output))


def _restored(
    job: RestoreJob,
    threads: int,
    tile: int | Literal["auto"],
    self_ensemble: bool,
    resume: bool,
) -> tuple[str, tuple[Path, ...]]:
    """Write the pictures; the device that made them, and their files."""
    subject = job.subject
    assert job.output is not None
    if isinstance(subject, ControlMethod):
        with sole_writer(job.output, say):
            return "cpu", restore_control(
                subject.network_name, job.data, subject.scale, job.output, resume=resume
            )
    import torch

    from hitsr.cli.doing.building import build, explaining
    from hitsr.models.own import check_takes
    from hitsr.runtime.devices import pick_device
    from hitsr.upscaling.inference import UpscaleOptions
    from hitsr.upscaling.restoration import restore as restore_set

    torch.set_num_threads(threads)
    device = pick_device(job.device)
    model = build(subject, weights=job.inputs.get("weights")).to(device)
    if isinstance(subject, OwnNetwork):
        sizes = [read_image(pair.lr).shape[:2] for pair in pairs(job.data, subject.scale)]
        check_takes(model, subject.source, subject.scale, sizes)
    with sole_writer(job.output, say), explaining(subject):
        return str(device), restore_set(
            model,
            job.data,
            subject.scale,
            job.output,
            UpscaleOptions(tile, self_ensemble),
            resume=resume,
        )
