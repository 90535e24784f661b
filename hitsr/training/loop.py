"""The training loop: L1 loss, Adam, a learning rate schedule, a log, and checkpoints.

All random numbers come from seeds derived from the run's seed and the step, and only deterministic
kernels are used unless the recipe wants the fastest. So a run that is repeated on the same machine,
with the same number of threads, gives the same weights file, whatever stopped it on the way and
whatever number of processes shared its batches.
"""

import time
from collections.abc import Callable, Generator
from contextlib import closing, nullcontext
from pathlib import Path

import torch
from torch import Tensor, nn

from hitsr.base.errors import HitsrError, RecordError, SpecError, ToBeContinuedError
from hitsr.base.files import sha256, sweep
from hitsr.base.progress import Progress
from hitsr.base.seeds import derive
from hitsr.data.patches import Patches
from hitsr.models.checkpoints import metadata_of, save_weights
from hitsr.plan.fingerprint import code_of
from hitsr.records import BICUBIC_LR, LogLine, Session, TrainingRecord
from hitsr.records.checkpoint import Identity, Means, folder_of
from hitsr.records.provenance import provenance
from hitsr.runtime.trials import chosen
from hitsr.specs.config import Graph
from hitsr.specs.network import ScaledNetwork
from hitsr.specs.run import RunSpec
from hitsr.training.checkpoints import (
    KEPT,
    Checkpoint,
    delete_damaged,
    last_checkpoint,
    save_checkpoint,
    set_aside,
)
from hitsr.training.feeding import fed
from hitsr.training.journal import USUAL, Circumstances, Journal
from hitsr.training.kernels import kernels, settings
from hitsr.training.processes import ALONE, Processes
from hitsr.training.recomputed import recomputes
from hitsr.training.start import load_initial_weights
from hitsr.training.step import TrainingStep
from hitsr.training.stopping import watched

# Steps between agreements of several processes to end: each makes them wait for one another.
_ASKED_EVERY = 10

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
    validation: str = "",
    start_from: Path | None = None,
    degradation: str = BICUBIC_LR,
    graph: Graph = "auto",
    circumstances: Circumstances = USUAL,
    processes: Processes = ALONE,
    tell: Callable[[str], None] = print,
    quiet: bool = False,
) -> TrainingRecord | None:
    """Train a freshly initialised `model` in place, and write all results into the folder `out`.

    `log.part.jsonl` grows during training, and checkpoints are written beside it. A training that
    was stopped goes on from its last checkpoint. At its end the log becomes `log.jsonl`, beside
    `weights.safetensors` and, last, `record.json`; until then the results of an earlier training
    stay whole. `patches` must be seeded with `derive(run.seed, "patches")`; `validation` changes
    when the pictures of `validate` do. If the run starts from weights (`run.start_from`),
    `start_from` is their file. Record and log carry `job_hash`; the record also `degradation`: how
    the LR pictures were made. `graph`: whether to launch each step as one CUDA graph, by default on
    every NVIDIA GPU; `tell` is called where that is impossible. Of several `processes`, all call
    this, and only the first writes; the others return None.

    Raises ValueError if the patches do not match the run, SpecError if `start_from` is missing or
    superfluous or if the device has no kernels of the recipe's precision, WeightsError if weights
    do not fit, HitsrError if too many steps in a row have no finite gradient or if a gate is missed
    that stops the training, and ToBeContinuedError after SIGTERM, SIGINT, SIGHUP or SIGUSR1.
    """
    _check_inputs(run, patches, start_from)
    say = tell if processes.is_first else lambda _: None
    out.mkdir(parents=True, exist_ok=True)
    log, weights = out / "log.part.jsonl", out / "weights.part.safetensors"
    identity = Identity(
        job_hash=job_hash,
        run=run,
        pictures=patches.digest,
        validation=validation,
        start_sha256=sha256(start_from) if start_from else None,
    )
    found = _found(folder_of(out), identity, say) if processes.is_first else None
    found = processes.first_says(found)
    if found is None and start_from is not None:
        load_initial_weights(model, run, start_from, say)
    model.to(device).train()
    is_graph = device.type == "cuda" if graph == "auto" else graph
    step = TrainingStep(
        model,
        run.recipe,
        device,
        is_graph,
        lambda word: say(f"{run.name}: {word}"),
        seed=derive(run.seed, "training"),
        processes=processes,
    )
    session = _session(device, processes, found)
    if found is not None:
        try:
            step.load(found.tensors, found.position.step)
        except (KeyError, RuntimeError) as error:
            raise RecordError(
                f"{folder_of(out)}: checkpoints of another version of hitsr ({error}); go on with "
                "that version, or delete them to train anew"
            ) from None
        say(_goes_on(run, found, session))
    journal = Journal(
        log, run, patches, circumstances, session, found, say,
        job_hash=job_hash, is_written=processes.is_first,
        clock=time.process_time if device.type == "cpu" else time.monotonic,
    )  # fmt: skip
    with kernels(run.recipe, device):
        with journal:
            work = _Work(model, step, run, journal, validate, device, processes, folder_of(out))
            work.do(patches, identity, circumstances.checkpoint_every, quiet)
        is_finished = found is not None and found.position.step == run.recipe.steps
        means = found.position.means if found and is_finished else work.means()
    if not processes.is_first:
        return None
    last = journal.last_line
    if last.loss is None:
        raise HitsrError(f"{run.name}: no step had a finite gradient; lower the learning rate")
    subject = ScaledNetwork(network=run.network, scale=run.scale)
    with step.with_result():
        save_weights(model, weights, metadata_of(subject, run=run.name, run_hash=run.hash))
    record = TrainingRecord(
        subject=run.name,
        job_hash=job_hash,
        provenance=provenance(str(device), last.seconds, run.seed),
        run=run,
        params=sum(parameter.numel() for parameter in model.parameters()),
        pictures=len(patches.pictures),
        settings=means.settings,
        sessions=journal.sessions,
        skipped=tuple(journal.skipped),
        gates=tuple(journal.gates),
        graph=means.graph,
        no_graph=means.no_graph,
        degradation=degradation,
        final_loss=last.loss,
        final_validation_psnr_db=last.validation_psnr_db,
        weights_sha256=sha256(weights),
        log_sha256=sha256(log),
    )
    with watched():  # who asks it to end now finds it ended
        # Without a record between, no old record ever stands beside new weights or a new log.
        (out / "record.json").unlink(missing_ok=True)
        weights.replace(out / "weights.safetensors")
        log.replace(out / "log.jsonl")
        record.save(out / "record.json")
        sweep(out)
        delete_damaged(folder_of(out))
    return record


