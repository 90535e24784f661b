"""Claims about how many times as fast a conversion runs as its baseline.

The printed run times are of the released code, so its formulation is judged by them; the others say
how much of the speed-up is that code's and not the design's.
"""

import math
from itertools import product
from typing import NamedTuple

from hitsr.report.comparable import is_data_centre
from hitsr.report.estimates import Quartiles
from hitsr.report.evidence import Evidence
from hitsr.report.judging import ANY, Expected, JudgedNumber, Measured, Style, near
from hitsr.report.names import FAMILIES, FORMULATIONS, USUAL, Family, Load, Setup, label
from hitsr.report.published import PAPER_DEVICE, PAPER_RUNTIME_SCALE
from hitsr.report.ruling import Ruling, judged_number
from hitsr.report.taken_apart import Place, StepTimes, TakenApart, places, share_taken
from hitsr.report.typeset import listed, times
from hitsr.specs.claims import PairClaim, StepClaim
from hitsr.specs.network import Scale
from hitsr.specs.steps import Step

_RATIO = Style(1, "×")
_SHARE = Style(0, "%")
_RELEASED = Step("released")


class _Timed(NamedTuple):
    """A speed-up that was measured, and how."""

    ratio: Measured
    scale: Scale
    setup: Setup
    device_name: str
    hindrance: str

    @property
    def is_alike(self) -> bool:
        """Whether it was measured as the paper's: the released code on such a GPU."""
        is_released = self.setup.formulation == "released"
        return is_released and self.is_in_data_centre and not self.hindrance

    @property
    def is_in_data_centre(self) -> bool:
        return self.setup.device == "cuda" and is_data_centre(self.device_name)


def speedup_ruling(claim: PairClaim, evidence: Evidence) -> Ruling:
    """The measured ratio that is most like the printed one; judged only if it is like it."""
    numbers = []
    families = [family for family in FAMILIES if family.conversion in claim.conversions]
    for family, scale in product(families, claim.scales):
        printed = evidence.printed_speedup(family)
        if printed is None:
            continue
        expected = near(printed, claim.quantities["latency_ms"] or 0.0, _RATIO.digits)
        timed = min(
            _timed(evidence, family),
            key=lambda t: (
                t.scale != scale, t.setup.formulation != "released", not t.is_in_data_centre,
                t.setup.device == "cpu", t.setup.order,
            ),
            default=None,
        )  # fmt: skip
        here, reason, place = None, "", ""
        if timed:
            here, reason, place = timed.ratio, _unlike(scale, timed), timed.device_name
        name = f"{label(family.conversion)} ×{scale}"
        numbers.append(_number(evidence, family, name, expected, here, reason, place))
    return Ruling(claim, tuple(numbers), note=_precision_note(evidence, claim))


def _timed(evidence: Evidence, family: Family) -> list[_Timed]:
    """Every speed-up of a pair under the usual load."""
    found = []
    for row in evidence.facts.find("latency_ms", family.conversion, load=USUAL):
        assert row.setup is not None
        ratio = evidence.speedup(family, row.scale, row.setup)
        if ratio:
            found.append(
                _Timed(_of_ratio(ratio), row.scale, row.setup, row.device_name, row.hindrance)
            )
    return found


def _of_ratio(ratio: Quartiles) -> Measured:
    return Measured(ratio.median, (ratio.lower, ratio.upper))


def _unlike(scale: Scale, timed: _Timed) -> str:
    """How a measurement differs from the printed one; empty if it may be judged."""
    if timed.hindrance:
        return timed.hindrance
    differences = [f"at ×{timed.scale}"] if timed.scale != scale else []
    if not timed.is_in_data_centre:
        where = "a CPU" if timed.setup.device == "cpu" else timed.device_name
        differences.append(f"on {where}")
    if timed.setup.formulation != "released":
        differences.append(FORMULATIONS[timed.setup.formulation])
    if not differences:
        return ""
    claimed = f"the claim is of the released code on a data-centre GPU at ×{scale}"
    return f"timed {', '.join(differences)}; {claimed}"


def _precision_note(evidence: Evidence, claim: PairClaim) -> str:
    """The number format of what was judged, and the ratios in the one that the paper's GPU used."""
    judged = [
        (family, timed)
        for family in FAMILIES
        if family.conversion in claim.conversions
        for timed in _timed(evidence, family)
        if timed.scale in claim.scales and timed.is_alike
    ]
    if not judged:
        return ""
    in_tf32 = [
        ratio.median
        for family, timed in judged
        if (ratio := evidence.speedup(family, timed.scale, timed.setup, Load(precision="tf32")))
    ]
    also = f": {_RATIO.span(in_tf32)} here" if in_tf32 else ", which was not timed"
    return (
        "Judged as released, in 32-bit floats; the authors’ PyTorch 1.8 computed products in TF32 "
        f"by default{also}."
    )


