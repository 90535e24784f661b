"""Claims about parameters, FLOPs, their growth, and speed."""

from collections.abc import Iterator
from itertools import product
from typing import NamedTuple

from scipy.stats import t as student_t

from hitsr.records import ComplexityRecord, PowerLaw
from hitsr.report.gather import Setup
from hitsr.report.ledger.ruling import Part, Ruling, Style, measured_part
from hitsr.report.measures import Evidence, device_name, published_speedup, speedup
from hitsr.report.names import FAMILIES, Family, label
from hitsr.report.published import PAPER_DEVICE, PAPER_RUNTIME_SCALE, Quote
from hitsr.report.statistics import quartiles
from hitsr.report.typeset import listed
from hitsr.report.verdicts import ANY, Expected, Measured, below, near
from hitsr.specs.claims import Change, Growth, Implementation, Paired, Printed, Quantity, Speedup
from hitsr.specs.network import Scale

_RATIO = Style(1, "×")
_EXPONENT = Style(2)
_PERCENT = Style(1, "%", plus=True)
_STYLES: dict[Quantity, Style] = {"params": Style(0, "K"), "flops": Style(1, "G")}


class _Timed(NamedTuple):
    """A speed-up that was measured, and how."""

    ratio: Measured
    scale: Scale
    setup: Setup
    device_name: str


def printed(claim: Printed, evidence: Evidence) -> Ruling:
    style, parts = _STYLES[claim.quantity], []
    for network, scale in product(claim.networks, claim.scales):
        quoted = _printed_count(evidence.published.cost(network, scale), claim.quantity)
        if quoted is None:
            continue  # nothing is claimed
        count = _count(evidence.results.complexity.get((network, scale)), claim.quantity)
        here = None if count is None else Measured(count)
        expected = near(quoted, claim.tolerance, style.digits)
        parts.append(measured_part(f"{label(network)} ×{scale}", style, expected, quoted, here))
    return Ruling(claim, tuple(parts), "count")


def change(claim: Change, evidence: Evidence) -> Ruling:
    """Per cent that conversion adds, of counts rounded as the table prints them."""
    digits, parts = _STYLES[claim.quantity].digits, []
    for family, scale in pairs(claim):
        costs = [evidence.published.cost(network, scale) for network in family.networks]
        quoted = _percent(*(_printed_count(cost, claim.quantity) for cost in costs))
        records = [evidence.results.complexity.get((n, scale)) for n in family.networks]
        counts = [_count(record, claim.quantity) for record in records]
        percent = _percent(*(None if count is None else round(count, digits) for count in counts))
        expected = below(0)
        if claim.tolerance is not None and quoted is not None:
            expected = near(quoted, claim.tolerance, _PERCENT.digits)
        here = None if percent is None else Measured(percent)
        name = f"{label(family.conversion)} ×{scale}"
        parts.append(measured_part(name, _PERCENT, expected, quoted, here))
    return Ruling(claim, tuple(parts), "pair" if claim.tolerance is None else "")


def speed(claim: Speedup, evidence: Evidence) -> Ruling:
    """The measured ratio that is most like the printed one; judged only if it is like it."""
    parts = []
    for family, scale in pairs(claim):
        quoted = published_speedup(evidence.published, family)
        if quoted is None:
            continue
        timed = min(
            _timed(evidence, family),
            key=lambda t: (t.scale != scale, t.setup[0] != "cuda", t.setup[1] != "paper"),
            default=None,
        )
        expected = near(quoted, claim.tolerance, _RATIO.digits)
        name = f"{label(family.conversion)} ×{scale}"
        if timed is None:
            parts.append(measured_part(name, _RATIO, expected, quoted, None))
        else:
            hindrance = _unlike(claim, scale, timed)
            parts.append(measured_part(name, _RATIO, expected, quoted, timed.ratio, hindrance))
    return Ruling(claim, tuple(parts))


def implementation(claim: Implementation, evidence: Evidence) -> Ruling:
    """Both formulations on one device: the fused ratio is judged by the one as published."""
    parts: list[Part] = []
    both: dict[str, dict[str, tuple[float, float]]] = {}  # place -> conversion -> ratios
    for family, scale in pairs(claim):
        is_printed = scale == PAPER_RUNTIME_SCALE
        quoted = published_speedup(evidence.published, family) if is_printed else None
        ratios = {(t.setup[0], t.setup[1]): t.ratio for t in _timed(evidence, family, scale)}
        for device in sorted({device for device, _ in ratios}):
            place, name = f"×{scale}, {device_name(device)}", label(family.conversion)
            as_published, fused = ratios.get((device, "paper")), ratios.get((device, "fused"))
            if as_published and fused:
                both.setdefault(place, {})[name] = (as_published.value, fused.value)
            parts.append(_compared(f"{name} {place}", claim.tolerance, quoted, as_published, fused))
    if not parts:
        parts = [measured_part("any pair", _RATIO, ANY, None, None)]
    return Ruling(claim, tuple(parts), note=_implementation_note(evidence, both))


