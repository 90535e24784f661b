"""Time single forwards, and keep every sample.

Models that are compared take turns, forward by forward: other load on the machine then slows all of
them alike, and ratios of neighbouring forwards are more exact than ratios of medians.
"""

import hashlib
import json
from collections.abc import Callable, Sequence

import torch
from torch import nn

from hitsr.base.errors import HitsrError, SpecError
from hitsr.base.progress import Progress
from hitsr.measure.energy import start_meter
from hitsr.measure.forwards import Forward, Work, conditions, ready
from hitsr.measure.machine import machine_state
from hitsr.records import Energy, Timing

# The warm-up ends early when a model's last five times lie within 5 % of each other.
STABLE_FORWARDS, STABLE_SPREAD = 5, 0.05


class _Turn:
    """One of the models that take turns. A model that fails is dropped; its memory is freed."""

    def __init__(self) -> None:
        self.forward: Forward | None = None
        self.warmup_ms: list[float] = []
        self.samples_ms: list[float] = []
        self.error: SpecError | None = None

    def make_ready(self, model: nn.Module, work: Work) -> None:
        def make() -> None:
            self.forward = ready(model, work)

        self._try(make, work)

    def take(self, times: list[float], work: Work) -> None:
        forward = self.forward
        if forward is not None:
            self._try(lambda: times.append(forward.run()), work)

    def _try(self, step: Callable[[], None], work: Work) -> None:
        try:
            with conditions(work):
                step()
        except HitsrError as error:
            # A copy without the traceback, which would keep the model's tensors alive.
            self.forward, self.error = None, SpecError(str(error))


def measure(
    models: Sequence[nn.Module], work: Work, *, warmup: int, samples: int, quiet: bool = False
) -> tuple[Timing, ...]:
    """Like `measure_each`, but raises the SpecError of the first model that cannot run."""
    timings = []
    for found in measure_each(models, work, warmup=warmup, samples=samples, quiet=quiet):
        if isinstance(found, SpecError):
            raise found
        timings.append(found)
    return tuple(timings)


def measure_each(
    models: Sequence[nn.Module], work: Work, *, warmup: int, samples: int, quiet: bool = False
) -> tuple[Timing | SpecError, ...]:
    """Time `samples` forwards of each model, in turns, after at most `warmup` untimed ones each.

    Models run in eval and inference mode on noise with a fixed seed. They are moved to the work's
    device, dtype and layout, and stay there. CUDA is timed with events, other devices with the wall
    clock. The warm-up ends when the times of each model agree. Energy is measured only for a single
    model: counters are too slow to separate models that take turns.

    A model that cannot run on the device, in the dtype, with the compiler or within memory has its
    error in place of a timing; the other models are still timed. Raises ValueError for no model, no
    sample, an empty batch or a negative warm-up.
    """
    if samples < 1 or warmup < 0 or work.batch < 1 or not models:
        raise ValueError(
            f"needs models, samples and pictures in a batch, and no negative warm-up; "
            f"got {len(models)}, {samples}, {work.batch}, {warmup}"
        )
    before = machine_state(work.device)
    turns = [_Turn() for _ in models]
    for turn, model in zip(turns, models, strict=True):
        turn.make_ready(model, work)
    _warm_up(turns, warmup, work, quiet)
    energy = _sample(turns, samples, work, quiet)
    finished = [turn.samples_ms for turn in turns if turn.forward]
    session = _session(finished) if len(finished) > 1 else None
    after = machine_state(work.device)

    def timing(turn: _Turn, forward: Forward) -> Timing:
        return Timing(
            dtype=work.dtype,
            batch=work.batch,
            channels_last=work.channels_last,
            compiled=work.compiled,
            compile_seconds=forward.compile_seconds,
            autocast=work.autocast,
            clock=forward.clock,
            warmup=len(turn.warmup_ms),
            warmup_ms=tuple(turn.warmup_ms),
            warmup_stable=_agree(turn.warmup_ms),
            samples_ms=tuple(turn.samples_ms),
            session=session,
            energy=energy,
            settings=_settings(work.device),
            before=before,
            after=after,
        )

    return tuple(turn.error or timing(turn, _running(turn)) for turn in turns)


def _running(turn: _Turn) -> Forward:
    assert turn.forward is not None
    return turn.forward


def _warm_up(turns: Sequence[_Turn], limit: int, work: Work, quiet: bool) -> None:
    """Run forwards in turns until the last times of each model agree, at most `limit` each."""
    with Progress(f"warm-up at {work.pictures}", limit, "forward", quiet) as progress:
        for _ in range(limit):
            if all(_agree(turn.warmup_ms) for turn in turns if turn.forward):
                break
            for turn in turns:
                turn.take(turn.warmup_ms, work)
            progress.advance()


def _agree(times: list[float]) -> bool:
    last = times[-STABLE_FORWARDS:]
    return len(last) == STABLE_FORWARDS and max(last) <= (1 + STABLE_SPREAD) * min(last)


def _sample(turns: Sequence[_Turn], samples: int, work: Work, quiet: bool) -> Energy | None:
    """Time forwards in turns; returns the energy used if there is only one model."""
    with Progress(f"latency at {work.pictures}", samples, "forward", quiet) as progress:
        consumed = start_meter(work.device)
        for _ in range(samples):
            for turn in turns:
                turn.take(turn.samples_ms, work)
            progress.advance()
        return consumed() if len(turns) == 1 else None


def _session(samples_ms: Sequence[Sequence[float]]) -> str:
    """A unique name of a measurement: the hash of all its times."""
    return hashlib.sha256(json.dumps(samples_ms).encode()).hexdigest()[:16]


def _settings(device: torch.device) -> dict[str, str]:
    """Settings of torch that trade exactness for speed, or let it choose kernels by trial."""
    found = {"float32_matmul_precision": torch.get_float32_matmul_precision()}
    if device.type == "cuda":
        found["cudnn.allow_tf32"] = str(torch.backends.cudnn.allow_tf32)
        found["cudnn.benchmark"] = str(torch.backends.cudnn.benchmark)
    return found
