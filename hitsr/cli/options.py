"""Options that several verbs share, and the functions that check and read their values."""

import json
import sys
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Literal, TypeVar, cast

import typer
from typer import Argument, Option

from hitsr.base.errors import SpecError
from hitsr.base.shipped import shipped
from hitsr.base.streams import for_terminal
from hitsr.plan.jobs import BaseJob, read_job
from hitsr.plan.subjects import OwnNetwork
from hitsr.records import Record
from hitsr.specs.ablation import FOLDER
from hitsr.specs.config import check_device
from hitsr.specs.network import Formulation, Scale

T = TypeVar("T")
J = TypeVar("J", bound=BaseJob)

METHODS = "file of a run or its record, name of a network, file.py:function of your own network"
_FORMULATION = "released (as published code), paper (step by step) or fused (fast)"
_TILE = "largest side of a tile in LR pixels; 0: no tiles; auto: tiles if memory requires them"

MaybeScale = Annotated[int | None, Option("--scale", "-s", help="upscaling factor: 2, 3 or 4")]
MethodArgument = Annotated[str | None, Argument(help=METHODS)]
MethodOrControl = Annotated[
    str | None, Argument(help=f"{METHODS}, `bicubic`, or `hr` (copies the HR pictures)")
]
NetworkArgument = Annotated[
    str | None, Argument(help="name of a network, or file of a network's spec")
]
SubjectArgument = Annotated[
    str | None,
    Argument(help="name of a network, file of a spec, or file.py:function of your own"),
]
NetworkOption = Annotated[str, Option(help="name of a network, or file of a network's spec")]
NameOption = Annotated[
    str | None, Option(help="name for your own network; default: the name of its file")
]
Weights = Annotated[Path, Option(help="weights of the network at this scale")]
MaybeWeights = Annotated[Path | None, Option(help="weights of the run or network")]
OutFile = Annotated[Path | None, Option("--out", help="write the record to this file")]
Json = Annotated[bool, Option("--json", help="print JSON for machines")]


def _device(name: str) -> str:
    try:
        return check_device(name)
    except ValueError as error:
        raise typer.BadParameter(f"{name!r}: {error}") from None


DeviceOption = Annotated[
    str,
    Option(
        metavar="auto|cpu|mps|cuda|cuda:N",
        callback=_device,
        help="auto: the GPU if there is one, else the CPU; cuda:1: the second GPU",
    ),
]
Threads = Annotated[int, Option(min=1, max=1024, help="CPU threads")]
Tile = Annotated[str, Option(metavar="auto|N", help=_TILE)]
SelfEnsemble = Annotated[
    bool, Option("--self-ensemble", help="average over eight rotations and reflections")
]
ABLATIONS, REPORTS = FOLDER, Path("reports")
ConfigArgument = Annotated[
    Path, Argument(help="a YAML file, or the name of one in configs/ here or of hitsr's: demo")
]
Ablations = Annotated[
    Path, Option(help="folder of ablation files alone; default: hitsr's and those in ablations/")
]
Reports = Annotated[
    Path,
    Option(
        help="folder of page templates, published numbers and their sources; default: here, else "
        "hitsr's",
        callback=shipped,
    ),
]
FormulationOption = Annotated[Formulation, Option(help=_FORMULATION)]
Compile = Annotated[
    bool, Option("--compile", help="use torch.compile; compiles once per picture size")
]
Graph = Annotated[
    bool,
    Option("--graph", help="on a CUDA device, one launch a forward: for pictures or tiles alike"),
]
Autocast = Annotated[
    bool,
    Option("--autocast", help="convolutions and products in bfloat16; weights in float32"),
]
OutputSize = Annotated[
    str, Option(help="WIDTHxHEIGHT of the output; the LR sides are rounded to whole pixels")
]
JobFile = Annotated[
    Path | None, Option("--job", help="job file of the pipeline; replaces other options")
]
JobFiles = Annotated[
    list[Path] | None,
    Option("--job", help="job file of the pipeline; replaces other options; repeatable"),
]
Along = Annotated[
    Path | None,
    Option(help="with --job: the pipeline's list of jobs, of which similar ones are done ahead"),
]
Lease = Annotated[
    str | None,
    Option(
        metavar="PLACES/EACH",
        help="with --job: wait for so many places on GPUs that have EACH, and use no other GPUs; "
        "1/1: a whole one",
    ),
]

