"""Options that several verbs share, and how their values are checked."""

import json
import sys
from pathlib import Path
from typing import Annotated, Literal, cast

import typer

from hitsr.base.errors import SpecError
from hitsr.base.values import read_yaml
from hitsr.records import Record
from hitsr.specs.config import Device
from hitsr.specs.network import Formulation, NetworkSpec, Scale, ScaledNetwork
from hitsr.specs.zoo import find

ScaleOption = Annotated[int, typer.Option("--scale", "-s", help="upscaling factor: 2, 3 or 4")]
OutFile = Annotated[Path | None, typer.Option("--out", help="write the record to this file")]
JsonOption = Annotated[bool, typer.Option("--json", help="print JSON for machines")]
DeviceOption = Annotated[Device, typer.Option(help="auto takes a GPU where there is one")]
ThreadsOption = Annotated[int, typer.Option(min=1, help="CPU threads")]
TileOption = Annotated[
    str,
    typer.Option(
        metavar="auto|N",
        help="side of tiles in LR pixels, at most; 0: whole; auto: whole where memory allows",
    ),
]
EnsembleOption = Annotated[
    bool, typer.Option("--self-ensemble", help="mean over eight turned and mirrored pictures")
]
ABLATIONS = Path("ablations")
AblationsOption = Annotated[Path, typer.Option(help="folder of ablation files")]
FormulationOption = Annotated[Formulation, typer.Option(help="as the paper writes it, or fused")]
CompileOption = Annotated[
    bool, typer.Option("--compile", help="by torch.compile, in the first forward of each size")
]
AutocastOption = Annotated[
    bool, typer.Option("--autocast", help="compute products in bfloat16; weights stay")
]
SizeOption = Annotated[str, typer.Option(help="WIDTHxHEIGHT of the output, in pixels")]
NetworkArgument = Annotated[str, typer.Argument(help="a network's name, or a file of its spec")]


def scaled(network: str, scale: int) -> ScaledNetwork:
    """A zoo name at `scale`, or a file: a network's spec, or one with its scale beside it."""
    check_scale(scale)
    if not network.endswith((".json", ".yaml", ".yml")):
        return ScaledNetwork(network=find(network), scale=cast(Scale, scale))
    data = read_yaml(Path(network))
    if isinstance(data, dict) and "network" in data:
        return ScaledNetwork.parse(data, network)
    return ScaledNetwork(network=NetworkSpec.parse(data, network), scale=cast(Scale, scale))


def check_scale(scale: int) -> None:
    if scale not in (2, 3, 4):
        raise SpecError(f"--scale {scale}: must be 2, 3 or 4")


def tile_of(text: str) -> int | Literal["auto"]:
    if text == "auto":
        return "auto"
    if not text.isdecimal():
        raise SpecError(f"--tile {text}: want a number of pixels, 0 for whole pictures, or auto")
    return int(text)


def size_of(text: str) -> tuple[int, int]:
    width, cross, height = text.lower().partition("x")
    if not (cross and width.isdecimal() and height.isdecimal() and int(width) * int(height)):
        raise SpecError(f"--output-size {text!r}: want WIDTHxHEIGHT in pixels, such as 1280x720")
    return int(width), int(height)


def deliver(record: Record, out: Path | None, as_json: bool, text: str) -> None:
    """The record into its file; on stdout the record as JSON, or a line for people."""
    if out:
        record.save(out)
    print(json.dumps(record.model_dump(mode="json"), indent=2) if as_json else text)


def say(line: str) -> None:
    print(line, file=sys.stderr)
