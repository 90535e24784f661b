"""Count parameters, FLOPs and activations, and fit how they grow with sizes."""

import time

from hitsr import api
from hitsr.cli.doing.building import build, explaining
from hitsr.measure.complexity import FlopCounter, input_size_for
from hitsr.measure.scaling import PICTURES, fit_power_law, windows_of
from hitsr.plan.jobs import CountJob, GrowthJob
from hitsr.plan.subjects import OwnNetwork
from hitsr.records import ComplexityRecord, ScalingRecord
from hitsr.records.provenance import provenance

DEPTH = 4  # modules are listed down to blocks


def count(job: CountJob, counter: FlopCounter = "torch", depth: int = DEPTH) -> ComplexityRecord:
    """Count at one output size; modules are listed down to a depth of `depth`."""
    subject, started = job.subject, time.monotonic()
    if isinstance(subject, OwnNetwork):
        with explaining(subject):
            counted = api.own_complexity(build(subject), subject.scale, job.output_size, counter)
    else:
        assert job.formulation is not None
        counted = api.complexity(
            subject.network,
            subject.scale,
            job.output_size,
            counter=counter,
            formulation=job.formulation,
        )
    listed = (module for module in counted.modules if module.name.count(".") < depth)
    return ComplexityRecord(
        **counted.model_copy(update={"modules": tuple(listed)}).model_dump(),
        subject=subject.name,
        job_hash=job.hash,
        provenance=provenance("cpu", time.monotonic() - started),
        network=subject.network_name,
        scale=subject.scale,
        output_size=job.output_size,
        input_size=input_size_for(job.output_size, subject.scale),
        formulation=job.formulation,
    )


def grow(job: GrowthJob) -> ScalingRecord:
    """Count at several sizes of windows or pictures, and fit the exponents."""
    subject, started = job.subject, time.monotonic()
    network, scale = subject.network, subject.scale
    if job.over == "window":
        sides = job.sides or windows_of(network)
        points = api.costs_over_windows(network, scale, sides, job.formulation)
    else:
        points = api.costs_over_pictures(network, scale, job.sides or PICTURES, job.formulation)
    tokens = [point.tokens for point in points]
    return ScalingRecord(
        subject=subject.name,
        job_hash=job.hash,
        provenance=provenance("cpu", time.monotonic() - started),
        network=subject.network_name,
        scale=scale,
        formulation=job.formulation,
        over=job.over,
        points=points,
        flops=fit_power_law(tokens, [point.flops for point in points]),
        activations=fit_power_law(tokens, [point.activations for point in points]),
        peak_activation_bytes=fit_power_law(
            tokens, [point.peak_activation_bytes for point in points]
        ),
    )
