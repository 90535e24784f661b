"""Verbs of the pipeline, from a config to pictures: resolve, prepare, train, restore."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, cast

import typer

from hitsr.base.errors import SpecError, did_you_mean
from hitsr.base.seeds import derive
from hitsr.cli.options import (
    ABLATIONS,
    AblationsOption,
    CompileOption,
    DeviceOption,
    EnsembleOption,
    ScaleOption,
    ThreadsOption,
    TileOption,
    check_scale,
    say,
    tile_of,
)
from hitsr.cli.subject import subject
from hitsr.plan.methods import CONTROLS
from hitsr.records import DatasetRecord, PictureFile
from hitsr.specs.ablation import ablation_rows, read_ablations
from hitsr.specs.config import Config, RunSpec, load_config, runs, scaled_networks
from hitsr.specs.network import Scale, ScaledNetwork

if TYPE_CHECKING:
    pass


def resolve(
    config: Annotated[Path, typer.Argument(help="a YAML file such as configs/demo.yaml")],
    name: Annotated[str | None, typer.Argument(help="hit_sir-x2, or a run: hit_sir-x2-s1")] = None,
    ablations: AblationsOption = ABLATIONS,
) -> None:
    """Print a network or run of a config with every value explicit; without NAME, list them.

    Those of ablations are known too, where the config can have them.
    """
    loaded = load_config(config)
    scales: tuple[Scale, ...] = (2, 3, 4)
    known: dict[str, ScaledNetwork | RunSpec] = {
        **scaled_networks(loaded, scales),
        **runs(loaded),
        **_of_ablations(loaded, ablations, scales),
    }
    if name is None:
        print("\n".join(known))
    elif name in known:
        print(known[name].to_json(), end="")
    else:
        raise SpecError(f"{config}: no network or run {name!r}; {did_you_mean(name, known)}")


def _of_ablations(
    config: Config, folder: Path, scales: tuple[Scale, ...]
) -> dict[str, ScaledNetwork | RunSpec]:
    """Networks and runs of every ablation that a config can have; the others it need not have."""
    found: dict[str, ScaledNetwork | RunSpec] = {}
    for name, ablation in read_ablations(folder).items():
        try:
            rows = ablation_rows(name, ablation, config)
        except SpecError:
            if name in config.ablations:
                raise
            continue
        for row in rows:
            found |= {network.name: network for network in row.at_scales(scales)}
            found |= {run.name: run for run in row.runs}
    return found


def prepare(
    source: Annotated[str, typer.Argument(help="a folder of HR pictures, or `wheels`")],
    out: Annotated[Path, typer.Option(help="folder of the set: HR/ and LR_bicubic/X2 ...")],
    scale: Annotated[list[int], typer.Option("--scale", "-s", help="repeat for more scales")],
    split: Annotated[Literal["train", "test"], typer.Option(help="of `wheels`")] = "test",
    manifest: Annotated[
        Path | None, typer.Option(help="write a record of the pairs (one scale)")
    ] = None,
    packs: Annotated[
        Path | None, typer.Option(help="decode the pairs into PACKS/<set>, for `hitsr train`")
    ] = None,
) -> None:
    """Lay HR pictures out as pairs: skip what is done, check what is there.

    `wheels` are photographs that ship inside packages hitsr depends on.
    """
    from hitsr.data import sources

    started = time.monotonic()
    for factor in scale:
        check_scale(factor)
    if manifest and len(scale) > 1:
        raise SpecError(f"--manifest {manifest}: a manifest is of one scale; got {scale}")
    if source == "wheels":
        pictures = {photo.name: photo.locate() for photo in sources.photographs(split)}
    else:
        pictures = _hr_pictures(Path(source))
    done = sources.prepare(pictures, out, tuple(scale), say)
    print(f"{out}: {done.written} files written, {done.kept} kept")
    if packs:
        from hitsr.data.packs import packed_pairs

        for factor in scale:
            packed_pairs(out, factor, packs / out.name)
    if manifest:
        _manifest(out, scale[0], started).save(manifest)


def train(
    run: Annotated[Path, typer.Argument(help="a resolved run: hitsr resolve CONFIG NAME > FILE")],
    data: Annotated[Path, typer.Option(help="folder that holds the run's sets")],
    out: Annotated[Path, typer.Option(help="folder for weights.safetensors and log.jsonl")],
    start_from: Annotated[Path | None, typer.Option(help="weights of the run it starts from")] = (
        None
    ),
    packs: Annotated[
        Path | None, typer.Option(help="folder of decoded pictures; by default DATA/packs")
    ] = None,
    device: DeviceOption = "auto",
    threads: ThreadsOption = 1,
    compiled: CompileOption = False,
) -> None:
    """Train one run: same run, machine and threads, same bytes.

    Compiled kernels round otherwise: their weights differ from others' as between two devices.
    """
    import torch

    from hitsr.data.patches import Patches
    from hitsr.models.backbone import create
    from hitsr.runtime.devices import pick_device
    from hitsr.training.compiled import compile_training
    from hitsr.training.loop import train as train_network
    from hitsr.training.validation import validator
    from hitsr.upscaling.inference import upscale

    spec = RunSpec.read(run)
    packs = packs or data / "packs"
    torch.set_num_threads(threads)
    patches = Patches.from_folder(
        data / spec.data,
        scale=spec.scale,
        patch=spec.recipe.patch,
        batch=spec.recipe.batch,
        seed=derive(spec.seed, "patches"),
        packs=packs / spec.data,
    )
    torch.manual_seed(derive(spec.seed, "weights"))
    model = create(spec.network, spec.scale, autocast=spec.recipe.autocast)
    if compiled:
        compile_training(model)
    train_network(
        model,
        spec,
        patches,
        validator(data / spec.validation, spec.scale, packs / spec.validation, upscale),
        out,
        pick_device(device),
        start_from=start_from,
    )


def restore(
    method: Annotated[
        str,
        typer.Argument(
            help="a resolved run's file; a network's name; file.py:function of your own; "
            "`bicubic`; or `hr`, the pictures themselves"
        ),
    ],
    data: Annotated[Path, typer.Option(help="folder of one set of pairs")],
    scale: ScaleOption,
    out: Annotated[Path, typer.Option(help="folder for the SR pictures")],
    weights: Annotated[Path | None, typer.Option(help="of a run, or of a named network")] = None,
    tile: TileOption = "auto",
    self_ensemble: EnsembleOption = False,
    device: DeviceOption = "auto",
    threads: ThreadsOption = 1,
) -> None:
    """Upscale the LR pictures of a set into files, to be scored by `hitsr quality`."""
    check_scale(scale)
    side = tile_of(tile)
    if method in CONTROLS:
        if side != "auto" or self_ensemble:
            raise SpecError(f"{method}: no network; leave out --tile and --self-ensemble")
        from hitsr.upscaling import inference

        inference.restore_control(method, data, scale, out)
        return
    made_by = subject(method, scale)
    if made_by.spec is not None and weights is None:
        raise SpecError(f"{method}: needs --weights FILE")
    import torch

    from hitsr.runtime.devices import pick_device
    from hitsr.upscaling import inference

    torch.set_num_threads(threads)
    model = made_by.model(weights=weights).to(pick_device(device))
    inference.restore(model, data, scale, out, inference.Manner(side, self_ensemble))


def _hr_pictures(folder: Path) -> dict[str, Path]:
    from hitsr.data.images import list_pictures

    return list_pictures(folder / "HR" if (folder / "HR").is_dir() else folder)


def _manifest(folder: Path, scale: int, started: float) -> DatasetRecord:
    from hitsr.base.files import sha256
    from hitsr.data.sources import pairs
    from hitsr.records.provenance import provenance

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
