"""Verbs about local attribution: maps of one network (lam), and those of several on one sheet."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, cast

import typer

from hitsr.base.errors import RecordError, SpecError
from hitsr.cli.options import (
    DeviceOption,
    JsonOption,
    ScaleOption,
    ThreadsOption,
    check_scale,
    deliver,
)
from hitsr.cli.subject import NameOption, subject
from hitsr.records import AttributionRecord, AttributionSettings
from hitsr.specs.network import Scale

_GIB = 2**30
_Place = tuple[str, Path, tuple[int, int, int] | None]  # name, LR picture, window in HR pixels


def lam(
    method: Annotated[
        str,
        typer.Argument(
            help="a resolved run's file; a network's name; file.py:function of your own"
        ),
    ],
    scale: ScaleOption,
    out: Annotated[Path, typer.Option(help="folder for record.json and the maps")],
    weights: Annotated[Path | None, typer.Option(help="of a run, or of a named network")] = None,
    picture: Annotated[list[Path] | None, typer.Option(help="LR picture; repeat for more")] = None,
    window: Annotated[
        list[str] | None,
        typer.Option(help="x,y,side in HR pixels: one per picture, or several of one picture"),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option("--set", help="folder of one set of pairs, instead: its busiest windows"),
    ] = None,
    side: Annotated[int, typer.Option(min=2, help="of a set's windows, in HR pixels")] = 16,
    crop: Annotated[
        int, typer.Option(min=0, help="side of a set's pictures, in HR pixels; 0 keeps them whole")
    ] = 256,
    steps: Annotated[int, typer.Option(min=1, help="of the path")] = 50,
    refine: Annotated[
        bool, typer.Option("--refine", help="also refine the path to an error below 1 %")
    ] = False,
    memory_gib: Annotated[
        float | None, typer.Option(min=0, help="for a batch; by default 2, on CUDA half the free")
    ] = None,
    name: NameOption = None,
    device: DeviceOption = "auto",
    threads: ThreadsOption = 1,
    as_json: JsonOption = False,
) -> None:
    """Map what windows draw on (LAM): diffusion index, completeness error, and pictures.

    A set's pictures are cut to one size around their busiest window: the one whose LR pixels differ
    most from the next ones (sum of squares).
    """
    check_scale(scale)
    measured = subject(method, scale, name)
    if measured.spec is not None and weights is None:
        raise SpecError(f"{method}: needs --weights FILE")
    if weights is not None and not weights.is_file():
        raise SpecError(f"{weights}: no such file")
    if data and (picture or window):
        raise SpecError("--set chooses pictures and windows; leave out --picture and --window")
    if 0 < crop < side + scale:
        raise SpecError(f"--crop {crop}: too small around a window of {side}")
    places = _of_set(data, scale) if data else _given(picture or [], window or [], scale)

    import torch

    from hitsr.base.files import sha256
    from hitsr.measure.attribution_files import Place, attribute
    from hitsr.records.provenance import provenance
    from hitsr.runtime.devices import pick_device

    started, settings = time.monotonic(), AttributionSettings(steps=steps)
    torch.set_num_threads(threads)
    windows = attribute(
        measured.model(weights=weights).to(pick_device(device)),
        [Place(*place, side=side, crop=crop // scale if data else 0) for place in places],
        scale,
        out,
        settings,
        refine=refine,
        memory_bytes=None if memory_gib is None else round(memory_gib * _GIB),
    )
    record = AttributionRecord(
        subject=measured.name,
        subject_hash=measured.hash,
        provenance=provenance(str(pick_device(device)), time.monotonic() - started),
        network=measured.network,
        scale=cast(Scale, scale),
        dataset=data.name if data else None,
        window_rule="busiest" if data else "given",
        settings=settings,
        weights_sha256=sha256(weights) if weights else None,
        windows=windows,
    )
    deliver(record, out / "record.json", as_json, _table(record))


def sheet(
    records: Annotated[list[Path], typer.Argument(help="record.json files of `hitsr lam`")],
    out: Annotated[Path, typer.Option(help="PNG to write")],
) -> None:
    """Lay the attribution maps of several networks side by side, a row per window."""
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


def _given(pictures: list[Path], windows: list[str], scale: int) -> list[_Place]:
    """Pictures with their windows, each checked to lie within."""
    if not pictures or not windows:
        raise SpecError("name --picture LR.png and --window x,y,side, or --set FOLDER")
    if len(pictures) == 1:
        pictures = pictures * len(windows)
    if len(pictures) != len(windows):
        raise SpecError(
            f"{len(pictures)} pictures, {len(windows)} windows: want one window per picture, "
            "or one picture"
        )
    if len({path.stem for path in pictures}) < len(set(pictures)):
        raise SpecError("two pictures share a name; the maps are named after it: rename one")
    found = list(zip(pictures, map(_window, windows), strict=True))
    for path, (x, y, side) in found:
        width, height = (length * scale for length in _picture_size(path))
        if x + side > width or y + side > height:
            raise SpecError(
                f"--window {x},{y},{side}: reaches outside {path}, whose SR is {width}x{height}"
            )
    return [(path.stem, path, window) for path, window in found]


def _window(text: str) -> tuple[int, int, int]:
    parts = text.split(",")
    if len(parts) != 3 or not all(part.strip().isdecimal() for part in parts) or not int(parts[2]):
        raise SpecError(f"--window {text!r}: want x,y,side in HR pixels, such as 120,30,16")
    x, y, side = map(int, parts)
    return x, y, side


def _picture_size(path: Path) -> tuple[int, int]:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            return image.size
    except (OSError, UnidentifiedImageError) as error:
        raise SpecError(f"{path}: cannot be read: {error}") from None


def _of_set(folder: Path, scale: int) -> list[_Place]:
    from hitsr.data.sources import pairs

    return [(pair.name, pair.lr, None) for pair in pairs(folder, scale)]


def _check_alike(paths: list[Path], records: list[AttributionRecord]) -> None:
    """Maps compare only where picture, window and settings are the same."""

    def protocol(record: AttributionRecord) -> Iterator[object]:
        yield from (record.scale, record.settings)
        yield from ((each.lr_sha256, each.lr_size, each.window) for each in record.windows)

    first = list(protocol(records[0]))
    for path, record in zip(paths, records, strict=True):
        if list(protocol(record)) != first:
            raise RecordError(
                f"{path}: other pictures, windows or settings than {paths[0]}; "
                "rerun `hitsr lam` with the same ones"
            )


def _table(record: AttributionRecord) -> str:
    rows = [f"{'picture':<24} {'window':>14} {'DI':>7} {'area':>6} {'error':>8} {'refined':>8}"]
    for each in record.windows:
        window = ",".join(map(str, each.window))
        refined = f"{each.refined.diffusion_index:8.3f}" if each.refined else f"{'-':>8}"
        rows.append(
            f"{each.picture:<24} {window:>14} {each.diffusion_index:7.3f} "
            f"{each.information_area:6.1%} {each.completeness_error:8.2%} {refined}"
        )
    mean = sum(each.diffusion_index for each in record.windows) / len(record.windows)
    return "\n".join([*rows, f"{'mean':<24} {'':>14} {mean:7.3f}"])
