"""The training loop: L1 loss, Adam, a learning rate schedule and a log.

All random numbers come from seeds derived from the run's seed, and only deterministic kernels are
used unless the recipe wants the fastest. So a run that is repeated on the same machine, with the
same number of threads, gives the same weights file.
"""

import math
import time
from collections.abc import Callable, Generator
from contextlib import closing
from pathlib import Path

import torch
from torch import Tensor, nn

from hitsr.base.errors import HitsrError, SpecError
from hitsr.base.files import naming, sha256
from hitsr.base.progress import Progress
from hitsr.base.seeds import derive
from hitsr.data.patches import Patches
from hitsr.models.checkpoints import metadata_of, save_weights
from hitsr.records import BICUBIC_LR, LogLine, TrainingRecord
from hitsr.records.provenance import provenance
from hitsr.runtime.trials import chosen
from hitsr.specs.config import Graph
from hitsr.specs.network import ScaledNetwork
from hitsr.specs.recipe import Recipe
from hitsr.specs.run import RunSpec
from hitsr.training.feeding import fed
from hitsr.training.kernels import kernels, settings
from hitsr.training.schedule import learning_rate
from hitsr.training.start import load_initial_weights
from hitsr.training.step import TrainingStep

Validate = Callable[[nn.Module], float]  # a network -> its mean PSNR in dB


def train(
    model: nn.Module,
    run: RunSpec,
    patches: Patches,
    validate: Validate,
    out: Path,
    device: torch.device,
    *,
    job_hash: str,
    start_from: Path | None = None,
    degradation: str = BICUBIC_LR,
    graph: Graph = "auto",
    tell: Callable[[str], None] = print,
    quiet: bool = False,
) -> TrainingRecord:
    """Train a freshly initialised `model` in place, and write all results into the folder `out`.

    `log.part.jsonl` grows during training. At its end it becomes `log.jsonl`, beside
    `weights.safetensors` and, last, `record.json`; until then the results of an earlier training
    stay whole. `patches` must be seeded with `derive(run.seed, "patches")`. If the run starts from
    weights (`run.start_from`), `start_from` is their file. Record and log carry `job_hash`; the
    record also `degradation`: how the LR pictures were made. `graph`: whether to launch each step
    as one CUDA graph, by default on every NVIDIA GPU; `tell` is called where that is impossible.

    Raises ValueError if the patches do not match the run, SpecError if `start_from` is missing or
    superfluous or if the device has no kernels of the recipe's precision, WeightsError if weights
    do not fit, and HitsrError if the loss is not finite.
    """
    _check_inputs(run, patches, start_from)
    started = time.monotonic()
    if start_from is not None:
        load_initial_weights(model, run, start_from)
    model.to(device).train()
    torch.manual_seed(derive(run.seed, "training"))
    out.mkdir(parents=True, exist_ok=True)
    log, weights = out / "log.part.jsonl", out / "weights.part.safetensors"
    is_graph = device.type == "cuda" if graph == "auto" else graph
    step = TrainingStep(
        model, run.recipe, device, is_graph, lambda word: tell(f"{run.name}: {word}")
    )
    with kernels(run.recipe, device):
        found = settings(device)
        last = _train(model, step, run, patches, validate, log, device, job_hash, quiet)
    subject = ScaledNetwork(network=run.network, scale=run.scale)
    save_weights(model, weights, metadata_of(subject, run=run.name, run_hash=run.hash))
    record = TrainingRecord(
        subject=run.name,
        job_hash=job_hash,
        provenance=provenance(str(device), time.monotonic() - started, run.seed),
        run=run,
        params=sum(parameter.numel() for parameter in model.parameters()),
        pictures=len(patches.pictures),
        settings=found | chosen(device),
        graph=step.is_captured,
        no_graph=step.problem,
        degradation=degradation,
        final_loss=last.loss,
        final_validation_psnr_db=last.validation_psnr_db,
        weights_sha256=sha256(weights),
        log_sha256=sha256(log),
    )
    # Without a record between, no old record ever stands beside new weights or a new log.
    (out / "record.json").unlink(missing_ok=True)
    weights.replace(out / "weights.safetensors")
    log.replace(out / "log.jsonl")
    record.save(out / "record.json")
    return record


def _train(
    model: nn.Module,
    step: TrainingStep,
    run: RunSpec,
    patches: Patches,
    validate: Validate,
    log_file: Path,
    device: torch.device,
    job_hash: str,
    quiet: bool,
) -> LogLine:
    """Train for all steps, with log and validation; returns the last line of the log."""
    recipe, started = run.recipe, time.monotonic()
    losses: list[Tensor] = []
    with (
        naming(log_file),  # closing it tries a failed write again
        log_file.open("w", encoding="utf-8") as log,
        Progress(f"train {run.name}", recipe.steps, "step", quiet) as progress,
        closing(_losses(step, recipe, patches, device)) as taken,  # ends its threads
    ):
        for number, loss in taken:
            losses.append(loss)
            validates = number % recipe.validate_every == 0 or number == recipe.steps
            if validates or number % recipe.log_every == 0:
                mean_loss = _mean(losses, run, number)
                psnr_db = None
                if validates:
                    with kernels(recipe, device, of_one_size=False):
                        psnr_db = validate(model)
                line = LogLine(
                    step=number,
                    loss=mean_loss,
                    learning_rate=learning_rate(recipe, number),
                    validation_psnr_db=psnr_db,
                    seconds=time.monotonic() - started,
                    job_hash=job_hash,
                )
                print(line.model_dump_json(), file=log, flush=True)
                progress.note(_summary(line))
                losses.clear()
            progress.advance()
    return line


def _losses(
    step: TrainingStep, recipe: Recipe, patches: Patches, device: torch.device
) -> Generator[tuple[int, Tensor], None, None]:
    """Take all steps and yield (number of the step, from 1, and its loss).

    The loss stays on the device, so that no step waits for the one before it.
    """
    with fed(patches, range(1, recipe.steps + 1), device) as batches:
        for number, (lr, hr) in enumerate(batches, start=1):
            step.set_learning_rate(learning_rate(recipe, number))
            yield number, step(lr, hr)


def _mean(losses: list[Tensor], run: RunSpec, last_step: int) -> float:
    """Mean of the losses up to `last_step`; HitsrError names the first that is not finite."""
    values = torch.stack(losses).tolist()
    for step, value in enumerate(values, last_step - len(values) + 1):
        if not math.isfinite(value):
            raise HitsrError(
                f"{run.name}: the loss is {value} at step {step}, learning rate "
                f"{learning_rate(run.recipe, step):g}; lower recipe.learning_rate"
            )
    return math.fsum(values) / len(values)


def _check_inputs(run: RunSpec, patches: Patches, start_from: Path | None) -> None:
    recipe = run.recipe
    wanted = (run.scale, recipe.patch, recipe.batch, derive(run.seed, "patches"))
    found = (patches.scale, patches.patch, patches.batch, patches.seed)
    if found != wanted:
        raise ValueError(
            f"{run.name}: patches have (scale, side, batch, seed) {found}, the run has {wanted}"
        )
    if run.start_from is None and start_from is not None:
        raise SpecError(
            f"{run.name}: starts from no run and no file, but weights {start_from} are given; "
            "leave them out"
        )
    if run.start_from is not None and start_from is None:
        raise SpecError(
            f"{run.name}: starts from {run.start_from.name}; give its weights file, --start-from"
        )


def _summary(line: LogLine) -> str:
    psnr_db = line.validation_psnr_db
    return f"loss {line.loss:.4f}" + ("" if psnr_db is None else f", {psnr_db:.2f} dB")
