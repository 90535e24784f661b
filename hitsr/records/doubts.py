"""Doubts about a measurement, in words: its number is shown, marked, with these beside it.

Each function returns a clause for each doubt, and nothing for a clean record. Nothing is refused.
"""

import math
from collections.abc import Iterator, Sequence
from statistics import median, quantiles

from hitsr.records.challenge import NtireRecord
from hitsr.records.cost import Complexity
from hitsr.records.latency import LatencyRecord, MachineState
from hitsr.records.training import TrainingRecord

_LATE_FIRST = 1.25  # times as long as the others
_DRIFT, _CHANCE = 0.05, 0.01  # of the median from first to last; of a trend that is none
_LEAST_FOR_TREND = 10  # samples
_WIDE = 0.15  # width of the middle half, of the median
_GAP = 0.05  # between two clusters, of the median
_LEAST_CLUSTER = 0.2  # of the samples
_SLOW_CLOCK = 0.8  # of the highest clock
_OTHER_LOAD = 0.25  # of the processors, by other work
_NAMED = 5  # skipped steps before "and n more"


def count_doubts(counted: Complexity | NtireRecord) -> tuple[str, ...]:
    """What the count of FLOPs lacks."""
    if not counted.unknown:
        return ()
    calls = (f"{name} ({n} call{'s' * (n > 1)})" for name, n in counted.unknown.items())
    return (f"FLOPs lack what these compute: {', '.join(calls)}",)


def time_doubts(record: LatencyRecord) -> tuple[str, ...]:
    """Why the times of a record may not be those of the network alone, on a device at full speed.

    From the samples: a late first one, a trend, two clusters, a wide spread. From the rest of the
    record: a warm-up that ended early, clocks held down, other work on the device.
    """
    return (*_of_samples(record.samples_ms), *_of_warm_up(record), *_of_machine(record))


def training_doubts(record: TrainingRecord) -> tuple[str, ...]:
    """Why trained weights may not be what their recipe leads to.

    Gates that were missed, steps that were skipped, and sessions on unlike devices or by unlike
    code. How many devices shared a batch is no doubt: it changes no bit.
    """
    # With float16, the scale of the loss is found by skipping steps.
    skipped = () if record.run.recipe.precision == "float16" else record.skipped
    return (*_of_gates(record), *_of_skipped(skipped), *_of_sessions(record))


def _of_gates(record: TrainingRecord) -> Iterator[str]:
    for result in record.gates:
        gate = result.gate
        if not result.is_passed:
            yield (
                f"PSNR at step {gate.step} was {result.reached_db:.3f} dB, more than "
                f"{gate.tolerance_db:g} dB below the {gate.psnr_db:g} dB of its gate"
            )


def _of_skipped(steps: Sequence[int]) -> Iterator[str]:
    if steps:
        more = [f"and {len(steps) - _NAMED} more"] if len(steps) > _NAMED else []
        named = ", ".join([*map(str, steps[:_NAMED]), *more])
        were = "step was" if len(steps) == 1 else "steps were"
        yield f"{len(steps)} {were} skipped, as loss or gradient was not finite ({named})"


def _of_sessions(record: TrainingRecord) -> Iterator[str]:
    """Commits between which no code of training changed are alike."""
    traits: dict[str, list[tuple[str | None, str]]] = {
        "ran on different devices": [(s.device_name, s.device_name) for s in record.sessions],
        "were run by different code of hitsr": [
            (s.code or s.commit, f"commit {(s.commit or 'unknown')[:10]}") for s in record.sessions
        ],
        "ran with different versions of PyTorch": [
            (s.torch, s.torch or "unknown") for s in record.sessions
        ],
        "had different numbers of threads": [
            (str(s.threads), str(s.threads or "unknown")) for s in record.sessions
        ],
    }
    for words, values in traits.items():
        names: dict[str | None, str] = {}
        for value, name in values:
            names.setdefault(value, name)
        if len(names) > 1:
            yield f"its sessions {words}: {', '.join(names.values())}"


