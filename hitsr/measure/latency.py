"""Time forwards one by one. Every sample is kept.

Forwards of several models take turns, so that what else the machine does meets all of them, and
ratios of neighbours say what their medians, hours apart, could not.
"""

import hashlib
import json
from collections.abc import Sequence

import torch
from torch import nn

from hitsr.base.progress import Progress
from hitsr.measure.energy import start_meter
from hitsr.measure.forwards import Forward, Work, conditions, ready
from hitsr.measure.machine import machine_state
from hitsr.records import Energy, Timing

# The warm-up ends early when a model's last five times lie within 5 % of each other.
STABLE_FORWARDS, STABLE_SPREAD = 5, 0.05

Times = list[list[float]]  # of each model, in ms


def measure(
    models: Sequence[nn.Module], work: Work, *, warmup: int, samples: int, quiet: bool = False
) -> tuple[Timing, ...]:
    """Time `samples` forwards of each model, in turns, after at most `warmup` ones of each.

    In eval and inference mode, on noise that is the same every time. The models are moved to the
    work's device, dtype and layout and left there. CUDA is timed by its events, other devices by
    the wall clock. Warming up ends when the times of each model agree. Energy is of a model that
    runs alone: counters are too slow to part what forwards in turns consume.

    Raises ValueError if no sample is asked for, SpecError if device, dtype or compiler cannot run
    a model, or the memory does not hold the batch.
    """
    if samples < 1 or warmup < 0 or work.batch < 1 or not models:
        raise ValueError(
            f"want a model, 1 sample or more of 1 picture or more, no negative warm-up; "
            f"got {len(models)}, {samples}, {work.batch}, {warmup}"
        )
    before = machine_state(work.device)
    with conditions(work):
        forwards = [ready(model, work) for model in models]
        warmup_ms = _warm_up(forwards, warmup, work, quiet)
        samples_ms, energy = _sample(forwards, samples, work, quiet)
    session = _session(samples_ms) if len(models) > 1 else None
    after = machine_state(work.device)
    return tuple(
        Timing(
            dtype=work.dtype,
            batch=work.batch,
            channels_last=work.channels_last,
            compiled=work.compiled,
            compile_seconds=forward.compile_seconds,
            autocast=work.autocast,
            clock=forward.clock,
            warmup=len(warming),
            warmup_ms=tuple(warming),
            warmup_stable=_agree(warming),
            samples_ms=tuple(times),
            session=session,
            energy=energy,
            settings=_settings(work.device),
            before=before,
            after=after,
        )
        for forward, warming, times in zip(forwards, warmup_ms, samples_ms, strict=True)
    )


def _warm_up(forwards: Sequence[Forward], limit: int, work: Work, quiet: bool) -> Times:
    """Times of forwards in turns until the last ones of each agree, at most `limit` of each."""
    times: Times = [[] for _ in forwards]
    with Progress(f"warm-up at {work.pictures}", limit, "forward", quiet) as progress:
        while len(times[0]) < limit and not all(map(_agree, times)):
            _take_turns(forwards, times)
            progress.advance()
    return times


def _agree(times: list[float]) -> bool:
    last = times[-STABLE_FORWARDS:]
    return len(last) == STABLE_FORWARDS and max(last) <= (1 + STABLE_SPREAD) * min(last)


def _sample(
    forwards: Sequence[Forward], samples: int, work: Work, quiet: bool
) -> tuple[Times, Energy | None]:
    """Times of forwards in turns, and what the device consumed meanwhile if only one model ran."""
    times: Times = [[] for _ in forwards]
    with Progress(f"latency at {work.pictures}", samples, "forward", quiet) as progress:
        consumed = start_meter(work.device)
        for _ in range(samples):
            _take_turns(forwards, times)
            progress.advance()
        return times, consumed() if len(forwards) == 1 else None


def _take_turns(forwards: Sequence[Forward], times: Times) -> None:
    for forward, of_model in zip(forwards, times, strict=True):
        of_model.append(forward.run())


def _session(samples_ms: Times) -> str:
    """A name that no other measurement has: made of all its times, to the last bit."""
    return hashlib.sha256(json.dumps(samples_ms).encode()).hexdigest()[:16]


def _settings(device: torch.device) -> dict[str, str]:
    """Switches of torch that trade exactness for speed, or try kernels before they choose."""
    found = {"float32_matmul_precision": torch.get_float32_matmul_precision()}
    if device.type == "cuda":
        found["cudnn.allow_tf32"] = str(torch.backends.cudnn.allow_tf32)
        found["cudnn.benchmark"] = str(torch.backends.cudnn.benchmark)
    return found
