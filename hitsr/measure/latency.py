"""Time single forwards, and keep every sample.

Models that are compared take turns, forward by forward: other load on the machine then slows all of
them alike, and ratios of neighbouring forwards are more exact than ratios of medians.
"""

import hashlib
import json
from collections.abc import Callable, Sequence

from torch import nn

from hitsr.base.errors import HitsrError, SpecError
from hitsr.base.progress import Progress
from hitsr.measure.energy import start_meter
from hitsr.measure.forwards import Forward, Work, conditions, ready
from hitsr.measure.machine import machine_state
from hitsr.records import Energy, Timing
from hitsr.runtime.precision import settings

# The warm-up ends early when a model's last five times lie within 5 % of each other.
STABLE_FORWARDS, STABLE_SPREAD = 5, 0.05


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


def measure(
    models: Sequence[nn.Module], work: Work, *, warmup: int, samples: int, quiet: bool = False
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
    works: Sequence[tuple[nn.Module, Work]], *, warmup: int, samples: int, quiet: bool = False
) -> tuple[Timing | SpecError, ...]:
    """Time `samples` forwards of each model, in turns, after at most `warmup` untimed ones each.

    Models run in eval and inference mode on noise with a fixed seed. Each is moved to the device,
    dtype and layout of its work, and stays there; pictures and device are the same for all. CUDA is
    timed with events, other devices with the wall clock. The warm-up ends when the times of each
    model agree. Energy is measured only for a single model: counters are too slow to separate
    models that take turns.

    A model that cannot run on the device, in the precision, with the compiler, as a graph or within
    memory has its error in place of a timing; the other models are still timed. Raises ValueError
    for no model, no sample, different pictures or devices, an empty batch or a negative warm-up.
    """
    alike = {(work.input_size, work.batch, work.device) for _, work in works}
    if samples < 1 or warmup < 0 or len(alike) != 1 or works[0][1].batch < 1:
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
            warmup_stable=_agree(turn.warmup_ms),
            samples_ms=tuple(turn.samples_ms),
            session=session,
            energy=energy,
            settings=turn.settings,
            before=before,
            after=after,
        )

    return tuple(turn.error or timing(turn, _running(turn)) for turn in turns)


def _running(turn: _Turn) -> Forward:
    assert turn.forward is not None
    return turn.forward


def _warm_up(turns: Sequence[_Turn], limit: int, pictures: str, quiet: bool) -> None:
    """Run forwards in turns until the last times of each model agree, at most `limit` each."""
    with Progress(f"warm-up at {pictures}", limit, "forward", quiet) as progress:
        for _ in range(limit):
            if all(_agree(turn.warmup_ms) for turn in turns if turn.forward):
                break
            for turn in turns:
                turn.take(turn.warmup_ms)
            progress.advance()


def _agree(times: list[float]) -> bool:
    last = times[-STABLE_FORWARDS:]
    return len(last) == STABLE_FORWARDS and max(last) <= (1 + STABLE_SPREAD) * min(last)


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
