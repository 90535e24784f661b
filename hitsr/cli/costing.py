"""Verbs that measure what networks cost: complexity, latency, and how both grow with sizes."""

from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import typer
from typer import Option

from hitsr.base.errors import SpecError
from hitsr.cli import options, tables
from hitsr.cli.measuring import Outcomes, measure, one_by_one
from hitsr.cli.options import from_files, given
from hitsr.cli.pinning import take_gpus
from hitsr.cli.subject import built, scaled
from hitsr.plan.batches import time_name
from hitsr.plan.jobs import CountJob, GrowthJob, TimeGrowthJob, TimeJob, UsedDevice, device_kind
from hitsr.records import ComplexityRecord, LatencyRecord, ScalingRecord, ScalingTimeRecord
from hitsr.specs.config import Device, Over
from hitsr.specs.network import Formulation
from hitsr.specs.steps import STEPS, Launch, Precision

_PRECISION = (
    "float32, tf32, float16, bfloat16 (weights and pictures too), autocast (products in bfloat16), "
    "or several that take turns: float32,float16"
)
_LAUNCH = (
    "eager, compiled (by torch.compile), graph (one CUDA graph), or several that take turns: "
    "eager,graph"
)
_TAKEN_APART = "time every step from the released code to the fastest forward on this device"
_OF_STEPS = ("formulation", "precision", "launch", "compiled", "graph")


def complexity(
    context: typer.Context,
    network: options.SubjectArgument = None,
    scale: options.MaybeScale = None,
    name: options.NameOption = None,
    output_size: options.OutputSize = "1280x720",
    formulation: options.FormulationOption = "paper",
    counter: Annotated[
        Literal["torch", "fvcore"],
        Option(help="both give the same count; torch takes seconds, fvcore minutes"),
    ] = "torch",
    by: Annotated[
        Literal["module", "operator"] | None, Option(help="print a table of the parts")
    ] = None,
    depth: Annotated[
        int, Option(min=1, help="depth of the listed modules; 4 lists down to blocks")
    ] = 4,
    out: options.OutFile = None,
    as_json: options.Json = False,
    job: options.JobFiles = None,
    along: options.Along = None,
) -> None:
    """Count parameters, FLOPs (multiply-accumulates, as fvcore counts), activations, memory.

    The default scale is the one in the network's file, else 2. Your own network has only one
    formulation; operators that cannot be counted are listed.
    """
    jobs = from_files(context, job, CountJob)
    if not jobs:
        subject = built(given(network, "NETWORK"), scale, 2, name)
        options.check_own(context, subject)
        if counter == "fvcore" and formulation == "fused":
            raise SpecError(
                "--counter fvcore cannot count fused operators; use --counter torch, or "
                "--formulation paper"
            )
        jobs = [
            CountJob(
                name=subject.name,
                output=out,
                subject=subject,
                output_size=options.size_of(output_size),
                formulation=formulation if subject.spec else None,
            )
        ]

    def work(those: Sequence[CountJob]) -> Outcomes[ComplexityRecord]:
        from hitsr.cli.doing import counting

        return one_by_one(those, lambda each: counting.count(each, counter, depth))

    table = {None: tables.total, "module": tables.by_module, "operator": tables.by_operator}[by]
    measure(
        jobs,
        ComplexityRecord,
        work,
        lambda records: "\n".join(map(table, records.values())),
        resumes=bool(job),
        as_json=as_json,
        along=along,
    )


