"""Verbs about how long networks take: latency, and how it scales."""

import json
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast, get_args

import typer

from hitsr.base.errors import RecordError, SpecError
from hitsr.cli import cost_tables
from hitsr.cli.options import (
    AutocastOption,
    CompileOption,
    DeviceOption,
    FormulationOption,
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
from hitsr.records import LatencyRecord, Over, ScalingTimeRecord, latency_setup
from hitsr.specs.config import Dtype
from hitsr.specs.network import Formulation, kernel_of

if TYPE_CHECKING:
    from hitsr.measure.forwards import Work


def latency(
    network: SubjectArgument,
    scale: ScaleOption = 4,
    name: NameOption = None,
    output_size: SizeOption = "1280x720",
    formulation: Annotated[
        str, typer.Option(help="paper, fused, or both, in turns: paper,fused")
    ] = "fused",
    device: DeviceOption = "auto",
    batch: Annotated[
        list[int] | None, typer.Option(min=1, help="pictures in one forward; again for more sizes")
    ] = None,
    dtype: Annotated[Dtype, typer.Option(help="of weights and pictures")] = "float32",
    channels_last: Annotated[
        bool, typer.Option(help="layout of pictures and convolutions' weights")
    ] = False,
    compiled: CompileOption = False,
    autocast: AutocastOption = False,
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
    """Time single forwards, raw samples kept, and their peak memory above the resting process.

    Both formulations take turns in one process, and the ratio is of neighbours. Memory is that of
    a fresh process for each.
    """
    timed, size = subject(network, scale, name), size_of(output_size)
    forms = _formulations(formulation) if timed.spec else (None,)
    batches = list(dict.fromkeys(batch or [1]))
    if out and (out_dir or len(batches) * len(forms) > 1):
        raise SpecError("--out names the file of one record; for more give --out-dir alone")
    import torch

    from hitsr.measure.complexity import input_size_for
    from hitsr.measure.forwards import Work
    from hitsr.records.provenance import provenance
    from hitsr.runtime.devices import pick_device

    place = pick_device(device)
    torch.set_num_threads(threads)
    work = Work(
        input_size_for(size, timed.scale),
        place,
        dtype=dtype,
        channels_last=channels_last,
        compiled=compiled,
        autocast=autocast,
    )
    records = []
    for pictures in batches:
        setups = [
            latency_setup(str(place), form, pictures, dtype, channels_last, compiled, autocast)
            for form in forms
        ]
        files = [out_dir / f"{timed.name}.{setup}.json" if out_dir else out for setup in setups]
        _refuse_another_device(files, provenance(str(place), 0).device_name)
        rows = _timed_in_turns(
            timed, forms, size, work._replace(batch=pictures), warmup, samples, threads
        )
        for record, file in zip(rows, files, strict=True):
            if file:
                record.save(file)
        records += rows
        if not as_json:
            print(cost_tables.side_by_side(rows))
    if as_json:
        data = [record.model_dump(mode="json") for record in records]
        print(json.dumps(data if len(data) > 1 else data[0], indent=2))


def scaling_time(
    network: NetworkArgument,
    scale: ScaleOption = 2,
    over: Annotated[Over | None, typer.Option(help="what grows; by default both")] = None,
    formulation: FormulationOption = "fused",
    device: DeviceOption = "auto",
    warmup: Annotated[int, typer.Option(min=0, help="forwards at each size before samples")] = 1,
    samples: Annotated[int, typer.Option(min=1, help="timed forwards at each size")] = 3,
    threads: ThreadsOption = 1,
    out: OutFile = None,
    as_json: JsonOption = False,
) -> None:
    """Fit how time grows with the tokens of a window, or of the picture; raw samples are kept.

    Over windows it is the mixer of one block that is timed, at one picture. Sizes take turns.
    """
    measured = scaled(network, scale)
    import torch

    from hitsr import api
    from hitsr.records.provenance import provenance
    from hitsr.runtime.devices import pick_device

    place = pick_device(device)
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    started = time.monotonic()
    timers = {"window": api.times_over_windows, "picture": api.times_over_pictures}
    growths = {
        what: timers[what](
            measured.network, measured.scale, formulation, place, warmup=warmup, samples=samples
        )
        for what in ([over] if over else timers)
    }
    record = ScalingTimeRecord(
        subject=measured.name,
        subject_hash=measured.hash,
        provenance=provenance(str(place), time.monotonic() - started),
        network=measured.network.name,
        scale=measured.scale,
        formulation=formulation,
        windows=growths.get("window"),
        pictures=growths.get("picture"),
    )
    deliver(record, out, as_json, cost_tables.time_growth(record))


def _formulations(text: str) -> tuple[Formulation, ...]:
    """As listed, each once."""
    known = get_args(Formulation)
    parts = tuple(dict.fromkeys(part.strip() for part in text.split(",")))
    for part in parts:
        if part not in known:
            raise SpecError(
                f"--formulation {text!r}: want {' or '.join(known)}, or both; got {part!r}"
            )
    return cast(tuple[Formulation, ...], parts)


def _timed_in_turns(
    timed: Subject,
    forms: Sequence[Formulation | None],
    output_size: tuple[int, int],
    work: "Work",
    warmup: int,
    samples: int,
    threads: int,
) -> list[LatencyRecord]:
    """A record of each formulation, with the same weights; memory first, while there is most."""
    import torch

    from hitsr.measure.fresh import peak_in_fresh_process
    from hitsr.measure.latency import measure
    from hitsr.records.provenance import provenance

    started = time.monotonic()
    makers = [partial(timed.model, form or "fused") for form in forms]
    peaks = [peak_in_fresh_process(make, work, threads) for make in makers]
    models = []
    for make in makers:
        torch.manual_seed(0)
        models.append(make())
    timings = measure(models, work, warmup=warmup, samples=samples)
    plain = work.dtype == "float32" and not (work.compiled or work.autocast)
    in_tiles = plain and work.device.type == "cpu"
    # Each record's share, so that what all records took adds up.
    made = provenance(str(work.device), (time.monotonic() - started) / len(forms))
    return [
        LatencyRecord(
            **timing.model_dump(),
            **peak.model_dump(),
            subject=timed.name,
            subject_hash=timed.hash,
            provenance=made,
            network=timed.network,
            scale=timed.scale,
            output_size=output_size,
            input_size=work.input_size,
            formulation=form,
            kernel=kernel_of(timed.spec, form, in_tiles) if timed.spec and form else None,
        )
        for form, timing, peak in zip(forms, timings, peaks, strict=True)
    ]


def _refuse_another_device(files: Sequence[Path | None], device_name: str) -> None:
    """A record taken on one device must not be lost to a run on another."""
    for file in files:
        if file is None or not file.exists():
            continue
        earlier = LatencyRecord.load(file).provenance.device_name
        if earlier != device_name:
            raise RecordError(
                f"{file}: was measured on {earlier}, this is {device_name}; "
                "name another file or folder"
            )