def _of_samples(samples_ms: Sequence[float]) -> Iterator[str]:
    first, *others = samples_ms
    middle = median(samples_ms)
    if len(samples_ms) < 3:
        return
    if first > _LATE_FIRST * median(others) and first > max(others):
        yield f"the first forward took {first / median(others):.1f} times as long as the others"
    drift = _drift(samples_ms)
    if abs(drift) >= _DRIFT:
        way = "rise" if drift > 0 else "fall"
        yield f"times {way} by {abs(drift):.0%} from the first to the last"
    if gap := _gap(samples_ms):
        low, high = gap
        yield f"times form two groups, below {low:.3g} and above {high:.3g} ms"
        return
    if len(samples_ms) >= 5:
        lower, _, upper = quantiles(samples_ms, n=4, method="inclusive")
        if upper - lower > _WIDE * middle:
            yield f"the middle half of the times spans {(upper - lower) / middle:.0%} of the median"


def _drift(samples_ms: Sequence[float]) -> float:
    """Change from the first to the last sample, of the median; 0 if it may be chance.

    The slope is Theil and Sen's, which single slow forwards do not move.
    """
    from scipy import stats  # slow to import

    number = len(samples_ms)
    if number < _LEAST_FOR_TREND or min(samples_ms) == max(samples_ms):
        return 0.0
    if stats.kendalltau(range(number), samples_ms).pvalue > _CHANCE:
        return 0.0
    slope = float(stats.theilslopes(samples_ms).slope)
    return slope * (number - 1) / median(samples_ms)


def _gap(samples_ms: Sequence[float]) -> tuple[float, float] | None:
    """The ends of the widest gap that splits the samples into two tight groups; None without."""
    ordered, number = sorted(samples_ms), len(samples_ms)
    least = max(3, math.ceil(_LEAST_CLUSTER * number))
    places = range(least, number - least + 1)
    if not places:
        return None
    place = max(places, key=lambda each: ordered[each] - ordered[each - 1])
    low, high = ordered[:place], ordered[place:]
    width = high[0] - low[-1]
    spread = max(_middle_half(low), _middle_half(high))
    is_gap = width > _GAP * median(ordered) and width > 2 * spread
    return (low[-1], high[0]) if is_gap else None


def _middle_half(values: Sequence[float]) -> float:
    lower, _, upper = quantiles(values, n=4, method="inclusive")
    return upper - lower


def _of_warm_up(record: LatencyRecord) -> Iterator[str]:
    if record.warmup_stable is False:
        yield f"times had not settled when the warm-up ended, after {record.warmup} forwards"


def _of_machine(record: LatencyRecord) -> Iterator[str]:
    states = [state for state in (record.before, record.after) if state]
    if record.provenance.device.startswith("cuda"):
        yield from _of_gpu(states, record.after)
    elif record.provenance.device == "cpu":
        # Its own threads are part of the load.
        threads = record.provenance.threads
        loads = [(s.cpu_load - threads, s.cpus) for s in states if s.cpu_load and s.cpus]
        load, cpus = max(loads, default=(0.0, 1))
        if load > _OTHER_LOAD * cpus:
            # The load counts processes that wait for a processor too.
            yield f"other work kept {min(load, cpus):.1f} of {cpus} processors busy"


def _of_gpu(states: Sequence[MachineState], after: MachineState | None) -> Iterator[str]:
    others = max((state.gpu_other_processes or 0 for state in states), default=0)
    if others:
        memory = max(state.gpu_other_memory_mb or 0 for state in states)
        held = f", with {memory:.0f} MB" if memory else ""
        yield f"{others} other process{'es' * (others > 1)} on the GPU{held}"
    if after and after.gpu_held_down_by:
        yield f"GPU clocks were held down: {', '.join(after.gpu_held_down_by)}"
    clock, most = (after.gpu_mhz or 0, after.gpu_max_mhz or 0) if after else (0, 0)
    if 0 < clock < _SLOW_CLOCK * most:
        yield f"GPU at {clock:.0f} of {most:.0f} MHz after the last sample"