def scaling(
    context: typer.Context,
    network: options.NetworkArgument = None,
    over: Annotated[Over, Option(help="what grows")] = "window",
    at: Annotated[
        str | None, Option(help="three or more sides in LR pixels, such as 8,16,32")
    ] = None,
    scale: options.MaybeScale = None,
    formulation: options.FormulationOption = "paper",
    out: options.OutFile = None,
    as_json: options.Json = False,
    job: options.JobFiles = None,
    along: options.Along = None,
) -> None:
    """Fit how FLOPs, activations and memory grow with the tokens of a window or of the picture.

    The default scale is the one in the network's file, else 2. `--over window` counts the mixer of
    one block, on one picture for all window sizes.
    """
    jobs = from_files(context, job, GrowthJob)
    if not jobs:
        subject = scaled(given(network, "NETWORK"), scale, 2)
        jobs = [
            GrowthJob(
                name=f"{subject.name}.{over}",
                output=out,
                subject=subject,
                over=over,
                sides=() if at is None else _sides(at),
                formulation=formulation,
            )
        ]

    def work(those: Sequence[GrowthJob]) -> Outcomes[ScalingRecord]:
        from hitsr.cli.doing import counting

        return one_by_one(those, counting.grow)

    measure(
        jobs,
        ScalingRecord,
        work,
        lambda records: "\n".join(map(tables.growth, records.values())),
        resumes=bool(job),
        as_json=as_json,
        along=along,
    )


def latency(
    context: typer.Context,
    network: options.SubjectArgument = None,
    scale: options.MaybeScale = None,
    name: options.NameOption = None,
    output_size: options.OutputSize = "1280x720",
    formulation: Annotated[
        str, Option(help="one formulation, or several that take turns: released,paper,fused")
    ] = "fused",
    device: options.DeviceOption = "auto",
    batch: Annotated[
        list[int] | None, Option(min=1, help="pictures in one forward; repeatable")
    ] = None,
    precision: Annotated[str, Option(help=_PRECISION)] = "float32",
    launch: Annotated[str, Option(help=_LAUNCH)] = "eager",
    channels_last: Annotated[
        bool, Option(help="memory layout of pictures and convolution weights")
    ] = False,
    compiled: Annotated[bool, Option("--compile", help="short for --launch compiled")] = False,
    graph: Annotated[bool, Option("--graph", help="short for --launch graph")] = False,
    taken_apart: Annotated[bool, Option("--taken-apart", help=_TAKEN_APART)] = False,
    warmup: Annotated[
        int, Option(min=0, help="most warm-up forwards; ends early once times agree; 0: none")
    ] = 10,
    warmup_seconds: Annotated[
        float | None,
        Option(
            min=0,
            max=3600,
            help="warm up longer, until a network's forwards took this; default: 10 on a GPU, of "
            "which 1 at least, and 0 on a CPU",
        ),
    ] = None,
    samples: Annotated[int, Option(min=1, help="timed forwards")] = 5,
    threads: options.Threads = 1,
    out: options.OutFile = None,
    out_dir: Annotated[
        Path | None, Option(help="write records to this folder, named after their jobs")
    ] = None,
    as_json: options.Json = False,
    job: options.JobFiles = None,
    along: options.Along = None,
    lease: options.Lease = None,
) -> None:
    """Time single forwards, keep every sample, and measure peak memory above that at rest.

    The default scale is the one in the network's file, else 2. All networks, formulations,
    precisions and launches take turns in one process; speed-ups are ratios of neighbouring
    forwards. Memory is measured in a fresh process for each, on CUDA by torch's allocator. Exit
    status 1 if any of them cannot run; the others are still recorded.
    """
    jobs = from_files(context, job, TimeJob)
    if not jobs:
        subject = built(given(network, "NETWORK"), scale, 2, name)
        options.check_own(context, subject)
        if taken_apart and not subject.spec:
            raise SpecError("--taken-apart: your own network has one formulation; leave it out")
        if taken_apart:
            options.leave_out(context, _OF_STEPS, "--taken-apart: it times the steps of the device")
        size = options.size_of(output_size)
        batches = dict.fromkeys(batch or [1])
        steps: Sequence[tuple[Any, Any, Any]] = list(
            product(
                _listed(formulation, Formulation, "--formulation") if subject.spec else (None,),
                _listed(precision, Precision, "--precision"),
                _launches(launch, compiled, graph),
            )
        )
        if out and (out_dir or taken_apart or len(batches) * len(steps) > 1):
            raise SpecError("--out names the file of one record; for more give --out-dir alone")
        used = _used(device)
        if taken_apart:
            steps = STEPS[device_kind(used)]
        for pictures, (form, precise, launched) in product(batches, steps):
            made = TimeJob(
                name="",
                output=out,
                subject=subject,
                output_size=size,
                device=used,
                formulation=form,
                batch=pictures,
                precision=precise,
                launch=launched,
                channels_last=channels_last,
                warmup=warmup,
                warmup_seconds=warmup_seconds,
                samples=samples,
            )
            called = time_name(made)
            file = out_dir / f"{called}.json" if out_dir else out
            jobs.append(made.model_copy(update={"name": called, "output": file}))

    take_gpus(jobs[0].device, lease)

    def work(those: Sequence[TimeJob]) -> Outcomes[LatencyRecord]:
        from hitsr.cli.doing import timing

        return timing.time_in_turns(those, threads)

    measure(
        jobs,
        LatencyRecord,
        work,
        tables.side_by_side,
        resumes=bool(job),
        as_json=as_json,
        threads=threads,
        along=along,
    )


