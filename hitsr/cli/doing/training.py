"""Train one run."""

from pathlib import Path

import torch

from hitsr.base.seeds import derive
from hitsr.base.writers import sole_writer
from hitsr.cli.options import say
from hitsr.data.origins import degradation_of
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
from hitsr.training.recomputed import recompute_activations
from hitsr.training.tensorboard import check_tensorboard
from hitsr.training.validation import validator
from hitsr.upscaling.inference import upscale


def train(job: TrainJob, threads: int) -> TrainingRecord:
    """Write weights, log and record into the folder of the job's output; return the record.

    One process at a time trains into a folder. If this one had to wait for another that did the
    same job, that one's results are kept.
    """
    assert job.output is not None
    with sole_writer(job.output.parent, say) as has_waited:
        if has_waited and (record := _trained_meanwhile(job, job.output)):
            say(f"{job.output}: the other process trained this run; its results are kept")
            return record
        return _train(job, job.output.parent, threads)


def _trained_meanwhile(job: TrainJob, output: Path) -> TrainingRecord | None:
    if not output.is_file():
        return None
    record = TrainingRecord.load(output)
    return record if record.job_hash == job.hash else None


def _train(job: TrainJob, out: Path, threads: int) -> TrainingRecord:
    run, device = job.run, pick_device(job.device)
    check_precision(run.recipe.precision, device)  # before pictures are decoded for minutes
    torch.set_num_threads(threads)
    check_tensorboard(job.tensorboard)
    # First the smaller set: the training set may take minutes to decode.
    packs = job.packs / run.data
    validate = validator(job.data / run.validation, run.scale, job.packs / run.validation, upscale)
    patches = Patches.from_folder(
        job.data / run.data,
        scale=run.scale,
        patch=run.recipe.patch,
        batch=run.recipe.batch,
        seed=derive(run.seed, "patches"),
        packs=packs,
    )
    torch.manual_seed(derive(run.seed, "weights"))
    model = create(run.network, run.scale, autocast=autocast_of(run.recipe))
    if job.recompute:
        recompute_activations(model)
    if job.compile:
        compile_training(model)
    with explained(run, out, device), lost_maps_told(run, packs):
        record = loop.train(
            model,
            run,
            patches,
            validate,
            out,
            device,
            job_hash=job.hash,
            graph=False if job.compile else job.graph,
            circumstances=Circumstances(
                checkpoint_every=job.checkpoint_every,
                most_skipped=job.most_skipped,
                gates=job.gates,
                on_miss=job.on_miss,
                tensorboard=job.tensorboard,
            ),
            tell=say,
            start_from=job.inputs.get("start_from"),
            degradation=degradation_of(job.data / run.data, run.scale),
        )
    assert record is not None
    return record
