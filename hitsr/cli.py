"""The `hitsr` command: each verb reads named files, does one thing, and writes named files.

Progress goes to stderr, results to stdout or files. Heavy packages are imported by the verbs that
need them, so that `hitsr --help` answers at once.
"""

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

import typer

from hitsr.config import Device, RunSpec, load_config, runs, scaled_networks
from hitsr.convert import EXPANDING, to_hierarchical
from hitsr.errors import HitsrError, SpecError, did_you_mean
from hitsr.records import ComplexityRecord, DatasetRecord, LatencyRecord, PictureFile, QualityRecord
from hitsr.seeds import derive
from hitsr.spec import Formulation, NetworkSpec, Scale, ScaledNetwork
from hitsr.values import read_yaml
from hitsr.zoo import find

if TYPE_CHECKING:
    import torch

app = typer.Typer(
    help="Reproduce and ablate hierarchical super-resolution transformers.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

ScaleOption = Annotated[int, typer.Option("--scale", "-s", help="upscaling factor: 2, 3 or 4")]
OutFile = Annotated[Path | None, typer.Option("--out", help="write the record to this file")]
JsonOption = Annotated[bool, typer.Option("--json", help="print JSON for machines")]
DeviceOption = Annotated[Device, typer.Option(help="auto takes a GPU where there is one")]
ThreadsOption = Annotated[int, typer.Option(min=1, help="CPU threads")]
SizeOption = Annotated[str, typer.Option(help="WIDTHxHEIGHT of the output, in pixels")]
NetworkArgument = Annotated[str, typer.Argument(help="a network's name, or a file of its spec")]


@app.command()
def resolve(
    config: Annotated[Path, typer.Argument(help="a YAML file such as configs/demo.yaml")],
    name: Annotated[str | None, typer.Argument(help="hit_sir-x2, or a run: hit_sir-x2-s1")] = None,
) -> None:
    """Print a network or run of a config with every value explicit; without NAME, list them."""
    loaded = load_config(config)
    scales = tuple(sorted({*loaded.efficiency.scales, *loaded.efficiency.latency.scales}))
    known = {**scaled_networks(loaded, scales), **runs(loaded)}
    if name is None:
        print("\n".join(known))
    elif name in known:
        print(known[name].to_json(), end="")
    else:
        raise SpecError(f"{config}: no network or run {name!r}; {did_you_mean(name, known)}")


@app.command()
def prepare(
    source: Annotated[str, typer.Argument(help="a folder of HR pictures, or `wheels`")],
    out: Annotated[Path, typer.Option(help="folder of the set: HR/ and LR_bicubic/X2 ...")],
    scale: Annotated[list[int], typer.Option("--scale", "-s", help="repeat for more scales")],
    split: Annotated[Literal["train", "test"], typer.Option(help="of `wheels`")] = "test",
    manifest: Annotated[
        Path | None, typer.Option(help="write a record of the pairs (one scale)")
    ] = None,
) -> None:
    """Lay HR pictures out as pairs: skip what is done, check what is there.

    `wheels` are photographs that ship inside packages hitsr depends on.
    """
    from hitsr.data import sources

    started = time.monotonic()
    for factor in scale:
        _check_scale(factor)
    if manifest and len(scale) > 1:
        raise SpecError(f"--manifest {manifest}: a manifest is of one scale; got {scale}")
    if source == "wheels":
        pictures = {photo.name: photo.locate() for photo in sources.photographs(split)}
    else:
        pictures = _hr_pictures(Path(source))
    done = sources.prepare(pictures, out, tuple(scale), _say)
    print(f"{out}: {done.written} files written, {done.kept} kept")
    if manifest:
        _manifest(out, scale[0], started).save(manifest)


@app.command()
def train(
    run: Annotated[Path, typer.Argument(help="a resolved run: hitsr resolve CONFIG NAME > FILE")],
    data: Annotated[Path, typer.Option(help="folder that holds the run's sets")],
    out: Annotated[Path, typer.Option(help="folder for weights.safetensors and log.jsonl")],
    start_from: Annotated[Path | None, typer.Option(help="weights of the run it starts from")] = (
        None
    ),
    device: DeviceOption = "auto",
    threads: ThreadsOption = 1,
) -> None:
    """Train one run: same run, machine and threads, same bytes."""
    import torch

    from hitsr.data.patches import Patches
    from hitsr.devices import pick_device
    from hitsr.models.backbone import create
    from hitsr.training.loop import train as train_network
    from hitsr.training.validation import validator

    spec = RunSpec.read(run)
    torch.set_num_threads(threads)
    patches = Patches.from_folder(
        data / spec.data,
        scale=spec.scale,
        patch=spec.recipe.patch,
        batch=spec.recipe.batch,
        seed=derive(spec.seed, "patches"),
        progress=_quiet,
    )
    torch.manual_seed(derive(spec.seed, "weights"))
    train_network(
        create(spec.network, spec.scale),
        spec,
        patches,
        validator(data / spec.validation, spec.scale),
        out,
        pick_device(device),
        start_from=start_from,
    )


@app.command()
def restore(
    method: Annotated[str, typer.Argument(help="a resolved run's file, or `bicubic`")],
    data: Annotated[Path, typer.Option(help="folder of one set of pairs")],
    scale: ScaleOption,
    out: Annotated[Path, typer.Option(help="folder for the SR pictures")],
    weights: Annotated[Path | None, typer.Option(help="of the run")] = None,
    device: DeviceOption = "auto",
    threads: ThreadsOption = 1,
) -> None:
    """Upscale the LR pictures of a set into files, to be scored by `hitsr quality`."""
    _check_scale(scale)
    from hitsr import inference

    if method == "bicubic":
        inference.restore_bicubic(data, scale, out)
        return
    run = RunSpec.read(Path(method))
    if run.scale != scale:
        raise SpecError(f"{method}: is a x{run.scale} run, --scale is {scale}; make them agree")
    if weights is None:
        raise SpecError(f"{method}: needs --weights FILE, such as weights/{run.name}")
    model = _network(run.network, scale, "fused", threads)
    from hitsr.devices import pick_device
    from hitsr.models.checkpoints import load_weights

    load_weights(model, weights)
    inference.restore(model.to(pick_device(device)), data, scale, out)


@app.command()
def quality(
    sr: Annotated[Path, typer.Option(help="folder of finished SR pictures")],
    hr: Annotated[Path, typer.Option(help="folder of HR pictures")],
    scale: ScaleOption,
    run: Annotated[Path | None, typer.Option(help="the resolved run that made them")] = None,
    method: Annotated[str | None, typer.Option(help="what made them, if no run did")] = None,
    dataset: Annotated[str | None, typer.Option(help="name of the set, for the record")] = None,
    out: OutFile = None,
    as_json: JsonOption = False,
) -> None:
    """Score finished pictures: PSNR and SSIM on luma, `scale` pixels cut off each side."""
    from hitsr.measure.quality import SIGNATURES, score_folders
    from hitsr.provenance import provenance

    _check_scale(scale)
    started = time.monotonic()
    spec = RunSpec.read(run) if run else None
    made_by = spec.network.name if spec else method or sr.name
    subject = spec.name if spec else f"{made_by}-x{scale}"
    scores = score_folders(sr, hr, scale)
    record = QualityRecord(
        subject=subject,
        subject_hash=spec.hash if spec else subject,
        provenance=provenance("cpu", time.monotonic() - started),
        method=made_by,
        dataset=dataset or hr.resolve().parent.name,
        scale=cast(Scale, scale),
        border=scale,
        signatures=SIGNATURES,
        pictures=scores,
    )
    _deliver(record, out, as_json, _scores_table(record))


@app.command()
def complexity(
    network: NetworkArgument,
    scale: ScaleOption = 2,
    output_size: SizeOption = "1280x720",
    counter: Annotated[
        Literal["torch", "fvcore"], typer.Option(help="same integer; fvcore itself takes minutes")
    ] = "torch",
    out: OutFile = None,
    as_json: JsonOption = False,
) -> None:
    """Count parameters and FLOPs (as fvcore: multiply-accumulates) of the paper formulation."""
    from hitsr import api
    from hitsr.measure.complexity import input_size_for
    from hitsr.provenance import provenance

    subject, size = _scaled(network, scale), _size(output_size)
    started = time.monotonic()
    counted = api.complexity(subject.network, subject.scale, size, counter=counter)
    record = ComplexityRecord(
        subject=subject.name,
        subject_hash=subject.hash,
        provenance=provenance("cpu", time.monotonic() - started),
        network=subject.network.name,
        scale=subject.scale,
        output_size=size,
        input_size=input_size_for(size, subject.scale),
        formulation="paper",
        **counted.model_dump(),
    )
    text = f"{subject.name}: {record.params:,} parameters, {record.flops / 1e9:.2f} G FLOPs"
    _deliver(record, out, as_json, f"{text} at {output_size} ({counter} counter)")


@app.command()
def latency(
    network: NetworkArgument,
    scale: ScaleOption = 4,
    output_size: SizeOption = "1280x720",
    formulation: Annotated[Formulation, typer.Option()] = "fused",
    device: DeviceOption = "auto",
    warmup: Annotated[int, typer.Option(min=0, help="forwards before the first sample")] = 1,
    samples: Annotated[int, typer.Option(min=1, help="timed forwards")] = 5,
    threads: ThreadsOption = 1,
    out: OutFile = None,
    as_json: JsonOption = False,
) -> None:
    """Time single forwards, raw samples kept, with the peak memory above the resting process."""
    from hitsr.devices import pick_device
    from hitsr.measure.complexity import input_size_for
    from hitsr.measure.latency import measure
    from hitsr.provenance import provenance

    subject, size = _scaled(network, scale), _size(output_size)
    started, place = time.monotonic(), pick_device(device)
    input_size = input_size_for(size, subject.scale)
    model = _network(subject.network, subject.scale, formulation, threads)
    measured = measure(model, input_size, place, warmup=warmup, samples=samples)
    record = LatencyRecord(
        subject=subject.name,
        subject_hash=subject.hash,
        provenance=provenance(str(place), time.monotonic() - started),
        network=subject.network.name,
        scale=subject.scale,
        output_size=size,
        input_size=input_size,
        formulation=formulation,
        warmup=warmup,
        **measured.model_dump(),
    )
    middle = sorted(record.samples_ms)[len(record.samples_ms) // 2]
    text = f"{subject.name}: {middle:.1f} ms, median of {samples}, {formulation}, {place}"
    _deliver(record, out, as_json, text)


@app.command()
def convert(
    network: NetworkArgument,
    ratios: Annotated[
        str | None, typer.Option(help="window sides over the base, such as 0.5,1,2,4,6,8")
    ] = None,
    base: Annotated[int, typer.Option(min=1, help="side of the base window")] = 8,
    scale: ScaleOption = 2,
) -> None:
    """Print a network's hierarchical conversion, and what changes in parameters and FLOPs."""
    from hitsr import api

    before = _scaled(network, scale).network
    chosen = tuple(_number(part) for part in ratios.split(",")) if ratios else EXPANDING
    after = to_hierarchical(before, base=base, ratios=chosen)
    print(after.to_json(), end="")
    for label, spec in (("before", before), ("after", after)):
        counted = api.complexity(spec, scale)
        _say(f"{label:>6}: {counted.params:>9,} parameters, {counted.flops / 1e9:6.2f} G FLOPs")


@app.command()
def collect(
    results: Annotated[Path, typer.Argument(help="such as results/demo")],
) -> None:
    """Gather the records of a results folder into tables/*.csv."""
    from hitsr.report import collect as collect_tables

    if not results.is_dir():
        raise SpecError(f"{results}: no such folder; name one such as results/demo")
    collect_tables(results)


@app.command()
def report(
    config: Annotated[Path, typer.Argument(help="the config that made the results")],
    reports: Annotated[Path, typer.Option(help="templates and published numbers")] = Path(
        "reports"
    ),
) -> None:
    """Render the report of a config's results: one self-contained HTML file."""
    from hitsr.report import render

    loaded = load_config(config)
    out = loaded.folder / "report"
    render(loaded, loaded.folder, reports, out)
    print(out / "index.html")


def main() -> None:
    """Run the command line; users' errors are printed without a traceback, with exit status 1."""
    try:
        app()
    except (HitsrError, OSError) as error:
        sys.exit(f"hitsr: {error}")


def _network(
    spec: NetworkSpec, scale: int, formulation: Formulation, threads: int
) -> "torch.nn.Module":
    import torch

    from hitsr.models.backbone import create

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    return create(spec, scale, formulation=formulation)


def _scaled(network: str, scale: int) -> ScaledNetwork:
    """A zoo name at `scale`, or a file: a network's spec, or one with its scale beside it."""
    _check_scale(scale)
    if not network.endswith((".json", ".yaml", ".yml")):
        return ScaledNetwork(network=find(network), scale=cast(Scale, scale))
    data = read_yaml(Path(network))
    if isinstance(data, dict) and "network" in data:
        return ScaledNetwork.parse(data, network)
    return ScaledNetwork(network=NetworkSpec.parse(data, network), scale=cast(Scale, scale))


def _check_scale(scale: int) -> None:
    if scale not in (2, 3, 4):
        raise SpecError(f"--scale {scale}: must be 2, 3 or 4")


def _size(text: str) -> tuple[int, int]:
    width, cross, height = text.lower().partition("x")
    if not (cross and width.isdecimal() and height.isdecimal() and int(width) * int(height)):
        raise SpecError(f"--output-size {text!r}: want WIDTHxHEIGHT in pixels, such as 1280x720")
    return int(width), int(height)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise SpecError(f"--ratios: {text!r} is no number; want such as 0.5,1,2,4,6,8") from None


def _hr_pictures(folder: Path) -> dict[str, Path]:
    from hitsr.data.images import list_pictures

    return list_pictures(folder / "HR" if (folder / "HR").is_dir() else folder)


def _manifest(folder: Path, scale: int, started: float) -> DatasetRecord:
    from hitsr.data.sources import pairs
    from hitsr.files import sha256
    from hitsr.provenance import provenance

    pictures = tuple(
        PictureFile(
            name=pair.name,
            lr_size=_picture_size(pair.lr),
            hr_size=_picture_size(pair.hr),
            lr_sha256=sha256(pair.lr),
            hr_sha256=sha256(pair.hr),
        )
        for pair in pairs(folder, scale)
    )
    return DatasetRecord(
        subject=folder.name,
        subject_hash=folder.name,
        provenance=provenance("cpu", time.monotonic() - started),
        scale=cast(Scale, scale),
        pictures=pictures,
    )


def _picture_size(path: Path) -> tuple[int, int]:
    from PIL import Image

    with Image.open(path) as picture:
        return picture.size


def _scores_table(record: QualityRecord) -> str:
    rows = [
        f"{score.name:<24} {'identical' if score.psnr_db is None else f'{score.psnr_db:9.3f}'}"
        f" {score.ssim:8.4f}"
        for score in record.pictures
    ]
    finite = [score.psnr_db for score in record.pictures if score.psnr_db is not None]
    if len(finite) == len(record.pictures):
        mean_ssim = sum(score.ssim for score in record.pictures) / len(record.pictures)
        rows.append(f"{'mean':<24} {sum(finite) / len(finite):9.3f} {mean_ssim:8.4f}")
    return "\n".join([f"{'picture':<24} {'PSNR dB':>9} {'SSIM':>8}", *rows])


def _deliver(record: Any, out: Path | None, as_json: bool, text: str) -> None:
    """The record into its file; on stdout the record as JSON, or a line for people."""
    if out:
        record.save(out)
    print(json.dumps(record.model_dump(mode="json"), indent=2) if as_json else text)


def _say(line: str) -> None:
    print(line, file=sys.stderr)


def _quiet(_line: str) -> None:
    pass