def scaling_time(
    context: typer.Context,
    network: options.NetworkArgument = None,
    scale: options.MaybeScale = None,
    over: Annotated[Over | None, Option(help="what grows; default: both")] = None,
    formulation: options.FormulationOption = "fused",
    device: options.DeviceOption = "auto",
    warmup: Annotated[int, Option(min=0, help="warm-up forwards at each size")] = 1,
    samples: Annotated[int, Option(min=1, help="timed forwards at each size")] = 3,
    threads: options.Threads = 1,
    out: options.OutFile = None,
    as_json: options.Json = False,
    job: options.JobFiles = None,
    along: options.Along = None,
    lease: options.Lease = None,
) -> None:
    """Fit how time grows with the tokens of a window or of the picture; keep every sample.

    The default scale is the one in the network's file, else 2. `--over window` times the mixer of
    one block, on one picture for all window sizes. Sizes take turns.
    """
    jobs = from_files(context, job, TimeGrowthJob)
    if not jobs:
        subject, used = scaled(given(network, "NETWORK"), scale, 2), _used(device)
        jobs = [
            TimeGrowthJob(
                name=f"{subject.name}.{used}.{formulation}",
                output=out,
                subject=subject,
                over=(over,) if over else get_args(Over),
                formulation=formulation,
                device=used,
                warmup=warmup,
                samples=samples,
            )
        ]

    take_gpus(jobs[0].device, lease)

    def work(those: Sequence[TimeGrowthJob]) -> Outcomes[ScalingTimeRecord]:
        from hitsr.cli.doing import timing

        return one_by_one(those, lambda each: timing.time_growth(each, threads))

    measure(
        jobs,
        ScalingTimeRecord,
        work,
        lambda records: "\n".join(map(tables.time_growth, records.values())),
        resumes=bool(job),
        as_json=as_json,
        threads=threads,
        along=along,
    )


def _used(device: Device) -> UsedDevice:
    """The device that `device` stands for here; SpecError if torch finds no such device."""
    from hitsr.runtime.devices import pick_device

    found = pick_device(device)
    return found.type if device == "auto" else device


def _launches(text: str, compiled: bool, graph: bool) -> tuple[Launch, ...]:
    """What --launch lists, or its short forms."""
    short = [name for name, is_on in (("compiled", compiled), ("graph", graph)) if is_on]
    if short and text != "eager":
        raise SpecError(f"--launch {text}: give it alone, without --compile and --graph")
    return _listed(",".join(short) or text, Launch, "--launch")


def _listed(text: str, known: Any, option: str) -> tuple[Any, ...]:
    """The listed members of a Literal in order, without repetitions."""
    names = get_args(known)
    parts = tuple(dict.fromkeys(part.strip() for part in text.split(",")))
    for part in parts:
        if part not in names:
            raise SpecError(
                f"{option} {text!r}: must be {' or '.join(names)}, or several; got {part!r}"
            )
    return parts


def _sides(text: str) -> tuple[int, ...]:
    parts = text.split(",")
    if not all(part.strip().isdecimal() and int(part) for part in parts):
        raise SpecError(f"--at {text!r}: must be sides in pixels, such as 8,16,32")
    sides = tuple(sorted({int(part) for part in parts}))
    if len(sides) < 3:
        raise SpecError(f"--at {text!r}: an exponent needs three different sides or more")
    return sides
