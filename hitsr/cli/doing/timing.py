"""Time forwards of networks in turns, and fit how times grow with sizes."""

import time
from collections.abc import Hashable, Iterator, Sequence
from functools import partial

import torch
from torch import nn

from hitsr import api
from hitsr.base.errors import HitsrError, RecordError
from hitsr.cli.doing.building import build
from hitsr.measure.complexity import input_size_for
from hitsr.measure.forwards import Work, explaining
from hitsr.measure.fresh import peak_memory
from hitsr.measure.latency import WarmUp, measure_each
from hitsr.models.fused.cuda.kernels import OF_MIXERS
from hitsr.plan.jobs import TimeGrowthJob, TimeJob
from hitsr.records import LatencyRecord, PeakMemory, Provenance, ScalingTimeRecord, Timing
from hitsr.records.latency import TRITON_KERNELS
from hitsr.records.provenance import provenance
from hitsr.runtime.devices import pick_device
from hitsr.specs.network import Kernel, kernel_of

# Modules that the processes which measure memory need besides torch.
_IMPORTED = ("hitsr.cli", "hitsr.cli.doing.building")

Outcome = LatencyRecord | HitsrError


def time_in_turns(jobs: Sequence[TimeJob], threads: int) -> Iterator[dict[str, Outcome]]:
    """Time the jobs; yield a dict of records, by name of the job, per group that took turns.

    Jobs with equal pictures, device and numbers of forwards take turns, in every formulation,
    precision and launch, so that their times can be compared as ratios of neighbouring forwards.
    A job that cannot run has its error in place of a record. Raises RecordError if a record of
    another device would be overwritten.
    """
    torch.set_num_threads(threads)
    for job in jobs:
        _refuse_another_device(job)
    alike: dict[Hashable, list[TimeJob]] = {}
    for job in jobs:
        work = _work(job)
        pictures = (work.input_size, work.batch, work.device)
        alike.setdefault((pictures, _warm_up(job), job.samples), []).append(job)
    for neighbours in alike.values():
        yield _timed(neighbours, threads)


def time_growth(job: TimeGrowthJob, threads: int) -> ScalingTimeRecord:
    """Time several sizes of windows, pictures or both, and fit the exponents."""
    subject, device, started = job.subject, pick_device(job.device), time.monotonic()
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    timers = {"window": api.times_over_windows, "picture": api.times_over_pictures}
    growths = {
        over: timers[over](
            subject.network,
            subject.scale,
            job.formulation,
            device,
            warmup=job.warmup,
            samples=job.samples,
        )
        for over in job.over
    }
    return ScalingTimeRecord(
        subject=subject.name,
        job_hash=job.hash,
        provenance=provenance(str(device), time.monotonic() - started),
        network=subject.network_name,
        scale=subject.scale,
        formulation=job.formulation,
        windows=growths.get("window"),
        pictures=growths.get("picture"),
    )


def _work(job: TimeJob) -> Work:
    return Work(
        input_size_for(job.output_size, job.subject.scale),
        pick_device(job.device),
        batch=job.batch,
        precision=job.precision,
        launch=job.launch,
        channels_last=job.channels_last,
    )


def _timed(jobs: Sequence[TimeJob], threads: int) -> dict[str, Outcome]:
    """Outcomes of jobs that take turns; memory is measured first, while most of it is free."""
    started, found = time.monotonic(), dict[str, Outcome]()
    peaks, works = dict[str, PeakMemory](), dict[str, tuple[nn.Module, Work]]()
    for job in jobs:
        work = _work(job)
        make = partial(build, job.subject, job.formulation)
        try:
            peaks[job.name] = peak_memory(make, work, threads, _IMPORTED)
            torch.manual_seed(0)  # the same weights in every formulation
            with explaining(work):
                works[job.name] = make(), work
        except HitsrError as error:
            found[job.name] = error
    if works:
        warmup, samples = _warm_up(jobs[0]), jobs[0].samples
        timings = measure_each(list(works.values()), warmup=warmup, samples=samples)
        # Divide the time among the records, so that their sum is the time spent.
        made = provenance(str(work.device), (time.monotonic() - started) / len(jobs))
        for job, timing in zip((job for job in jobs if job.name in works), timings, strict=True):
            found[job.name] = (
                timing
                if isinstance(timing, HitsrError)
                else _record(job, works[job.name][1], timing, peaks[job.name], made)
            )
    return {job.name: found[job.name] for job in jobs}


def _warm_up(job: TimeJob) -> WarmUp:
    return WarmUp(job.warmup, job.warmup_seconds)


def _record(
    job: TimeJob, work: Work, timing: Timing, peak: PeakMemory, made: Provenance
) -> LatencyRecord:
    return LatencyRecord(
        **timing.model_dump(),
        **peak.model_dump(),
        subject=job.subject.name,
        job_hash=job.hash,
        provenance=made,
        network=job.subject.network_name,
        scale=job.subject.scale,
        output_size=job.output_size,
        input_size=work.input_size,
        formulation=job.formulation,
        kernel=_kernel(job, work, timing),
    )


def _kernel(job: TimeJob, work: Work, timing: Timing) -> Kernel | None:
    """What computed the products of mixers; None for a network of the user's own."""
    spec, formulation = job.subject.spec, job.formulation
    if not spec or not formulation:
        return None
    if OF_MIXERS & {*timing.settings.get(TRITON_KERNELS, "").split(", ")}:
        return "Triton kernels"
    plain = work.precision == "float32" and work.launch != "compiled"
    return kernel_of(spec, formulation, in_tiles=plain and work.device.type == "cpu")


def _refuse_another_device(job: TimeJob) -> None:
    """Raise RecordError if the job's output is a record that was measured on another device."""
    if job.output is None or not job.output.exists():
        return
    name = provenance(str(pick_device(job.device)), 0).device_name
    earlier = LatencyRecord.load(job.output).provenance.device_name
    if earlier != name:
        raise RecordError(
            f"{job.output}: was measured on {earlier}, but this device is {name}; "
            "name another file or folder"
        )
