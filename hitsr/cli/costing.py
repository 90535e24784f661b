"""Verbs about what networks cost: complexity, how it scales, and latency."""

import json
import time
from pathlib import Path
from typing import Annotated, Literal

import typer

from hitsr.cli import cost_tables
from hitsr.cli.options import (
    DeviceOption,
    JsonOption,
    NetworkArgument,
    OutFile,
    ScaleOption,
    SizeOption,
    ThreadsOption,
    deliver,
    scaled,
    size_of,
)
from hitsr.cli.subject import NameOption, Subject, SubjectArgument, subject
from hitsr.config import Dtype
from hitsr.errors import RecordError, SpecError
from hitsr.records import (
    ComplexityRecord,
    LatencyRecord,
    Provenance,
    ScalingRecord,
    Timing,
    latency_setup,
)
from hitsr.spec import Formulation, kernel_of

FormulationOption = Annotated[Formulation, typer.Option(help="as the paper writes it, or fused")]


def complexity(
    network: SubjectArgument,
    scale: ScaleOption = 2,
    name: NameOption = None,
    output_size: SizeOption = "1280x720",
    formulation: FormulationOption = "paper",
    counter: Annotated[
        Literal["torch", "fvcore"], typer.Option(help="same integer; fvcore itself takes minutes")
    ] = "torch",
    by: Annotated[
        Literal["module", "operator"] | None, typer.Option(help="print a table of the parts")
    ] = None,
    depth: Annotated[
        int, typer.Option(min=1, help="how deep modules are listed; 4 is down to blocks")
    ] = 4,
    out: OutFile = None,
    as_json: JsonOption = False,
) -> None:
    """Count parameters, FLOPs (as fvcore: multiply-accumulates), activations and their memory.

    A network of one's own has one formulation; operators that are not counted are listed.
    """
    measured, size = subject(network, scale, name), size_of(output_size)
    if counter == "fvcore" and formulation == "fused":
        raise SpecError("--counter fvcore sees no fused operators; use torch, or count the paper's")
    from hitsr import api
    from hitsr.measure.complexity import input_size_for
    from hitsr.provenance import provenance

    started = time.monotonic()
    counted = (
        api.complexity(
            measured.spec, measured.scale, size, counter=counter, formulation=formulation
        )
        if measured.spec
        else api.own_complexity(measured.model(), measured.scale, size, counter)
    )
    listed = (module for module in counted.modules if module.name.count(".") < depth)
    record = ComplexityRecord(
        **counted.model_copy(update={"modules": tuple(listed)}).model_dump(),
        subject=measured.name,
        subject_hash=measured.hash,
        provenance=provenance("cpu", time.monotonic() - started),
        network=measured.network,
        scale=measured.scale,
        output_size=size,
        input_size=input_size_for(size, measured.scale),
        formulation=formulation if measured.spec else None,
    )
    tables = {
        None: cost_tables.total,
        "module": cost_tables.by_module,
        "operator": cost_tables.by_operator,
    }
    deliver(record, out, as_json, tables[by](record))


def scaling(
    network: NetworkArgument,
    over: Annotated[Literal["window", "picture"], typer.Option(help="what grows")] = "window",
    at: Annotated[
        str | None, typer.Option(help="sides in LR pixels, three or more: 8,16,32")
    ] = None,
    scale: ScaleOption = 2,
    formulation: FormulationOption = "paper",
    out: OutFile = None,
    as_json: JsonOption = False,
) -> None:
    """Fit how FLOPs, activations and memory grow with the tokens of a window, or of the picture.

    Over windows it is the mixer of one block that is counted, at one picture for all sizes.
    """
    measured = scaled(network, scale)
    sides = None if at is None else _sides(at)
    from hitsr import api
    from hitsr.measure.scaling import PICTURES, fit_power_law, windows_of
    from hitsr.provenance import provenance

    started = time.monotonic()
    if over == "window":
        sides = sides or windows_of(measured.network)
        points = api.costs_over_windows(measured.network, measured.scale, sides, formulation)
    else:
        sides = sides or PICTURES
        points = api.costs_over_pictures(measured.network, measured.scale, sides, formulation)
    tokens = [point.tokens for point in points]
    record = ScalingRecord(
        subject=measured.name,
        subject_hash=measured.hash,
        provenance=provenance("cpu", time.monotonic() - started),
        network=measured.network.name,
        scale=measured.scale,
        formulation=formulation,
        over=over,
        points=points,
        flops=fit_power_law(tokens, [point.flops for point in points]),
        activations=fit_power_law(tokens, [point.activations for point in points]),
        peak_activation_bytes=fit_power_law(
            tokens, [point.peak_activation_bytes for point in points]
        ),
    )
    deliver(record, out, as_json, cost_tables.growth(record))


