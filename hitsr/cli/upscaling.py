"""The verb for users' own pictures: upscale."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hitsr.base.errors import SpecError, WeightsError
from hitsr.cli.options import (
    AutocastOption,
    CompileOption,
    DeviceOption,
    EnsembleOption,
    ScaleOption,
    ThreadsOption,
    TileOption,
    say,
    scaled,
    tile_of,
)
from hitsr.runtime.compiling import check_compiler
from hitsr.specs.config import Device
from hitsr.specs.network import ScaledNetwork

if TYPE_CHECKING:
    from hitsr.models.backbone import SuperResolver
    from hitsr.upscaling.inference import Manner, Tile
    from hitsr.upscaling.user_files import Job
    from hitsr.upscaling.user_pictures import Form

NetworkOption = Annotated[str, typer.Option(help="a network's name, or a file of its spec")]
WeightsOption = Annotated[Path, typer.Option(help="of that network at that scale")]


def upscale(
    inputs: Annotated[
        list[str],
        typer.Argument(metavar="INPUT...", help="files, folders, patterns; - for stdin to stdout"),
    ],
    network: NetworkOption,
    scale: ScaleOption,
    weights: WeightsOption,
    out: Annotated[Path | None, typer.Option(help="folder for the upscaled pictures")] = None,
    form: Annotated[
        str | None, typer.Option("--format", help="png, jpeg, webp or tiff; as the input")
    ] = None,
    overwrite: Annotated[bool, typer.Option(help="replace outputs that are there")] = False,
    gallery: Annotated[bool, typer.Option(help="write OUT/gallery.html, before and after")] = False,
    tile: TileOption = "auto",
    self_ensemble: EnsembleOption = False,
    device: DeviceOption = "auto",
    threads: ThreadsOption = 1,
    compiled: CompileOption = False,
    autocast: AutocastOption = False,
) -> None:
    """Upscale pictures: grey, alpha, 16 bits and the colour profile are kept, or refused.

    Alpha is upscaled apart, by bicubic. Orientation is applied; other metadata are left out. PNG,
    WebP and TIFF are written without loss, JPEG at quality 95. Pictures larger than memory allows
    are taken in overlapping tiles. Prints the files that are there when done; exit status 1 if any
    picture failed.
    """
    subject, chosen, side = scaled(network, scale), _form(form), tile_of(tile)
    check_weights(weights)
    if compiled:
        check_compiler()
    if "-" in inputs:
        _check_stream(inputs, out, gallery)
        data = sys.stdin.buffer.read()
        model = _model(subject, weights, device, threads, compiled, autocast)
        sys.stdout.buffer.write(_upscaled(model, data, chosen, _manner(side, self_ensemble)))
        return
    if out is None:
        raise SpecError("--out: name a folder for the upscaled pictures")
    from hitsr.upscaling.user_files import plan

    jobs = plan(inputs, out, chosen)
    model = _model(subject, weights, device, threads, compiled, autocast)
    page = out / "gallery.html" if gallery else None
    _upscale_all(model, jobs, _manner(side, self_ensemble), overwrite, page, subject.name)


def _upscale_all(
    model: "SuperResolver",
    jobs: "list[Job]",
    manner: "Manner",
    overwrite: bool,
    page: Path | None,
    name: str,
) -> None:
    from hitsr.base.files import write_text
    from hitsr.upscaling.files import upscale_files
    from hitsr.upscaling.gallery import gallery

    outcomes = upscale_files(model, jobs, manner, overwrite=overwrite)
    finished = [outcome.job for outcome in outcomes if outcome.state != "failed"]
    failed = [outcome for outcome in outcomes if outcome.state == "failed"]
    kept = sum(outcome.state == "kept" for outcome in outcomes)
    for job in finished:
        print(job.target)
    if page and finished:
        write_text(page, gallery(finished, f"Upscaled by {name}"))
        print(page)
    if kept:
        say(f"{kept} of {len(jobs)} were there and are kept; --overwrite replaces them")
    for outcome in failed:
        say(f"hitsr: {outcome.reason}")
    if failed:
        say(f"{len(failed)} of {len(jobs)} pictures failed")
        raise typer.Exit(1)


def check_weights(weights: Path) -> None:
    if not weights.is_file():
        raise WeightsError(f"{weights}: no such file; check --weights")


def loaded_model(
    subject: ScaledNetwork, weights: Path, compiled: bool = False, autocast: bool = False
) -> "SuperResolver":
    """The network with weights from a file; WeightsError if they are of another one."""
    from hitsr.models.backbone import create
    from hitsr.models.checkpoints import load_weights
    from hitsr.share.pretrained import check_claim

    check_claim(weights, subject)
    model = create(subject.network, subject.scale, compile=compiled, autocast=autocast)
    load_weights(model, weights)
    return model


def _model(
    subject: ScaledNetwork,
    weights: Path,
    device: Device,
    threads: int,
    compiled: bool,
    autocast: bool,
) -> "SuperResolver":
    import torch

    from hitsr.runtime.devices import pick_device

    torch.set_num_threads(threads)
    place = pick_device(device)
    return loaded_model(subject, weights, compiled, autocast).to(place)


def _upscaled(model: "SuperResolver", data: bytes, form: "Form | None", manner: "Manner") -> bytes:
    from hitsr.upscaling.files import upscale_bytes

    return upscale_bytes(model, data, "stdin", form, manner)


def _manner(tile: "Tile", self_ensemble: bool) -> "Manner":
    from hitsr.upscaling.inference import Manner

    return Manner(tile, self_ensemble)


def _form(text: str | None) -> "Form | None":
    from hitsr.upscaling.user_pictures import FORMS, form_of

    form = form_of(f".{text}")
    if text is not None and form is None:
        raise SpecError(f"--format {text}: must be one of {', '.join(FORMS)}")
    return form


def _check_stream(inputs: list[str], out: Path | None, gallery: bool) -> None:
    if len(inputs) > 1:
        raise SpecError("-: stdin stands alone; drop the other inputs")
    if out or gallery:
        raise SpecError("-: stdin goes to stdout; drop --out and --gallery")
