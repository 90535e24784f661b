"""The log of a training, and what its record will say of the steps so far."""

import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import fmean
from typing import IO, NamedTuple, Self

import torch
from torch import Tensor

from hitsr.base.errors import HitsrError
from hitsr.base.files import naming
from hitsr.data.patches import Patches
from hitsr.records import GateResult, LogLine, Session
from hitsr.records.checkpoint import Means, Position
from hitsr.specs.config import OnMiss
from hitsr.specs.recipe import Gate
from hitsr.specs.run import RunSpec
from hitsr.training.checkpoints import Checkpoint
from hitsr.training.loss_scale import HALVINGS
from hitsr.training.schedule import learning_rate
from hitsr.training.tensorboard import Curves

_MOST_NAMED = 4  # patches of a skipped step; all are `Patches.described(step)`


class Circumstances(NamedTuple):
    """What changes no weights of a training."""

    checkpoint_every: int = 500  # steps
    most_skipped: int = 10  # steps in a row
    gates: tuple[Gate, ...] = ()
    on_miss: OnMiss = "warn"
    tensorboard: bool = False  # also write the curves for TensorBoard, beside the log


USUAL = Circumstances()


class Journal:
    """Written by the first process; the others only count. A context manager, for its file.

    `session` says who works: its steps and seconds are counted here. `found` is the checkpoint that
    the training goes on from, whose log replaces what the file says of later steps. `clock`
    gives the seconds that this process's device has worked.
    """

    def __init__(
        self,
        file: Path,
        run: RunSpec,
        patches: Patches,
        circumstances: Circumstances,
        session: Session,
        found: Checkpoint | None,
        tell: Callable[[str], None],
        *,
        job_hash: str,
        clock: Callable[[], float] = time.monotonic,
        is_written: bool = True,
    ) -> None:
        self._file, self._run, self._patches = file, run, patches
        self._circumstances, self._session, self._tell = circumstances, session, tell
        self._job_hash, self._is_written = job_hash, is_written
        position = found.position if found else None
        self._earlier = position.sessions if position else ()
        self._seconds = position.seconds if position else 0.0
        self._device_seconds = position.device_seconds if position else 0.0
        self._step = position.step if position else 0
        self._losses = list(position.losses) if position else []  # since the last line
        self._last_loss = position.last_loss if position else None
        self._in_a_row = position.in_a_row if position else 0
        self.skipped = list(position.skipped) if position else []
        self.gates = list(position.gates) if position else []
        reasons = {gate: _why_untested(gate, run) for gate in circumstances.gates}
        self._gates = [gate for gate, reason in reasons.items() if reason is None]
        for gate, reason in reasons.items():
            if reason is not None:
                tell(
                    f"{run.name}: the gate of {gate.psnr_db:.2f} dB at step {gate.step} is left "
                    f"out: {reason}"
                )
        self._unread: list[Tensor] = []  # results of steps, still on the device
        self._start, self._clock, self._clock_start = time.monotonic(), clock, clock()
        self._text = found.log if found else b""  # of the log, as bytes
        self.psnr_db = _last_psnr_db(self._text)
        self._log: IO[bytes] | None = None
        self._curves: Curves | None = None

    def __enter__(self) -> Self:
        if self._is_written:
            if self._circumstances.tensorboard:
                self._curves = Curves(self._file.parent / "tensorboard", self._step + 1)
            with naming(self._file):
                self._log = self._file.open("wb")
                self._log.write(self._text)
        return self

    def __exit__(self, *_: object) -> None:
        if self._curves is not None:
            self._curves.close()
        if self._log is not None:
            with naming(self._file):  # closing it tries a failed write again
                self._log.close()

    @property
    def seconds(self) -> float:
        """Of training, in all sessions."""
        return self._seconds + self._elapsed

    @property
    def device_seconds(self) -> float:
        """Of all devices together, in all sessions."""
        elapsed = self._clock() - self._clock_start
        return self._device_seconds + elapsed * self._session.devices

    @property
    def sessions(self) -> tuple[Session, ...]:
        """All sessions until now that took steps."""
        if self._step < self._session.first_step:
            return self._earlier
        known = {"last_step": self._step, "seconds": self._elapsed}
        return (*self._earlier, self._session.model_copy(update=known))

    @property
    def last_line(self) -> LogLine:
        """Of the log, which has one."""
        return LogLine.model_validate_json(self._text.splitlines()[-1])

    @property
    def _elapsed(self) -> float:
        return time.monotonic() - self._start

    def add(self, step: int, result: Tensor) -> None:
        """Note what a step returned, which may not be computed yet."""
        self._step = step
        self._unread.append(result)

    def read(self) -> None:
        """Wait for the steps so far, and look at their results.

        Tells of skipped steps; HitsrError if there are too many of them in a row.
        """
        if not self._unread:
            return
        first = self._step - len(self._unread) + 1
        for step, (loss, bad) in enumerate(torch.stack(self._unread).tolist(), first):
            if not bad:
                self._losses.append(loss)
                self._in_a_row = 0
                continue
            self.skipped.append(step)
            self._in_a_row += 1
            self._tell_skipped(step, loss)
        self._unread.clear()

    def _tell_skipped(self, step: int, loss: float) -> None:
        run, most = self._run, self._circumstances.most_skipped
        if run.recipe.precision == "float16":
            most += HALVINGS  # which is how the scale of the loss is found
        what = "gradient" if math.isfinite(loss) else "loss"
        where = f"{run.name}: the {what} of step {step} is not finite"
        if self._in_a_row <= most:
            if run.recipe.precision != "float16":
                self._tell(f"{where}; it changes nothing; {self._patches_of(step)}")
            return
        rate = learning_rate(run.recipe, step)
        raise HitsrError(
            f"{where}, as of the {self._in_a_row - 1} steps before (learning rate {rate:g}); "
            "checkpoints are kept; lower the rate, add a warm-up, clip gradients, or allow more "
            f"steps by `most_skipped`; {self._patches_of(step)}"
        )

    def _patches_of(self, step: int) -> str:
        return f"patches: {self._patches.described(step, _MOST_NAMED)}"

    def write(self, psnr_db: float | None) -> LogLine:
        """Write a line of the log; `psnr_db` is of the validation at this step, if there was one.

        The loss is the mean since the last line; that line's again if all steps were skipped, and
        None if there is none.
        """
        self.read()
        self._last_loss = fmean(self._losses) if self._losses else self._last_loss
        self._losses.clear()
        line = LogLine(
            step=self._step,
            loss=self._last_loss,
            learning_rate=learning_rate(self._run.recipe, self._step),
            validation_psnr_db=psnr_db,
            seconds=self.seconds,
            device_seconds=self.device_seconds,
            job_hash=self._job_hash,
        )
        if self._log is not None:
            text = f"{line.model_dump_json()}\n".encode()
            with naming(self._file):
                self._log.write(text)
                self._log.flush()
            self._text += text
        if self._curves is not None:
            self._curves.add(line)
        if psnr_db is not None:
            self.psnr_db = psnr_db
            self._pass_gates(psnr_db)
        return line

    def _pass_gates(self, psnr_db: float) -> None:
        """Note the gates of this step, and tell those that it missed."""
        for gate in self._gates:
            if gate.step != self._step:
                continue
            result = GateResult(gate=gate, reached_db=psnr_db)
            self.gates.append(result)
            is_last = self._step == self._run.recipe.steps
            if not result.is_passed and (is_last or self._goes_on):
                more = "" if is_last else "; the training goes on"
                self._tell(f"{self._run.name}: {_missed(result)}{more}")

    @property
    def _goes_on(self) -> bool:
        """Whether a training goes on that missed a gate."""
        return self._circumstances.on_miss == "warn"

    @property
    def why_stop(self) -> str | None:
        """Which gate was missed, now or before a checkpoint, if such a training is to stop."""
        if self._goes_on:
            return None
        return next((_missed(each) for each in self.gates if not each.is_passed), None)

    def checkpoint(self, tensors: Mapping[str, Tensor], means: Means) -> Checkpoint:
        """All of this, for a checkpoint with these tensors."""
        self.read()
        position = Position(
            step=self._step,
            seconds=self.seconds,
            device_seconds=self.device_seconds,
            sessions=self.sessions,
            losses=tuple(self._losses),
            last_loss=self._last_loss,
            skipped=tuple(self.skipped),
            in_a_row=self._in_a_row,
            gates=tuple(self.gates),
            means=means,
        )
        return Checkpoint(position, self._text, tensors)


def _last_psnr_db(log: bytes) -> float | None:
    """Of the last validation in a log; None if there is none."""
    lines = map(LogLine.model_validate_json, reversed(log.splitlines()))
    found = (line.validation_psnr_db for line in lines)
    return next((psnr_db for psnr_db in found if psnr_db is not None), None)


def _missed(result: GateResult) -> str:
    gate = result.gate
    return (
        f"{result.reached_db:.2f} dB on {gate.validation} at step {gate.step} is below the gate of "
        f"{gate.psnr_db:.2f} dB less {gate.tolerance_db:.2f} dB ({gate.source})"
    )


def _why_untested(gate: Gate, run: RunSpec) -> str | None:
    """Why a gate of a training will not be looked at; None if it will be."""
    recipe = run.recipe
    if (gate.network, gate.scale, gate.validation) != (run.network.name, run.scale, run.validation):
        return f"it is of {gate.network} x{gate.scale} on {gate.validation}"
    if gate.step > recipe.steps:
        return f"the training has {recipe.steps} steps"
    if gate.step % recipe.validate_every and gate.step != recipe.steps:
        return f"validations are every {recipe.validate_every} steps; change `validate_every`"
    return None
