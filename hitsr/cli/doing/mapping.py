"""Compute local attribution maps."""

import time

import torch

from hitsr.base.files import sha256
from hitsr.base.writers import sole_writer
from hitsr.cli.doing.building import build, explaining
from hitsr.cli.options import say
from hitsr.data.images import read_image
from hitsr.data.sources import pairs
from hitsr.measure.attribution_files import WindowTask, attribute
from hitsr.models.own import check_takes
from hitsr.plan.jobs import MapJob
from hitsr.plan.subjects import OwnNetwork
from hitsr.records import AttributionRecord, AttributionSettings
from hitsr.records.provenance import provenance
from hitsr.runtime.devices import pick_device
from hitsr.runtime.tensors import home_of


def map_windows(job: MapJob, threads: int, memory_bytes: int | None = None) -> AttributionRecord:
    """Map every window, and write the maps into the folder of the job's output."""
    subject = job.subject
    assert job.output is not None
    places = _places(job)  # before the network is built, so that a missing picture fails early
    started, settings = time.monotonic(), AttributionSettings(steps=job.steps)
    torch.set_num_threads(threads)
    weights, device = job.inputs.get("weights"), pick_device(job.device)
    model = build(subject, weights=weights).to(device)
    if isinstance(subject, OwnNetwork):
        check_takes(model, subject.source, subject.scale, map(_size, places))
    with sole_writer(job.output.parent, say), explaining(subject):
        windows, left_out = attribute(
            model,
            places,
            subject.scale,
            job.output.parent,
            settings,
            refine=job.refine,
            memory_bytes=memory_bytes,
        )
    return AttributionRecord(
        subject=subject.name,
        job_hash=job.hash,
        provenance=provenance(str(device), time.monotonic() - started),
        network=subject.network_name,
        scale=subject.scale,
        dataset=job.dataset,
        window_rule="given" if job.windows else "busiest",
        settings=settings,
        precision="float64" if home_of(model)[1] == torch.float64 else "float32",
        weights_sha256=sha256(weights) if weights else None,
        windows=windows,
        left_out=left_out,
    )


def _places(job: MapJob) -> list[WindowTask]:
    if job.windows:
        return [
            WindowTask(name, job.inputs[f"lr/{name}"], (x, y, side))
            for name, x, y, side in job.windows
        ]
    assert job.data is not None
    scale = job.subject.scale
    return [
        WindowTask(pair.name, pair.lr, side=job.side, crop=job.crop // scale)
        for pair in pairs(job.data, scale)
    ]


def _size(place: WindowTask) -> tuple[int, int]:
    """(height, width) of the picture, or part of it, that goes through the network."""
    height, width = read_image(place.lr).shape[:2]
    most = place.crop or max(height, width)
    return min(height, most), min(width, most)
