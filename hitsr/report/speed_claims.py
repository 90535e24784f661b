"""Claims about how many times as fast a conversion runs as its baseline."""

from collections.abc import Sequence
from itertools import product
from typing import NamedTuple

from hitsr.records import LatencyRecord
from hitsr.report.estimates import Quartiles
from hitsr.report.evidence import Evidence
from hitsr.report.judging import (
    ANY,
    Expected,
    JudgedNumber,
    Measured,
    Style,
    near,
)
from hitsr.report.names import FAMILIES, FORMULATIONS, Family, Setup, device_name, label
from hitsr.report.published import PAPER_DEVICE, PAPER_RUNTIME_SCALE
from hitsr.report.ruling import (
    Ruling,
    judged_number,
)
from hitsr.report.typeset import listed
from hitsr.specs.claims import (
    PairClaim,
)
from hitsr.specs.network import Scale

_RATIO = Style(1, "×")


class _Timed(NamedTuple):
    """A speed-up that was measured, and how."""

    ratio: Measured
    scale: Scale
    setup: Setup
    device_name: str


def _timed(evidence: Evidence, family: Family, scale: Scale | None = None) -> list[_Timed]:
    """Every speed-up of a pair."""
    found = []
    for row in evidence.facts.find("latency_ms", family.conversion, load=""):
        assert row.setup is not None
        ratio = evidence.speedup(family, row.scale, row.setup)
        if ratio and scale in (None, row.scale):
            device = device_of(evidence, row.subject, row.setup)
            found.append(_Timed(_of_ratio(ratio), row.scale, row.setup, device))
    return found


def _of_ratio(ratio: Quartiles) -> Measured:
    return Measured(ratio.median, (ratio.lower, ratio.upper))


def device_of(evidence: Evidence, subject: str, setup: Setup) -> str:
    """Name of the device that a network was timed on."""
    return next(
        record.provenance.device_name
        for record in evidence.results.of(LatencyRecord)
        if record.subject == subject and record.provenance.device.startswith(setup.device)
    )


def speedup_ruling(claim: PairClaim, evidence: Evidence) -> Ruling:
    """The measured ratio that is most like the printed one; judged only if it is like it."""
    numbers = []
    for family, scale in product(FAMILIES, claim.scales):
        printed = evidence.printed_speedup(family)
        if printed is None or family.conversion not in claim.conversions:
            continue
        expected = near(printed, claim.quantities["latency_ms"] or 0.0, _RATIO.digits)
        timed = min(
            _timed(evidence, family),
            key=lambda t: (t.scale != scale, t.setup.device != "cuda", t.setup[1] != "paper"),
            default=None,
        )
        here, reason = (timed.ratio, _unlike(claim, scale, timed)) if timed else (None, "")
        name = f"{label(family.conversion)} ×{scale}"
        numbers.append(_number(name, expected, printed, here, reason))
    return Ruling(claim, tuple(numbers))


def _number(
    name: str,
    expected: Expected,
    printed: float | None,
    here: Measured | None,
    hindrance: str = "",
) -> JudgedNumber:
    """A ratio; the printed one is of the paper's device, wherever the other was timed."""
    place = f"{PAPER_DEVICE}, ×{PAPER_RUNTIME_SCALE}" if printed else ""
    return judged_number(name, _RATIO, expected, printed, here, hindrance, place)


def _unlike(claim: PairClaim, scale: Scale, timed: _Timed) -> str:
    """How a measurement differs from the printed one.

    The printed run times are of the released code, which builds attention masks on the CPU and
    copies them over in every block. No formulation here does that, so none is judged.
    """
    differences = [f"at ×{timed.scale}"] if timed.scale != scale else []
    if claim.device and claim.device not in timed.device_name:
        where = "a CPU" if timed.setup.device == "cpu" else timed.device_name
        differences.append(f"on {where}, not an {claim.device}")
    how = "step-by-step" if timed.setup.formulation == "paper" else "fused"
    if not differences:
        return f"timed {FORMULATIONS[timed.setup.formulation]}, not by the released code"
    return f"timed {listed(differences)}. The {how} formulation ran, not the released code"


def speedups_in_both(claim: PairClaim, evidence: Evidence) -> Ruling:
    """Both formulations on one device: the fused ratio is judged by the step-by-step one."""
    numbers: list[JudgedNumber] = []
    share, seen = claim.quantities["latency_ms"] or 0.0, dict[str, list[str]]()
    families = [f for f in FAMILIES if f.conversion in claim.conversions]
    for family, scale in product(families, claim.scales):
        printed = evidence.printed_speedup(family) if scale == PAPER_RUNTIME_SCALE else None
        ratios = {tuple(t.setup): t.ratio for t in _timed(evidence, family, scale)}
        for device in sorted({device for device, _ in ratios}):
            where, name = f"×{scale}, {device_name(device)}", label(family.conversion)
            steps, fused = ratios.get((device, "paper")), ratios.get((device, "fused"))
            if steps and fused:
                said = f"{name} {_RATIO.write(steps.value)} and {_RATIO.write(fused.value)}"
                seen.setdefault(where, []).append(said)
                expected = near(steps.value, share * steps.value, _RATIO.digits)
                numbers.append(_number(f"{name} {where}", expected, printed, fused))
            else:
                reason = f"timed {'step by step' if steps else 'in the fused formulation'} alone"
                here = steps or fused
                numbers.append(_number(f"{name} {where}", ANY, printed, here, reason))
    if not numbers:
        numbers = [_number("any pair", ANY, None, None)]
    return Ruling(claim, tuple(numbers), note=_speedup_note(evidence, numbers, seen))


def _speedup_note(
    evidence: Evidence, numbers: Sequence[JudgedNumber], seen: dict[str, list[str]]
) -> str:
    """Each pair's ratios in both formulations, and whether any comes near the printed ones."""
    lines = [
        f"As fast as their baselines ({place}), step by step and fused: {'; '.join(said)}."
        for place, said in seen.items()
    ]
    ratios = [n.here.value for n in numbers if n.here]
    ratios += [n.expected.value for n in numbers if n.expected.value is not None]
    printed = [r for family in FAMILIES if (r := evidence.printed_speedup(family))]
    if seen and printed and max(ratios) < min(printed) / 2:
        lines.append(
            f"None reaches half of the printed {_RATIO.span(printed)} "
            f"({PAPER_DEVICE}, ×{PAPER_RUNTIME_SCALE})."
        )
    return " ".join(lines)
