"""Time single forwards, and keep every sample.

Models that are compared take turns, forward by forward: other load on the machine then slows all of
them alike, and ratios of neighbouring forwards are more exact than ratios of medians.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from statistics import median
from typing import NamedTuple

import torch
from torch import nn

from hitsr.base.errors import HitsrError, SpecError
from hitsr.base.progress import Progress
from hitsr.measure.energy import start_meter
from hitsr.measure.forwards import Forward, Work, conditions, ready
from hitsr.measure.machine import machine_state
from hitsr.records import Energy, Timing
from hitsr.records.latency import TRITON_KERNELS
from hitsr.runtime.precision import settings
from hitsr.runtime.trials import chosen

# A model is warm when the medians of its last two windows of forwards differ by at most 2 %. A
# window is the fewest forwards that are at least this many and take this long.
WINDOW_FORWARDS, WINDOW_MS, SETTLED = 3, 250.0, 0.02
# The clocks of a GPU rise during the first second of work, and its first forwards compile and try
# kernels: it is busy for at least and, however few forwards are asked for, at most this long.
GPU_LEAST_SECONDS, GPU_MOST_SECONDS = 1.0, 10.0
_MOST_QUICK_FORWARDS = 1000  # within these seconds


class _Turn:
    """One of the models that take turns. A model that fails is dropped; its memory is freed."""

    def __init__(self, work: Work) -> None:
        self.work = work
        self.forward: Forward | None = None
        self.warmup_ms: list[float] = []
        self.samples_ms: list[float] = []
        self.settings: dict[str, str] = {}
        self.error: SpecError | None = None

    def make_ready(self, model: nn.Module) -> None:
        def make() -> None:
            self.forward, self.settings = ready(model, self.work), settings(self.work.device)

        self._try(make)

    def name_kernels(self) -> None:
        """Note the Triton kernels of a warm forward, which has tried all that it chooses from."""
        if self.forward is not None and (kernels := self.forward.kernels) is not None:
            self._try(
                lambda: self.settings.update({TRITON_KERNELS: ", ".join(kernels()) or "none"})
            )

    def take(self, times: list[float]) -> None:
        forward = self.forward
        if forward is not None:
            self._try(lambda: times.append(forward.run()))

    def _try(self, step: Callable[[], None]) -> None:
        try:
            with conditions(self.work):
                step()
        except HitsrError as error:
            # A copy without the traceback, which would keep the model's tensors alive.
            self.forward, self.error = None, SpecError(str(error))


class WarmUp(NamedTuple):
    """How long a model runs before the first sample, unless its times agree earlier."""

    forwards: int  # 0: no warm-up
    # Beyond `forwards`, until its forwards have taken this long. None: 10 on a GPU, else 0.
    seconds: float | None = None

    def is_enough(self, times_ms: Sequence[float], device: torch.device) -> bool:
        """Whether a model that took these times is warm, or has reached the limit."""
        least, most = (0.0, 0.0) if device.type == "cpu" else (GPU_LEAST_SECONDS, GPU_MOST_SECONDS)
        if self.seconds is not None:
            least, most = min(least, self.seconds), self.seconds
        # The first forward may compile for seconds, in which the device is idle.
        taken, seconds = len(times_ms), sum(times_ms[1:]) / 1000
        if not self.forwards or (seconds >= least and settled(times_ms)):
            return True
        has_time = seconds < most and taken < _MOST_QUICK_FORWARDS
        return taken >= self.forwards and not has_time


def settled(times_ms: Sequence[float]) -> bool | None:
    """Whether the medians of the last two windows agree; None if there are no two windows."""
    newer = _window(times_ms)
    older = _window(times_ms[: len(times_ms) - len(newer)])
    if not (newer and older):
        return None
    return abs(median(newer) / median(older) - 1) <= SETTLED


def _window(times_ms: Sequence[float]) -> Sequence[float]:
    """The last forwards that make a window; empty if there are too few."""
    taken_ms = 0.0
    for number, time_ms in enumerate(reversed(times_ms), 1):
        taken_ms += time_ms
        if number >= WINDOW_FORWARDS and taken_ms >= WINDOW_MS:
            return times_ms[-number:]
    return ()


def measure(
    models: Sequence[nn.Module],
    work: Work,
    *,
    warmup: int | WarmUp,
    samples: int,
    quiet: bool = False,
) -> tuple[Timing, ...]:
    """Like `measure_each`, of one work, but raises the SpecError of the first that cannot run."""
    works = [(model, work) for model in models]
    timings = []
    for found in measure_each(works, warmup=warmup, samples=samples, quiet=quiet):
        if isinstance(found, SpecError):
            raise found
        timings.append(found)
    return tuple(timings)


def measure_each(
    works: Sequence[tuple[nn.Module, Work]],
    *,
    warmup: int | WarmUp,
    samples: int,
    quiet: bool = False,
) -> tuple[Timing | SpecError, ...]:
    """Time `samples` forwards of each model, in turns, after a warm-up.

    Models run in eval and inference mode on noise with a fixed seed. Each is moved to the device,
    dtype and layout of its work, and stays there; pictures and device are the same for all. CUDA is
    timed with events, other devices with the wall clock. The warm-up ends when the times of each
    model agree, or at its limit; a number alone is that of its forwards. On CUDA one more forward
    then names the Triton kernels that it launches (`settings`). Energy is measured only for a
    single model: counters are too slow to separate models that take turns.

    A model that cannot run on the device, in the precision, with the compiler, as a graph or within
    memory has its error in place of a timing; the other models are still timed. Raises ValueError
    for no model, no sample, different pictures or devices, an empty batch or a negative warm-up.
    """
    warmup = WarmUp(warmup) if isinstance(warmup, int) else warmup
    alike = {(work.input_size, work.batch, work.device) for _, work in works}
    if (
        samples < 1
        or min(warmup.forwards, warmup.seconds or 0) < 0
        or len(alike) != 1
        or works[0][1].batch < 1
    ):
        raise ValueError(
            "needs models, samples, pictures in a batch, the same for all, and no negative "
            f"warm-up; got {len(works)} models of {alike}, {samples}, {warmup}"
        )
    device, pictures = works[0][1].device, works[0][1].pictures
    before = machine_state(device)
    turns = [_Turn(work) for _, work in works]
    for turn, (model, _) in zip(turns, works, strict=True):
        turn.make_ready(model)
    _warm_up(turns, warmup, pictures, quiet)
    for turn in turns:
        turn.name_kernels()
    energy = _sample(turns, samples, pictures, quiet)
    finished = [turn.samples_ms for turn in turns if turn.forward]
    session = _session(finished) if len(finished) > 1 else None
    after = machine_state(device)

    def timing(turn: _Turn, forward: Forward) -> Timing:
        return Timing(
            precision=turn.work.precision,
            launch=turn.work.launch,
            batch=turn.work.batch,
            channels_last=turn.work.channels_last,
            preparation_seconds=forward.preparation_seconds,
            clock=forward.clock,
            warmup=len(turn.warmup_ms),
            warmup_ms=tuple(turn.warmup_ms),
            warmup_stable=settled(turn.warmup_ms),
            samples_ms=tuple(turn.samples_ms),
            session=session,
            energy=energy,
            settings=turn.settings | chosen(device),
            before=before,
            after=after,
        )

    return tuple(turn.error or timing(turn, _running(turn)) for turn in turns)


def _running(turn: _Turn) -> Forward:
    assert turn.forward is not None
    return turn.forward


def _warm_up(turns: Sequence[_Turn], limit: WarmUp, pictures: str, quiet: bool) -> None:
    """Run forwards in turns until each is warm: fast ones need many more than slow ones."""
    with Progress(f"warm-up at {pictures}", limit.forwards, "forward", quiet) as progress:
        while cold := [
            turn
            for turn in turns
            if turn.forward and not limit.is_enough(turn.warmup_ms, turn.work.device)
        ]:
            for turn in cold:
                turn.take(turn.warmup_ms)
            progress.advance()


def _sample(turns: Sequence[_Turn], samples: int, pictures: str, quiet: bool) -> Energy | None:
    """Time forwards in turns; returns the energy used if there is only one model."""
    with Progress(f"latency at {pictures}", samples, "forward", quiet) as progress:
        consumed = start_meter(turns[0].work.device)
        for _ in range(samples):
            for turn in turns:
                turn.take(turn.samples_ms)
            progress.advance()
        return consumed() if len(turns) == 1 else None


def _session(samples_ms: Sequence[Sequence[float]]) -> str:
    """A unique name of a measurement: the hash of all its times."""
    return hashlib.sha256(json.dumps(samples_ms).encode()).hexdigest()[:16]
