"""The verb for users' own pictures: upscale."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Argument, Option

from hitsr.base.errors import SpecError
from hitsr.cli import options
from hitsr.cli.subject import weighted
from hitsr.runtime.compiling import check_compiler
from hitsr.specs.steps import Launch

if TYPE_CHECKING:
    from hitsr.upscaling.tasks import UpscaleTask
    from hitsr.upscaling.user_pictures import FileFormat


def upscale(
    inputs: Annotated[
        list[str],
        Argument(
            metavar="INPUT...",
            help="files, folders with subfolders, patterns; - for stdin to stdout",
        ),
    ],
    network: options.NetworkOption,
    weights: options.Weights,
    scale: options.MaybeScale = None,
    out: Annotated[Path | None, Option(help="folder for the upscaled pictures")] = None,
    form: Annotated[
        str | None,
        Option("--format", help="png, jpeg, webp, tiff or bmp; default: that of the input"),
    ] = None,
    overwrite: Annotated[bool, Option(help="replace existing outputs")] = False,
    gallery: Annotated[
        bool, Option(help="write OUT/gallery.html, which shows before and after")
    ] = False,
    tile: options.Tile = "auto",
    self_ensemble: options.SelfEnsemble = False,
    device: options.DeviceOption = "auto",
    threads: options.Threads = 1,
    compiled: options.Compile = False,
    graph: options.Graph = False,
    autocast: options.Autocast = False,
) -> None:
    """Upscale pictures. Grey, alpha, 16 bits, colour space, EXIF and resolution in dpi are kept.

    A format that cannot hold them refuses the file. Alpha is upscaled by bicubic interpolation, and
    colour that it hides is replaced. Orientation is applied; XMP, IPTC, maker notes, thumbnails and
    texts are dropped. JPEG has quality 95, the other formats are lossless. Pictures that are too
    large for memory are upscaled in overlapping tiles. The default scale is that of the network's
    file, else that in the weights' metadata. Prints the finished files; exit status 1 if a picture
    failed.
    """
    subject, chosen = weighted(network, scale, weights), _format(form)
    side = options.tile_of(tile)
    if compiled and graph:
        raise SpecError("--compile and --graph: choose one")
    if compiled:
        check_compiler()
    tasks = [] if "-" in inputs else _tasks(inputs, out, chosen)
    if "-" in inputs:
        _check_stream(inputs, out, gallery)
    if gallery:
        _check_template()
    from hitsr.cli.doing import upscaling

    launch: Launch = "graph" if graph else "compiled" if compiled else "eager"
    model = upscaling.load_on_device(subject, weights, device, threads, launch, autocast)
    settings = upscaling.UpscaleOptions(side, self_ensemble)
    if "-" in inputs:
        data = sys.stdin.buffer.read()
        sys.stdout.buffer.write(upscaling.upscale_bytes(model, data, "stdin", chosen, settings))
        return
    page = out / "gallery.html" if out and gallery else None
    if not upscaling.upscale_tasks(model, tasks, settings, overwrite, page, subject.name):
        raise typer.Exit(1)


def _format(text: str | None) -> "FileFormat | None":
    from hitsr.upscaling.user_pictures import FORMATS, format_of

    form = format_of(f".{text}")
    if text is not None and form is None:
        raise SpecError(f"--format {text}: must be one of {', '.join(FORMATS)}")
    return form


def _check_stream(inputs: list[str], out: Path | None, gallery: bool) -> None:
    if len(inputs) > 1:
        raise SpecError("-: stdin must be the only input; leave out the others")
    if out or gallery:
        raise SpecError("-: stdin goes to stdout; leave out --out and --gallery")


def _check_template() -> None:
    """Raise SpecError if the gallery's template, which only a checkout holds, is not there."""
    from hitsr.upscaling.gallery import TEMPLATES

    if not TEMPLATES.is_dir():
        raise SpecError(f"--gallery: needs {TEMPLATES}, of hitsr's checkout; leave it out")


def _tasks(inputs: list[str], out: Path | None, form: "FileFormat | None") -> "list[UpscaleTask]":
    if out is None:
        raise SpecError("--out: name a folder for the upscaled pictures")
    from hitsr.upscaling.tasks import plan_tasks

    if out.exists() and not out.is_dir():
        raise SpecError(f"--out {out}: is a file; name a folder for the upscaled pictures")
    return plan_tasks(inputs, out, form, options.say)
