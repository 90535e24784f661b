"""Verbs for local attribution: maps of one network (lam), and a sheet of several networks."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from typer import Argument, Option

from hitsr.base.errors import RecordError, SpecError
from hitsr.cli import options, tables
from hitsr.cli.options import deliver, from_files, given
from hitsr.cli.pinning import take_gpus
from hitsr.cli.sharing import make_folder
from hitsr.cli.subject import filled
from hitsr.plan.jobs import MapJob
from hitsr.records import AttributionRecord
from hitsr.specs.network import Scale

_GIB = 2**30
_Window = tuple[str, int, int, int]  # name of the LR picture; x, y, side in HR pixels


def lam(
    context: typer.Context,
    method: options.MethodArgument = None,
    scale: options.MaybeScale = None,
    out: Annotated[Path | None, Option(help="folder for record.json and the maps")] = None,
    weights: options.MaybeWeights = None,
    picture: Annotated[list[Path] | None, Option(help="LR picture; repeatable")] = None,
    window: Annotated[
        list[str] | None,
        Option(help="x,y,side in HR pixels: one per picture, or several in one picture"),
    ] = None,
    data: Annotated[
        Path | None,
        Option("--set", help="folder of a set: map the busiest window of each picture"),
    ] = None,
    side: Annotated[int, Option(min=2, help="with --set: side of the windows in HR pixels")] = 16,
    crop: Annotated[
        int,
        Option(min=0, help="with --set: side of the cut-out in HR pixels; 0: no cutting"),
    ] = 256,
    steps: Annotated[int, Option(min=1, help="steps of the integration path")] = 50,
    refine: Annotated[
        bool, Option("--refine", help="also refine the path to an error below 1 %")
    ] = False,
    memory_gib: Annotated[
        float | None,
        Option(min=0, help="memory of a batch; default: 0.6, on CUDA half of the free memory"),
    ] = None,
    name: options.NameOption = None,
    device: options.DeviceOption = "auto",
    threads: options.Threads = 1,
    as_json: options.Json = False,
    job: options.JobFile = None,
    along: options.Along = None,
    lease: options.Lease = None,
) -> None:
    """Map which pixels a window depends on (LAM): maps, diffusion index, completeness error.

    A picture of a set is cut around its busiest window: the one whose neighbouring LR pixels
    differ most (sum of squares). The default scale is that of the run's or network's file, else
    that in the weights' metadata.
    """
    jobs = from_files(context, job, MapJob)
    if not jobs:
        subject = filled(given(method, "METHOD"), scale, weights, name)
        if data and (picture or window):
            raise SpecError("--set chooses pictures and windows; leave out --picture and --window")
        if 0 < crop < side + subject.scale:
            raise SpecError(f"--crop {crop}: too small around a window of {side}")
        windows, pictures = ((), {}) if data else _named(picture or [], window or [], subject.scale)
        jobs = [
            MapJob(
                name=f"{subject.name}.{data.name}" if data else subject.name,
                inputs=pictures | ({"weights": weights} if weights else {}),
                output=given(out, "--out") / "record.json",
                subject=subject,
                dataset=data.name if data else None,
                data=data,
                windows=windows,
                side=side,
                crop=crop,
                steps=steps,
                refine=refine,
                device=device,
            )
        ]
    take_gpus(jobs[0].device, lease)
    memory_bytes = None if memory_gib is None else round(memory_gib * _GIB)

    def work(each: MapJob) -> None:
        from hitsr.cli.doing import mapping

        assert each.output is not None
        mapping.map_windows(each, threads, memory_bytes).save(each.output)

    if job:
        make_folder(jobs[0], work, along)
    else:
        work(jobs[0])
    assert jobs[0].output is not None
    record = AttributionRecord.load(jobs[0].output)
    deliver(record, None, as_json, tables.attribution(record))


def sheet(
    records: Annotated[list[Path], Argument(help="record.json files of `hitsr lam`")],
    out: Annotated[Path, Option(help="PNG file to write")],
) -> None:
    """Show attribution maps of several networks side by side, one row per window."""
    loaded = [AttributionRecord.load(path) for path in records]
    _check_alike(records, loaded)

    from hitsr.data.images import read_image, write_png
    from hitsr.measure.attribution_pictures import contact_sheet

    rows = list(zip(*(record.windows for record in loaded), strict=True))
    tiles = [
        [read_image(path.parent / each.overlay) for path, each in zip(records, row, strict=True)]
        for row in rows
    ]
    captions = [
        [
            f"{record.subject}, {each.picture}: DI {each.diffusion_index:.2f}"
            for record, each in zip(loaded, row, strict=True)
        ]
        for row in rows
    ]
    write_png(out, contact_sheet(tiles, captions))
    print(out)


def _named(
    pictures: list[Path], windows: list[str], scale: Scale
) -> tuple[tuple[_Window, ...], dict[str, Path]]:
    """The windows, checked to lie within their pictures, and the pictures as inputs of a job."""
    if not pictures or not windows:
        raise SpecError("name --picture LR.png and --window x,y,side, or --set FOLDER")
    if len(pictures) == 1:
        pictures = pictures * len(windows)
    if len(pictures) != len(windows):
        raise SpecError(
            f"{len(pictures)} pictures, {len(windows)} windows: give one window per picture, "
            "or one picture"
        )
    if len({path.stem for path in pictures}) < len(set(pictures)):
        raise SpecError("two pictures have the same name, after which maps are named; rename one")
    from hitsr.data.images import read_image

    found = list(dict.fromkeys(zip(pictures, map(_window, windows), strict=True)))
    for path, (x, y, side) in found:
        width, height = (length * scale for length in read_image(path).shape[1::-1])
        if x + side > width or y + side > height:
            raise SpecError(
                f"--window {x},{y},{side}: reaches outside {path}, whose SR is {width}x{height}"
            )
    return (
        tuple((path.stem, *window) for path, window in found),
        {f"lr/{path.stem}": path for path, _ in found},
    )


def _window(text: str) -> tuple[int, int, int]:
    parts = text.split(",")
    if len(parts) != 3 or not all(part.strip().isdecimal() for part in parts) or not int(parts[2]):
        raise SpecError(f"--window {text!r}: must be x,y,side in HR pixels, such as 120,30,16")
    x, y, side = map(int, parts)
    return x, y, side


def _check_alike(paths: list[Path], records: list[AttributionRecord]) -> None:
    """Maps can be compared only if pictures, windows and settings are equal; else RecordError."""

    def protocol(record: AttributionRecord) -> Iterator[object]:
        yield from (record.scale, record.settings)
        yield from ((each.lr_sha256, each.lr_size, each.window) for each in record.windows)

    first = list(protocol(records[0]))
    for path, record in zip(paths, records, strict=True):
        if list(protocol(record)) != first:
            raise RecordError(
                f"{path}: other pictures, windows or settings than {paths[0]}; "
                "rerun `hitsr lam` with equal ones"
            )