class _Work:
    """Takes the steps of a training, and validates, logs and saves between them."""

    def __init__(
        self,
        model: nn.Module,
        step: TrainingStep,
        run: RunSpec,
        journal: Journal,
        validate: Validate,
        device: torch.device,
        processes: Processes,
        checkpoints: Path,
    ) -> None:
        self._model, self._step, self._run, self._journal = model, step, run, journal
        self._validate, self._device, self._processes = validate, device, processes
        self._checkpoints = checkpoints

    def do(self, patches: Patches, identity: Identity, checkpoint_every: int, quiet: bool) -> None:
        """Take all steps that are left, and save the state after them."""
        recipe, processes = self._run.recipe, self._processes
        first = self._step.taken + 1
        quiet = quiet or not processes.is_first
        with (
            watched() as is_asked_to_end,
            Progress(f"train {self._run.name}", recipe.steps, "step", quiet, first - 1) as progress,
            # Ends its threads.
            closing(self._results(self._own(patches), range(first, recipe.steps + 1))) as results,
        ):
            if first <= recipe.steps:
                self._stop_below_gate()  # that was missed before the checkpoint
            for number, result in results:
                self._journal.add(number, result)
                is_last, is_saved = number == recipe.steps, False
                validates = number % recipe.validate_every == 0 or is_last
                if validates or number % recipe.log_every == 0:
                    line = self._journal.write(self._psnr_db() if validates else None)
                    progress.note(_summary(line, self._journal))
                progress.advance()
                if number % checkpoint_every == 0 or is_last:
                    self._save(identity, kept=1 if is_last else KEPT)
                    is_saved = True
                agree = processes.count == 1 or number % _ASKED_EVERY == 0
                ends = agree and processes.any(is_asked_to_end(), self._device)
                if (ends or self._journal.why_stop) and not is_last:
                    if not is_saved:
                        self._save(identity)
                    self._stop_below_gate()
                    raise ToBeContinuedError(f"{self._where}; the same command goes on from there")

    @property
    def _where(self) -> str:
        return f"{self._run.name}: step {self._step.taken} of {self._run.recipe.steps} is saved"

    def _stop_below_gate(self) -> None:
        """Raise HitsrError if a training that missed a gate is to stop."""
        if reason := self._journal.why_stop:
            raise HitsrError(
                f"{self._where}, and the training stops: {reason}; look for the reason in "
                "log.part.jsonl, or go on from there with `on_miss: warn`"
            )

    def _own(self, patches: Patches) -> Patches:
        """The patches that this process computes."""
        parts = self._run.recipe.parts
        share, each = self._processes.share(parts), self._run.recipe.batch // parts
        return patches.only(range(share.start * each, share.stop * each))

    def _results(self, patches: Patches, steps: range) -> Generator[tuple[int, Tensor], None, None]:
        """Take steps and yield (number of the step, its result).

        The result stays on the device, so that no step waits for the one before it.
        """
        with fed(patches, steps, self._device) as batches:
            for number, (lr, hr) in zip(steps, batches, strict=True):
                yield number, self._step(lr, hr)

    def _psnr_db(self) -> float | None:
        """The mean PSNR of the validation set; the first process alone computes it."""
        psnr_db = None
        if self._processes.is_first:
            recipe = self._run.recipe
            averaged = self._step.with_result() if recipe.validated == "average" else nullcontext()
            with averaged, kernels(recipe, self._device, of_one_size=False):
                psnr_db = self._validate(self._model)
        return self._processes.first_says(psnr_db)

    def means(self) -> Means:
        """With what the steps of this session were computed."""
        used = settings(self._device) | chosen(self._device)
        return Means(
            settings=used | {"recompute": str(recomputes(self._model))},
            graph=self._step.is_captured,
            no_graph=self._step.problem,
        )

    def _save(self, identity: Identity, kept: int = KEPT) -> None:
        self._journal.read()
        if self._processes.is_first:
            checkpoint = self._journal.checkpoint(self._step.state(), self.means())
            save_checkpoint(self._checkpoints, identity, checkpoint, kept)
        self._processes.first_says(None)  # before any ends


