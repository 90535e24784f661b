"""Measure a network by the protocol of the NTIRE challenge."""

import time
from functools import partial

import torch

from hitsr.base.files import sha256
from hitsr.base.progress import Progress
from hitsr.cli.doing.building import build, explaining
from hitsr.data.images import read_image
from hitsr.measure.challenge import COUNTED_SIDE, pairs_of, run_once
from hitsr.measure.complexity import count, take_census
from hitsr.measure.fresh import in_fresh_process
from hitsr.measure.machine import machine_state
from hitsr.models.own import check_takes
from hitsr.plan.jobs import NtireJob
from hitsr.plan.subjects import OwnNetwork
from hitsr.records import EntryPicture, NtireRecord
from hitsr.records.provenance import provenance
from hitsr.runtime.devices import pick_device


def challenge(job: NtireJob, threads: int) -> NtireRecord:
    """Count the network, and run it over the pictures in one fresh process after another."""
    subject, device, started = job.subject, pick_device(job.device), time.monotonic()
    torch.set_num_threads(threads)
    pairs, weights = pairs_of(job.lr, job.hr), job.inputs.get("weights")
    pictures = tuple(
        EntryPicture(
            name=lr.stem,
            lr_size=read_image(lr).shape[1::-1],
            lr_sha256=sha256(lr),
            hr_sha256=sha256(hr) if hr else None,
        )
        for lr, hr in pairs
    )
    # FLOPs are those of the step-by-step formulation, whichever runs.
    counted_model = build(subject, "paper")
    size = (COUNTED_SIDE, COUNTED_SIDE)
    with explaining(subject):
        if isinstance(subject, OwnNetwork):
            sides = [(height, width) for width, height in (each.lr_size for each in pictures)]
            check_takes(counted_model, subject.source, subject.scale, sides)
        counted = count(counted_model, size, strict=not isinstance(subject, OwnNetwork))
        census = take_census(counted_model, size)
    before, runs = machine_state(device), []
    make = partial(build, subject, job.formulation, weights)
    with Progress(f"ntire, {len(pairs)} pictures", job.runs, "run") as progress:
        for _ in range(job.runs):
            done = in_fresh_process(run_once, make, pairs, device, threads, words=subject.name)
            runs.append(done)
            progress.advance()
    return NtireRecord(
        subject=subject.name,
        job_hash=job.hash,
        provenance=provenance(str(device), time.monotonic() - started),
        network=subject.network_name,
        formulation=job.formulation,
        weights_sha256=sha256(weights) if weights else None,
        params=counted.params,
        flops=counted.flops,
        unknown=counted.unknown,
        activations=census.convolved,
        convolutions=census.convolutions,
        pictures=pictures,
        runs=tuple(runs),
        before=before,
        after=machine_state(device),
    )