def speedups_by_design(claim: PairClaim, evidence: Evidence) -> Ruling:
    """At each step from the released code on: whether the ratio is still the released one."""
    numbers = [
        _against_released(claim, evidence, pair, step)
        for place in places(evidence)
        for pair in place.pairs
        for step in pair.timed
        if step.step != _RELEASED and _is_about(claim, pair.family, place.scale)
    ] or _single_steps(claim, evidence)
    notes = [
        f"{place.device_name}, ×{place.scale}: {listed(_remaining(place))}."
        for place in places(evidence)
        if any(_is_about(claim, pair.family, place.scale) for pair in place.pairs)
    ]
    return Ruling(claim, tuple(numbers), note=" ".join(notes))


def _against_released(
    claim: PairClaim, evidence: Evidence, pair: TakenApart, step: StepTimes
) -> JudgedNumber:
    """The ratio at a step beside that of the released formulation on the same device."""
    released, expected, reason = pair.at(_RELEASED), ANY, "the released formulation was not timed"
    if released and released.ratio:
        whole, reason = released.ratio.median, ""
        share = claim.quantities["latency_ms"] or 0.0
        expected = near(whole, share * whole, _RATIO.digits)
    assert step.ratio is not None
    name = f"{label(pair.family.conversion)} ×{pair.scale}, {step.name}"
    here = _of_ratio(step.ratio)
    return _number(evidence, pair.family, name, expected, here, reason, pair.device_name)


def _single_steps(claim: PairClaim, evidence: Evidence) -> list[JudgedNumber]:
    """What was timed in one formulation alone, which says nothing of implementations."""
    families = [family for family in FAMILIES if family.conversion in claim.conversions]
    numbers = [
        _number(
            evidence,
            family,
            f"{label(family.conversion)} ×{timed.scale}",
            ANY,
            timed.ratio,
            f"timed {FORMULATIONS[timed.setup.formulation]} alone",
            timed.device_name,
        )
        for family in families
        for timed in _timed(evidence, family)
        if timed.scale in claim.scales
    ]
    return numbers or [judged_number("any pair", _RATIO, ANY, None, None)]


def _number(
    evidence: Evidence,
    family: Family,
    name: str,
    expected: Expected,
    here: Measured | None,
    hindrance: str,
    here_place: str = "",
) -> JudgedNumber:
    """A ratio; the printed one is of the paper's device, wherever the other was timed."""
    printed = evidence.printed_speedup(family)
    place = f"{PAPER_DEVICE}, ×{PAPER_RUNTIME_SCALE}" if printed else ""
    return judged_number(name, _RATIO, expected, printed, here, hindrance, place, here_place)


def _remaining(place: Place) -> list[str]:
    """ "7.1× as released", "0.9× with masks built on the device"."""
    return [f"{times(place.ratios(step))}× {place.words(step)}" for step in place.common]


def _is_about(claim: PairClaim | StepClaim, family: Family, scale: Scale) -> bool:
    return family.conversion in claim.conversions and scale in claim.scales


def step_ruling(claim: StepClaim, evidence: Evidence) -> Ruling:
    """The share of each speed-up that one step from the released code takes away."""
    step, expected = Step(claim.formulation), Expected(claim.at_least_percent, math.inf)
    numbers = []
    for place in places(evidence):
        for pair in place.pairs:
            before, after = pair.at(_RELEASED), pair.at(step)
            if not before or not after or not _is_about(claim, pair.family, place.scale):
                continue
            assert before.ratio is not None
            assert after.ratio is not None
            reason = "on a CPU there is no other device to copy to" if pair.device == "cpu" else ""
            share = share_taken(before.ratio, after.ratio)
            if share is None:
                reason = reason or "the released code is no faster than its baseline here"
            name = f"{label(pair.family.conversion)} ×{place.scale}"
            numbers.append(
                judged_number(
                    name, _SHARE, expected, None, share, reason, here_place=place.device_name
                )
            )
    if not numbers:
        reason = "the released formulation was not timed beside the step"
        numbers = [judged_number("any pair", _SHARE, expected, None, None, reason)]
    notes = [
        f"{place.device_name}, ×{place.scale}: {listed(_remaining(place)[:2])}."
        for place in places(evidence)
        if _RELEASED in place.common and step in place.common
    ]
    if notes:
        notes.append(
            "Shares are of the ratio’s logarithm: 100 % is all of it; beyond that, the baseline "
            "is the faster one."
        )
    return Ruling(claim, tuple(numbers), note=" ".join(notes))