def _found(folder: Path, identity: Identity, tell: Callable[[str], None]) -> Checkpoint | None:
    """The checkpoint to go on from; that of a finished training if the code is still the same."""
    found = last_checkpoint(folder, identity, tell)
    if found is None or found.position.step < identity.run.recipe.steps:
        return found
    if found.position.sessions[-1].code != code_of("train"):
        # Else its last step would always be found before those of the new training.
        tell(
            f"{identity.run.name}: was trained by other code of hitsr, and is trained anew; its "
            f"checkpoint is kept in {set_aside(folder)}"
        )
        return None
    return found


def _session(device: torch.device, processes: Processes, found: Checkpoint | None) -> Session:
    """The session that begins, of which no step is taken yet."""
    made = provenance(str(device), 0.0)
    first = found.position.step + 1 if found else 1
    return Session(
        first_step=first,
        last_step=first,
        seconds=0.0,
        device_name=made.device_name,
        devices=processes.count,
        commit=made.commit,
        code=code_of("train"),
        torch=made.versions.get("torch"),
        threads=made.threads,
    )


def _goes_on(run: RunSpec, found: Checkpoint, session: Session) -> str:
    """What to say of a training that goes on, and of what is not as it was before."""
    before = found.position.sessions[-1]
    changed = [
        f"{words} {old}, now {new}"
        for words, old, new in (
            ("processes", before.devices, session.devices),
            ("device", before.device_name, session.device_name),
            ("code of hitsr", before.code, session.code),
            ("torch", before.torch, session.torch),
            ("threads", before.threads, session.threads),
        )
        if old != new
    ]
    if found.position.step == run.recipe.steps:
        return f"{run.name}: was trained before; its results are written from its last checkpoint"
    words = f"{run.name}: goes on from step {found.position.step} of {run.recipe.steps}"
    return f"{words}; before: {', '.join(changed)}" if changed else words


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


def _summary(line: LogLine, journal: Journal) -> str:
    parts = [] if line.loss is None else [f"loss {line.loss:.4f}"]
    if journal.psnr_db is not None:
        parts.append(f"{journal.psnr_db:.2f} dB")
    if journal.skipped:
        parts.append(f"{len(journal.skipped)} skipped")
    return ", ".join([*parts, f"{journal.device_seconds / 3600:.2f} device-hours"])