def latency(
    network: SubjectArgument,
    scale: ScaleOption = 4,
    name: NameOption = None,
    output_size: SizeOption = "1280x720",
    formulation: FormulationOption = "fused",
    device: DeviceOption = "auto",
    batch: Annotated[
        list[int] | None, typer.Option(min=1, help="pictures in one forward; again for more sizes")
    ] = None,
    dtype: Annotated[Dtype, typer.Option(help="of weights and pictures")] = "float32",
    channels_last: Annotated[
        bool, typer.Option(help="layout of pictures and convolutions' weights")
    ] = False,
    compiled: Annotated[bool, typer.Option("--compile", help="by torch.compile, timed apart")] = (
        False
    ),
    warmup: Annotated[
        int, typer.Option(min=0, help="most forwards before the first sample; fewer if 5 agree")
    ] = 10,
    samples: Annotated[int, typer.Option(min=1, help="timed forwards")] = 5,
    threads: ThreadsOption = 1,
    out: OutFile = None,
    out_dir: Annotated[
        Path | None, typer.Option(help="folder for records that name their own files")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Time single forwards, raw samples kept, with the peak memory above the resting process."""
    timed, size = subject(network, scale, name), size_of(output_size)
    form = formulation if timed.spec else None
    batches = list(dict.fromkeys(batch or [1]))
    if out and (out_dir or len(batches) > 1):
        raise SpecError("--out names the file of one record; for more give --out-dir alone")
    import torch

    from hitsr.devices import pick_device
    from hitsr.measure.complexity import input_size_for
    from hitsr.measure.latency import measure
    from hitsr.provenance import provenance

    place = pick_device(device)
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    model = timed.model(formulation)
    records = []
    for pictures in batches:
        setup = latency_setup(str(place), form, pictures, dtype, channels_last, compiled)
        file = out_dir / f"{timed.name}.{setup}.json" if out_dir else out
        if file:
            _refuse_another_device(file, provenance(str(place), 0).device_name)
        started = time.monotonic()
        measured = measure(
            model,
            input_size_for(size, timed.scale),
            place,
            warmup=warmup,
            samples=samples,
            batch=pictures,
            dtype=dtype,
            channels_last=channels_last,
            compiled=compiled,
        )
        took = provenance(str(place), time.monotonic() - started)
        record = _latency_record(timed, size, form, measured, took)
        if file:
            record.save(file)
        records.append(record)
        if not as_json:
            print(cost_tables.timed(record))
    if as_json:
        data = [record.model_dump(mode="json") for record in records]
        print(json.dumps(data if len(data) > 1 else data[0], indent=2))


def _latency_record(
    timed: Subject,
    output_size: tuple[int, int],
    formulation: Formulation | None,
    timing: Timing,
    made: Provenance,
) -> LatencyRecord:
    from hitsr.measure.complexity import input_size_for

    in_tiles = made.device == "cpu" and timing.dtype == "float32" and not timing.compiled
    kernel = kernel_of(timed.spec, formulation, in_tiles) if timed.spec and formulation else None
    return LatencyRecord(
        **timing.model_dump(),
        subject=timed.name,
        subject_hash=timed.hash,
        provenance=made,
        network=timed.network,
        scale=timed.scale,
        output_size=output_size,
        input_size=input_size_for(output_size, timed.scale),
        formulation=formulation,
        kernel=kernel,
    )


def _refuse_another_device(file: Path, device_name: str) -> None:
    """A record taken on one device must not be lost to a run on another."""
    if not file.exists():
        return
    earlier = LatencyRecord.load(file).provenance.device_name
    if earlier != device_name:
        raise RecordError(
            f"{file}: was measured on {earlier}, this is {device_name}; name another file or folder"
        )


def _sides(text: str) -> tuple[int, ...]:
    parts = text.split(",")
    if not all(part.strip().isdecimal() and int(part) for part in parts):
        raise SpecError(f"--at {text!r}: want sides in pixels, such as 8,16,32")
    sides = tuple(sorted({int(part) for part in parts}))
    if len(sides) < 3:
        raise SpecError(f"--at {text!r}: want three different sides or more, to fit an exponent")
    return sides
