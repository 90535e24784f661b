"""Verbs from pictures to scores: prepare, train, restore, quality."""

import shlex
from pathlib import Path
from typing import Annotated, Literal

import typer
from typer import Argument, Option

from hitsr.base.errors import SpecError, did_you_mean
from hitsr.cli import options, tables
from hitsr.cli.options import check_scale, deliver, from_files, given, leave_out, say
from hitsr.cli.pinning import take_gpus
from hitsr.cli.sharing import make_folder
from hitsr.cli.subject import scored, upscaler
from hitsr.plan.archives import DATASETS
from hitsr.plan.jobs import PrepareJob, QualityJob, RestoreJob, TrainJob
from hitsr.specs.config import OnMiss
from hitsr.specs.recipes import gates_of
from hitsr.specs.run import RunSpec


def prepare(
    context: typer.Context,
    source: Annotated[str | None, Argument(help="a folder of HR pictures, or `wheels`")] = None,
    dataset: Annotated[
        list[str] | None,
        Option(
            metavar="|".join(DATASETS),
            help="instead of SOURCE: fetch published sets. div2k: DIV2K and DIV2K_valid; df2k: "
            "DF2K, which is DIV2K and Flickr2K; benchmark: Set5, Set14, B100, Urban100; repeatable",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        Option(
            help="folder of the set: HR/ and LR_bicubic/X2 ...; with --dataset: folder of the "
            "sets, default `data`"
        ),
    ] = None,
    scale: Annotated[
        list[int] | None,
        Option(
            "--scale", "-s", help="2, 3 or 4; repeatable; with --dataset the default is all three"
        ),
    ] = None,
    split: Annotated[
        Literal["train", "test"], Option(help="with `wheels`: which photographs")
    ] = "test",
    manifest: Annotated[
        Path | None, Option(help="write a record of the pairs of one scale to this file")
    ] = None,
    packs: Annotated[
        Path | None,
        Option(
            help="decode the pairs into PACKS/<set>, for `hitsr train`; with --dataset the default "
            "is OUT/packs, for training sets alone"
        ),
    ] = None,
    reports: options.Reports = options.REPORTS,
    job: options.JobFile = None,
) -> None:
    """Lay HR pictures out as LR/HR pairs; use LR pictures that are given, and make the others.

    `wheels` stands for photographs that are part of packages which hitsr depends on.

    With --dataset, archives are downloaded into OUT/downloads, checked and
    unpacked first. Archives that you put there yourself are used, and what is
    complete is not fetched again. After an interruption, repeat the command: it
    goes on where it was.
    """
    jobs = from_files(context, job, PrepareJob)
    if dataset:
        leave_out(
            context, ("source", "split", "manifest"), f"--dataset {dataset[0]}: fetches whole sets"
        )
        jobs = _fetched(dataset, scale, out or Path("data"), packs, reports)
    elif not jobs:
        source, folder = given(source, "SOURCE"), given(out, "--out")
        scales = [check_scale(factor) for factor in given(scale, "--scale")]
        if manifest and len(scales) > 1:
            raise SpecError(f"--manifest {manifest}: give one --scale; got {scales}")
        jobs = [
            PrepareJob(
                name=f"{folder.name}-x{factor}",
                output=manifest,
                dataset=folder.name,
                scale=factor,
                source=f"wheels:{split}" if source == "wheels" else source,
                folder=folder,
                packs=packs,
            )
            for factor in scales
        ]
    from hitsr.cli.doing import preparing

    for each in jobs:
        preparing.prepare(each)


def _fetched(
    dataset: list[str], scale: list[int] | None, root: Path, packs: Path | None, reports: Path
) -> list[PrepareJob]:
    """Fetch published sets; the jobs that prepare them."""
    from hitsr.share.fetching_sets import fetch_sets, read_archives

    scales = [check_scale(factor) for factor in dict.fromkeys(scale or (2, 3, 4))]
    unknown = [key for key in dataset if key not in DATASETS]
    if unknown:
        raise SpecError(f"--dataset {unknown[0]}: {did_you_mean(unknown[0], DATASETS)}")
    sets = [each for key in dict.fromkeys(dataset) for each in DATASETS[key]]
    words = [f"--dataset {key}" for key in dict.fromkeys(dataset)]
    words += [f"--scale {factor}" for factor in scales] if scale else []
    words += ["--out", shlex.quote(str(root))]
    words += ["--packs", shlex.quote(str(packs))] if packs else []
    again = f"hitsr prepare {' '.join(words)}"
    archives = read_archives(reports / "published" / "sources.csv")
    fetch_sets(sets, scales, root, archives, again, say)
    return [
        PrepareJob(
            name=f"{each.name}-x{factor}",
            dataset=each.name,
            scale=factor,
            source=str(root / each.name),
            folder=root / each.name,
            packs=(packs or root / "packs") if each.trains else None,
        )
        for each in sets
        for factor in scales
    ]


def train(
    context: typer.Context,
    run: Annotated[
        Path | None, Argument(help="a resolved run: hitsr resolve CONFIG NAME > FILE")
    ] = None,
    data: Annotated[Path | None, Option(help="folder that holds the run's sets")] = None,
    out: Annotated[Path | None, Option(help="folder for weights.safetensors and log.jsonl")] = None,
    start_from: Annotated[
        Path | None, Option(help="file of the weights that this run starts from")
    ] = None,
    packs: Annotated[
        Path | None, Option(help="folder of decoded pictures; default: DATA/packs")
    ] = None,
    device: options.DeviceOption = "auto",
    threads: options.Threads = 1,
    compiled: options.Compile = False,
    graph: Annotated[
        bool | None,
        Option(
            "--graph/--no-graph",
            help="launch a step as one CUDA graph; default: on NVIDIA GPUs, without --compile",
        ),
    ] = None,
    recompute: Annotated[
        bool, Option("--recompute", help="compute blocks again for gradients, to save memory")
    ] = False,
    checkpoint_every: Annotated[
        int, Option(min=1, help="steps from one checkpoint to the next; a kill loses no more")
    ] = 500,
    most_skipped: Annotated[
        int,
        Option(min=1, help="steps in a row without a finite gradient, before the training stops"),
    ] = 10,
    on_miss: Annotated[
        OnMiss, Option(help="what to do if PSNR is below that of published trainings at a step")
    ] = "warn",
    tensorboard: Annotated[
        bool,
        Option("--tensorboard", help="also write curves for TensorBoard, into OUT/tensorboard"),
    ] = False,
    gpus: Annotated[
        str,
        Option(
            metavar="auto|N",
            help="GPUs that share each batch, in the recipe's parts; auto: as many as there are; "
            "on a CPU: processes",
        ),
    ] = "1",
    job: options.JobFile = None,
    lease: options.Lease = None,
) -> None:
    """Train one run; run, machine and threads determine the weights to the last byte.

    Repeat the command after it was stopped or killed: it goes on from its last
    checkpoint. Exit status 75 says that a signal stopped it, and that a
    checkpoint holds it.

    With --compile weights differ in low bits, as they do between devices. They
    may differ in each training if the recipe wants the fastest kernels
    (`deterministic: false`).
    """
    jobs, share = from_files(context, job, TrainJob), options.gpus_of(gpus)
    if not jobs:
        spec, root = RunSpec.read(given(run, "RUN")), given(data, "--data")
        if compiled and graph:
            raise SpecError(
                "--compile, --graph: a step is launched in one of these ways; leave one out"
            )
        jobs = [
            TrainJob(
                name=spec.name,
                inputs={"start_from": start_from} if start_from else {},
                output=given(out, "--out") / "record.json",
                run=spec,
                data=root,
                packs=packs or root / "packs",
                device=device,
                compile=compiled,
                graph="auto" if graph is None else graph,
                gates=gates_of(spec),
                recompute=recompute,
                checkpoint_every=checkpoint_every,
                most_skipped=most_skipped,
                on_miss=on_miss,
                tensorboard=tensorboard,
                gpus=share,
            )
        ]
    take_gpus(jobs[0].device, lease)
    from hitsr.cli.doing import training

    training.train(jobs[0], threads)


def restore(
    context: typer.Context,
    method: options.MethodOrControl = None,
    data: Annotated[Path | None, Option(help="folder of one set of pairs")] = None,
    scale: options.MaybeScale = None,
    out: Annotated[Path | None, Option(help="folder for the SR pictures")] = None,
    weights: options.MaybeWeights = None,
    tile: options.Tile = "auto",
    self_ensemble: options.SelfEnsemble = False,
    device: options.DeviceOption = "auto",
    threads: options.Threads = 1,
    job: options.JobFile = None,
    along: options.Along = None,
    lease: options.Lease = None,
) -> None:
    """Upscale the LR pictures of a set into files, which `hitsr quality` can score.

    The default scale is that of the run's or network's file, else that in the weights' metadata.
    """
    jobs, side = from_files(context, job, RestoreJob), options.tile_of(tile)
    if not jobs:
        method = given(method, "METHOD")
        subject = upscaler(method, scale, weights)
        if subject.kind == "control" and (side != "auto" or self_ensemble):
            raise SpecError(f"{method}: not a network; leave out --tile and --self-ensemble")
        folder = given(data, "--data")
        jobs = [
            RestoreJob(
                name=f"{method}.{folder.name}",
                inputs={"weights": weights} if weights else {},
                output=given(out, "--out"),
                subject=subject,
                dataset=folder.name,
                data=folder,
                device=device,
            )
        ]
    take_gpus(jobs[0].device, lease)
    from hitsr.cli.doing import restoring

    if job:
        make_folder(jobs[0], lambda each: restoring.restore(each, threads, resume=True), along)
    else:
        restoring.restore(jobs[0], threads, side, self_ensemble)


def quality(
    context: typer.Context,
    sr: Annotated[Path | None, Option(help="folder of finished SR pictures")] = None,
    hr: Annotated[Path | None, Option(help="folder of HR pictures")] = None,
    scale: options.MaybeScale = None,
    metrics: Annotated[
        str,
        Option(
            help="more metrics, by pyiqa's names: lpips,dists,ms_ssim,niqe; pyiqa's own PSNR and "
            "SSIM are recorded as pyiqa_psnr and pyiqa_ssim"
        ),
    ] = "",
    lr: Annotated[
        str | None,
        Option(help="how the LR pictures were made, for the signature; default: as prepared"),
    ] = None,
    run: Annotated[
        Path | None, Option(help="the run, resolved or its record, that made the SR pictures")
    ] = None,
    method: Annotated[
        str | None, Option(help="name of what made the SR pictures, without --run")
    ] = None,
    dataset: Annotated[str | None, Option(help="name of the set, for the record")] = None,
    device: options.DeviceOption = "auto",
    out: options.OutFile = None,
    as_json: options.Json = False,
    job: options.JobFile = None,
) -> None:
    """Score finished pictures on luma and RGB, without `scale` pixels at each border.

    The default scale is that of the run.
    """
    jobs = from_files(context, job, QualityJob)
    if not jobs:
        pictures, truth = given(sr, "--sr"), given(hr, "--hr")
        subject = scored(run, method or pictures.name, scale)
        folder = truth.resolve().parent
        jobs = [
            QualityJob(
                name=f"{subject.name}.{dataset or folder.name}",
                inputs={"sr": pictures, "hr": truth},
                output=out,
                subject=subject,
                dataset=dataset or folder.name,
                data=folder,
                metrics=tuple(name.strip() for name in metrics.split(",") if name.strip()),
                degradation=lr,
            )
        ]
    from hitsr.cli.doing import scoring

    record = scoring.score(jobs[0], device)
    deliver(record, jobs[0].output, as_json, tables.scores(record))