# Options that may accompany --job: they change how a job runs, not what it measures.
_BESIDE_A_JOB = ("job", "along", "lease", "threads", "as_json")


def from_files(
    context: typer.Context, paths: Path | Sequence[Path] | None, kind: type[J]
) -> list[J]:
    """Read the jobs in the files given with --job; an empty list if there are none.

    Raises SpecError for another option beside `--job`, and for a file of another kind of job.
    """
    if not paths:
        return []
    others = [name for name, _ in _typed(context) if name not in _BESIDE_A_JOB]
    leave_out(context, others, "--job: the job file sets everything")
    files = [paths] if isinstance(paths, Path) else paths
    jobs = [read_job(path, kind.model_fields["kind"].default) for path in files]
    return cast(list[J], jobs)


def _typed(context: typer.Context) -> Iterator[tuple[str, str]]:
    """Names of the parameters that stand on the command line, and how they are written there."""
    for parameter in context.command.params:
        name = parameter.name or ""
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            is_option = parameter.param_type_name == "option"
            yield name, parameter.opts[0] if is_option else name.upper()


def leave_out(context: typer.Context, names: Collection[str], why: str) -> None:
    """Raise SpecError if one of these parameters stands on the command line; `why` it may not."""
    for name, shown in _typed(context):
        if name in names:
            raise SpecError(f"{why}; leave out {shown}")


def check_own(context: typer.Context, subject: object) -> None:
    """SpecError for a formulation of a user's own network."""
    if isinstance(subject, OwnNetwork):
        why = f"{subject.source}: your own network has one formulation"
        leave_out(context, ("formulation",), why)


def given(value: T | None, option: str) -> T:
    """The value of an option that is required without --job; SpecError if it is None."""
    if value is None:
        raise SpecError(f"name {option}, or --job FILE")
    return value


def check_scale(scale: int) -> Scale:
    if scale not in (2, 3, 4):
        raise SpecError(f"--scale {scale}: must be 2, 3 or 4")
    return cast(Scale, scale)


def tile_of(text: str) -> int | Literal["auto"]:
    if text == "auto":
        return "auto"
    if not text.isdecimal():
        raise SpecError(f"--tile {text}: must be a number of pixels, 0 (no tiles) or auto")
    return int(text)


def gpus_of(text: str) -> int | Literal["auto"]:
    if text == "auto":
        return "auto"
    if not (text.isdecimal() and int(text)):
        raise SpecError(f"--gpus {text}: must be a number of GPUs, such as 4, or auto")
    return int(text)


def size_of(text: str) -> tuple[int, int]:
    width, cross, height = text.lower().partition("x")
    if not (cross and all(side.isdecimal() and int(side) >= 4 for side in (width, height))):
        raise SpecError(
            f"--output-size {text!r}: must be WIDTHxHEIGHT, such as 1280x720, of 4 pixels or more"
        )
    return int(width), int(height)


def deliver(record: Record, out: Path | None, as_json: bool, text: str) -> None:
    """Save the record if `out` names a file, and print it: as JSON, or as `text` for people."""
    if out:
        record.save(out)
    print(to_json([record]) if as_json else text)


def to_json(records: Sequence[Record]) -> str:
    """One record as a JSON object, several as a JSON list."""
    data = [record.model_dump(mode="json") for record in records]
    return json.dumps(data if len(data) > 1 else data[0], indent=2)


def say(line: str) -> None:
    """Print a line to stderr."""
    print(for_terminal(line), file=sys.stderr)
