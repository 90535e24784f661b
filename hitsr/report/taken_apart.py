"""A pair's speed-up taken apart: its times at each step from the released code to the fastest."""

import math
from collections.abc import Sequence
from itertools import product
from typing import NamedTuple

from hitsr.report.estimates import Quartiles
from hitsr.report.evidence import Estimates, took_turns
from hitsr.report.facts import Fact
from hitsr.report.judging import Measured
from hitsr.report.names import FAMILIES, Family, Load, Setup
from hitsr.specs.network import Scale
from hitsr.specs.steps import STEPS, Step

# What each step changes: as a name, and at the end of a sentence.
_CHANGES = {
    "released": ("as released", "as released"),
    "paper": ("masks on the device", "with masks built on the device"),
    "fused": ("fused", "fused"),
    "tf32": ("TF32", "in TF32"),
    "float16": ("half precision", "in half precision"),
    "graph": ("one launch", "in one launch"),
}
# On a CPU the released code copies nothing: the step is another way to write the same work.
_ON_CPU = {"paper": ("step by step", "step by step")}


class Side(NamedTuple):
    """One network at one step."""

    network: str
    time: Fact | None  # None where it was not timed
    gain: Quartiles | None = None  # times as fast as at the last step of both sides before it


class StepTimes(NamedTuple):
    """A baseline and its conversion at one step."""

    step: Step
    name: str  # "masks on the device"
    words: str  # "with masks built on the device"
    sides: tuple[Side, Side]
    ratio: Quartiles | None  # times as fast as its baseline the conversion runs; None: not timed


class TakenApart(NamedTuple):
    """The steps of one pair at one scale on one device, of which at least two were timed."""

    family: Family
    scale: Scale
    device: str  # its kind: "cuda"
    device_name: str
    steps: tuple[StepTimes, ...]

    @property
    def timed(self) -> list[StepTimes]:
        """Steps at which both sides were timed."""
        return [step for step in self.steps if step.ratio]

    @property
    def missing(self) -> list[str]:
        return [step.name for step in self.steps if not step.ratio]

    def at(self, step: Step) -> StepTimes | None:
        """What was timed at a step."""
        return next((each for each in self.timed if each.step == step), None)

    @property
    def is_in_turns(self) -> bool:
        """Whether all took turns in one process, so that ratios are of neighbouring forwards."""
        times = [side.time for step in self.timed for side in step.sides if side.time]
        return all(took_turns(times[0], time) for time in times)


class Place(NamedTuple):
    """The pairs that were timed at one scale on one device."""

    scale: Scale
    device_name: str
    pairs: tuple[TakenApart, ...]

    @property
    def common(self) -> list[Step]:
        """Steps at which both sides of all pairs were timed."""
        return [s.step for s in self.pairs[0].timed if all(pair.at(s.step) for pair in self.pairs)]

    def words(self, step: Step) -> str:
        return step_words(self.pairs[0].device, step)[1]

    def ratios(self, step: Step) -> list[float]:
        """What remains of each pair's speed-up."""
        found = (pair.at(step) for pair in self.pairs)
        return [each.ratio.median for each in found if each and each.ratio]


def places(evidence: Estimates) -> list[Place]:
    """Where pairs were timed at two steps: GPUs first, then by scale."""
    scales = sorted({row.scale for row in evidence.facts.find("latency_ms")})
    found = []
    for device, scale in product(("cuda", "mps", "cpu"), scales):
        pairs = (taken_apart(evidence, family, scale, device) for family in FAMILIES)
        if known := tuple(pair for pair in pairs if pair):
            found.append(Place(scale, known[0].device_name, known))
    return found


def taken_apart(
    evidence: Estimates, family: Family, scale: Scale, device: str
) -> TakenApart | None:
    """None unless both sides were timed at two of the device's steps."""
    steps: list[StepTimes] = []
    for step in STEPS[device]:
        setup, load = Setup(device, step.formulation), load_of_step(step)
        sides = [
            Side(name, time, _gain(evidence, steps, i, time))
            for i, name in enumerate(family.networks)
            for time in [evidence.time_of(name, scale, setup, load)]
        ]
        ratio = evidence.speedup(family, scale, setup, load)
        steps.append(StepTimes(step, *step_words(device, step), (sides[0], sides[1]), ratio))
    timed = [side.time for step in steps if step.ratio for side in step.sides if side.time]
    if len(timed) < 2 * len(family.networks):
        return None
    return TakenApart(family, scale, device, timed[0].device_name, tuple(steps))


def load_of_step(step: Step) -> Load:
    return Load(precision=step.precision, launch=step.launch)


def step_words(device: str, step: Step) -> tuple[str, str]:
    """What a step changes: its name, and words for the end of a sentence."""
    changed: str = step.formulation
    if step.launch != "eager":
        changed = step.launch
    elif step.precision != "float32":
        changed = step.precision
    return (_ON_CPU if device == "cpu" else {}).get(changed) or _CHANGES[changed]


def share_taken(before: Quartiles, after: Quartiles) -> Measured | None:
    """How much of a speed-up a step takes away, in per cent of its logarithm; 100: all of it.

    By logarithms, because the steps' factors multiply. The interval has the widest ends that the
    quartiles allow. None where there is no speed-up to take away.
    """
    if before.lower <= 1:
        return None
    shares = [
        100 * (1 - math.log(rest) / math.log(whole))
        for whole, rest in product((before.lower, before.upper), (after.lower, after.upper))
    ]
    middle = 100 * (1 - math.log(after.median) / math.log(before.median))
    return Measured(middle, (min(shares), max(shares)))


def _gain(
    evidence: Estimates, before: Sequence[StepTimes], index: int, time: Fact | None
) -> Quartiles | None:
    """Over the last step at which both sides were timed, so that the gains make the ratios."""
    earlier = [step.sides[index].time for step in before if step.ratio]
    last = earlier[-1] if earlier else None
    return evidence.ratio(last, time) if last and time else None
