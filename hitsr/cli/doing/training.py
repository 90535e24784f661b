"""Train one run."""

import os
import sys
from contextlib import nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from hitsr.base.seeds import derive
from hitsr.base.writers import sole_writer
from hitsr.cli.options import say
from hitsr.data.origins import degradation_of
from hitsr.data.packs import PackedPair, digest_of, packed_pairs
from hitsr.data.patches import Patches
from hitsr.models.backbone import create
from hitsr.plan.jobs import TrainJob
from hitsr.records import TrainingRecord
from hitsr.runtime.devices import pick_device
from hitsr.runtime.precision import check_precision
from hitsr.training import loop
from hitsr.training.compiled import compile_training
from hitsr.training.guards import explained, lost_maps_told
from hitsr.training.journal import Circumstances
from hitsr.training.kernels import autocast_of
from hitsr.training.processes import ALONE, Processes, is_member, joined
from hitsr.training.recomputed import recompute_activations
from hitsr.training.requeueing import requeued
from hitsr.training.spawning import is_started_here, run_together, under_parent
from hitsr.training.stopping import ending_early
from hitsr.training.tensorboard import check_tensorboard
from hitsr.training.validation import validator
from hitsr.upscaling.inference import upscale

_MAIN = "from hitsr.cli import main; main()"


def train(job: TrainJob, threads: int) -> TrainingRecord | None:
    """Write weights, log and record into the folder of the job's output; return the record.

    One command at a time trains into a folder. If this one had to wait for another that did the
    same job, that one's results are kept. With several `gpus` the work is done by processes of
    their own, among which the threads are divided. In such a process, or one of torchrun's, does
    its share; only the first returns the record.
    """
    assert job.output is not None
    if is_member():
        return _train_as_member(job, job.output.parent, threads)
    device = pick_device(job.device)
    count = job.processes(device.type, torch.cuda.device_count())
    out = job.output.parent
    with requeued(out, say), sole_writer(out, say) as has_waited:
        if has_waited and (record := _trained_meanwhile(job, job.output)):
            say(f"{job.output}: the other process trained this run; its results are kept")
            return record
        if count == 1:
            return _train(job, out, device, threads, ALONE)
        check_precision(job.run.recipe.precision, device)
        _run_members(job, count, threads)
        return TrainingRecord.load(job.output)


def _run_members(job: TrainJob, count: int, threads: int) -> None:
    with TemporaryDirectory(prefix="hitsr-") as folder:
        file = Path(folder) / "job.json"
        job.save(file)
        arguments = ["train", "--job", str(file), "--threads", str(threads)]
        status = run_together([sys.executable, "-P", "-c", _MAIN, *arguments], count)
    if status:
        sys.exit(status)  # the reason was shown


def _train_as_member(job: TrainJob, out: Path, threads: int) -> TrainingRecord | None:
    """Do this process's share, on the GPU of its number."""
    device = pick_device(job.device)
    if device.type == "cuda":
        device = pick_device(f"cuda:{os.environ['LOCAL_RANK']}")
        torch.cuda.set_device(device)
    threads = max(1, threads // int(os.environ["LOCAL_WORLD_SIZE"]))
    with under_parent(), joined(device) as processes:
        # The command that has started this process holds the lock; torchrun holds none.
        is_sole = is_started_here() or not processes.is_first
        with nullcontext() if is_sole else sole_writer(out, None):
            return _train(job, out, device, threads, processes)


def _trained_meanwhile(job: TrainJob, output: Path) -> TrainingRecord | None:
    if not output.is_file():
        return None
    record = TrainingRecord.load(output)
    return record if record.job_hash == job.hash else None


def _train(
    job: TrainJob, out: Path, device: torch.device, threads: int, processes: Processes
) -> TrainingRecord | None:
    words = f"{job.run.name}: was asked to end outside its steps; the same command goes on"
    with ending_early(words):
        return _steps(job, out, device, threads, processes)


def _steps(
    job: TrainJob, out: Path, device: torch.device, threads: int, processes: Processes
) -> TrainingRecord | None:
    run = job.run
    check_precision(run.recipe.precision, device)  # before pictures are decoded for minutes
    torch.set_num_threads(threads)
    check_tensorboard(job.tensorboard)
    patches, packed = processes.first_then_others(
        lambda: _pictures(job, quiet=not processes.is_first)
    )
    torch.manual_seed(derive(run.seed, "weights"))
    model = create(run.network, run.scale, autocast=autocast_of(run.recipe))
    if job.recompute:
        recompute_activations(model)
    if job.compile:
        compile_training(model)
    with explained(run, out, device, processes.count), lost_maps_told(run, job.packs / run.data):
        return loop.train(
            model,
            run,
            patches,
            validator(packed, run.scale, upscale),
            out,
            device,
            job_hash=job.hash,
            validation=digest_of(packed),
            graph=False if job.compile else job.graph,
            circumstances=Circumstances(
                checkpoint_every=job.checkpoint_every,
                most_skipped=job.most_skipped,
                gates=job.gates,
                on_miss=job.on_miss,
                tensorboard=job.tensorboard,
            ),
            processes=processes,
            tell=say,
            start_from=job.inputs.get("start_from"),
            degradation=degradation_of(job.data / run.data, run.scale),
        )


def _pictures(job: TrainJob, quiet: bool) -> tuple[Patches, list[PackedPair]]:
    """Training patches, and the pairs to validate with; missing packs are made."""
    run, packs = job.run, job.packs
    # First the smaller set: the training set may take minutes to decode.
    place = job.data / run.validation
    validation = packed_pairs(place, run.scale, packs / run.validation, quiet=quiet)
    patches = Patches.from_folder(
        job.data / run.data,
        scale=run.scale,
        patch=run.recipe.patch,
        batch=run.recipe.batch,
        seed=derive(run.seed, "patches"),
        packs=packs / run.data,
        quiet=quiet,
    )
    return patches, validation