def _implementation_note(
    evidence: Evidence, both: dict[str, dict[str, tuple[float, float]]]
) -> str:
    """Each pair's ratios, as published and fused, and whether any comes near the printed ones."""
    lines = []
    for place, pairs_there in both.items():
        said = (
            f"{name} {_RATIO.write(as_published)} and {_RATIO.write(fused)}"
            for name, (as_published, fused) in pairs_there.items()
        )
        lines.append(
            f"As fast as their baselines ({place}), as published and fused: {'; '.join(said)}."
        )
    seen = [ratio for there in both.values() for pair in there.values() for ratio in pair]
    printed = [r for family in FAMILIES if (r := published_speedup(evidence.published, family))]
    if seen and printed and max(seen) < min(printed) / 2:
        lines.append(
            f"None reaches half of the printed {_RATIO.span(printed)} "
            f"({PAPER_DEVICE}, ×{PAPER_RUNTIME_SCALE})."
        )
    return " ".join(lines)


def growth(claim: Growth, evidence: Evidence) -> Ruling:
    """Exponents per window: one more than those of a picture of fixed size (ScalingRecord)."""
    parts = []
    for network in claim.networks:
        record = evidence.results.scaling.get((network, "window"))
        here = _per_window(record.flops, len(record.points)) if record else None
        # "Linear" prints no digits: the band alone decides.
        expected = Expected(claim.exponent - claim.tolerance, claim.exponent + claim.tolerance)
        parts.append(measured_part(label(network), _EXPONENT, expected, claim.exponent, here))
    others = [
        1 + record.flops.exponent
        for (network, over), record in evidence.results.scaling.items()
        if over == "window" and network not in claim.networks
    ]
    note = f"Of the baselines’ attention: {_EXPONENT.span(others)}." if others else ""
    return Ruling(claim, tuple(parts), note=note)


def pairs(claim: Paired) -> Iterator[tuple[Family, Scale]]:
    families = [family for family in FAMILIES if family.conversion in claim.conversions]
    return product(families, claim.scales)


def _printed_count(quote: Quote | None, quantity: Quantity) -> float | None:
    """Thousands of parameters or G FLOPs, as printed."""
    if quote is None:
        return None
    return quote.params_k if quantity == "params" else quote.flops_g


def _count(record: ComplexityRecord | None, quantity: Quantity) -> float | None:
    """Thousands of parameters or G FLOPs."""
    if record is None:
        return None
    return record.params / 1e3 if quantity == "params" else record.flops / 1e9


def _percent(before: float | None, after: float | None) -> float | None:
    return None if before is None or after is None else (after / before - 1) * 100


def _timed(evidence: Evidence, family: Family, scale: Scale | None = None) -> list[_Timed]:
    """Every speed-up of a pair, between the quartiles of both sides."""
    latency, found = evidence.results.latency, []
    for network, at, device, formulation in latency:
        setup = (device, formulation)
        ratio = speedup(evidence.results, family, at, setup)
        if network != family.conversion or ratio is None or scale not in (None, at):
            continue
        after = latency[network, at, device, formulation]
        before = latency[family.baseline, at, device, formulation]
        (slow_low, _, slow_high), (low, _, high) = map(
            quartiles, (before.samples_ms, after.samples_ms)
        )
        measured = Measured(ratio, (slow_low / high, slow_high / low))
        found.append(_Timed(measured, at, setup, after.provenance.device_name))
    return found


def _unlike(claim: Speedup, scale: Scale, timed: _Timed) -> str:
    """How a measurement differs from the printed one; empty if it does not."""
    differences = []
    if timed.scale != scale:
        differences.append(f"at ×{timed.scale}")
    if claim.device not in timed.device_name:
        differences.append(
            f"on a CPU, not an {claim.device}"
            if timed.setup[0] == "cpu"
            else f"on {timed.device_name}, not an {claim.device}"
        )
    if timed.setup[1] != "paper":
        differences.append("in the fused formulation, not as published")
    return f"timed {listed(differences)}" if differences else ""


def _compared(
    name: str,
    tolerance: float,
    quoted: float | None,
    as_published: Measured | None,
    fused: Measured | None,
) -> Part:
    if as_published and fused:
        margin = tolerance * as_published.value
        expected = near(as_published.value, margin, _RATIO.digits)
        return measured_part(name, _RATIO, expected, quoted, fused)
    reason = f"timed in the {'fused formulation' if fused else 'formulation as published'} alone"
    return measured_part(name, _RATIO, ANY, quoted, fused or as_published, reason)


def _per_window(law: PowerLaw, points: int) -> Measured:
    value = 1 + law.exponent
    half = float(student_t.ppf(0.975, points - 2)) * law.standard_error
    return Measured(value, (value - half, value + half))
