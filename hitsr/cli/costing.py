"""Verbs that count what networks cost: complexity, and how it scales."""

import time
from typing import Annotated, Literal

import typer

from hitsr.base.errors import SpecError
from hitsr.cli import cost_tables
from hitsr.cli.options import (
    FormulationOption,
    JsonOption,
    NetworkArgument,
    OutFile,
    ScaleOption,
    SizeOption,
    deliver,
    scaled,
    size_of,
)
from hitsr.cli.subject import NameOption, SubjectArgument, subject
from hitsr.records import ComplexityRecord, ScalingRecord


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
    from hitsr.records.provenance import provenance

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
    from hitsr.records.provenance import provenance

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


def _sides(text: str) -> tuple[int, ...]:
    parts = text.split(",")
    if not all(part.strip().isdecimal() and int(part) for part in parts):
        raise SpecError(f"--at {text!r}: want sides in pixels, such as 8,16,32")
    sides = tuple(sorted({int(part) for part in parts}))
    if len(sides) < 3:
        raise SpecError(f"--at {text!r}: want three different sides or more, to fit an exponent")
    return sides
