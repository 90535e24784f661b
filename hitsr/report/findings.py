"""What the records show, in words: headings and first sentences of captions. Pure functions.

A heading states a finding only where every record it speaks of is there; else it is neutral.
"""

from typing import NamedTuple

from hitsr.report.measures import (
    Curve,
    Evidence,
    Score,
    curve,
    logs_of,
    published_speedup,
    reached_at,
    score,
    setup_name,
    speedup,
)
from hitsr.report.names import Family, in_pairs, label, whole_families
from hitsr.report.published import PAPER_DEVICE, PAPER_RUNTIME_SCALE
from hitsr.report.typeset import between, fixed, listed, sentence, share
from hitsr.spec import Formulation, Scale


class Change(NamedTuple):
    """What conversion does to the size of one network at one scale."""

    family: Family
    scale: Scale
    params_percent: float
    flops_percent: float


class Reach(NamedTuple):
    """Where a conversion first has its baseline's final validation PSNR; None if it never has."""

    family: Family
    step: int | None
    last_step: int


def count_changes(evidence: Evidence) -> list[Change]:
    """For each pair and scale of which both sides were counted."""
    counted, changes = evidence.results.complexity, []
    for family in whole_families(evidence.config.networks):
        for scale in evidence.config.efficiency.scales:
            before = counted.get((family.baseline, scale))
            after = counted.get((family.conversion, scale))
            if before and after:
                params = (after.params / before.params - 1) * 100
                flops = (after.flops / before.flops - 1) * 100
                changes.append(Change(family, scale, params, flops))
    return changes


def count_agreement(evidence: Evidence) -> tuple[int, int]:
    """How many parameter and FLOP counts print as the paper's do, of how many it prints."""
    agreements = []
    for (network, scale), record in evidence.results.complexity.items():
        quote = evidence.published.cost(network, scale)
        if quote and quote.params_k is not None:
            agreements.append(fixed(record.params / 1e3) == fixed(quote.params_k))
        if quote and quote.flops_g is not None:
            agreements.append(fixed(record.flops / 1e9, 1) == fixed(quote.flops_g, 1))
    return sum(agreements), len(agreements)


def speedups(evidence: Evidence, setup: tuple[str, Formulation]) -> list[float]:
    """Of each pair at each scale measured with that setup."""
    scales = sorted({scale for _, scale, _, _ in evidence.results.latency})
    ratios = (
        speedup(evidence.results, family, scale, setup)
        for family in whole_families(evidence.config.networks)
        for scale in scales
    )
    return [ratio for ratio in ratios if ratio is not None]


def efficiency_heading(evidence: Evidence) -> str:
    changes = count_changes(evidence)
    pairs = len(whole_families(evidence.config.networks)) * len(evidence.config.efficiency.scales)
    if (
        not changes
        or len(changes) < pairs
        or any(max(c.params_percent, c.flops_percent) >= 0 for c in changes)
    ):
        return "Size, FLOPs, latency and memory"
    ratios = [ratio for setup in evidence.latency_setups for ratio in speedups(evidence, setup)]
    if not ratios:
        return "Conversions are smaller and need fewer FLOPs"
    if min(ratios) > 1:
        return "Conversions are smaller, lighter and faster"
    return "Conversions are smaller and lighter, but not all are faster here"


def complexity_finding(evidence: Evidence) -> str:
    equal, counts = count_agreement(evidence)
    if not counts:
        return "Parameters and FLOPs at published size."
    return f"{equal} of {counts} counts print exactly as in the paper."


def speed_sentence(evidence: Evidence) -> str:
    """Ratios here against the paper's, never milliseconds across devices; empty if not run."""
    parts = [
        f"{between(ratios, 1)} ({setup_name(setup)})"
        for setup in evidence.latency_setups
        if (ratios := speedups(evidence, setup))
    ]
    if not parts:
        return ""
    return (
        f"Conversions run {listed(parts)} times as fast as their baselines; "
        f"{_published_ratios(evidence)}."
    )


def latency_finding(evidence: Evidence) -> str:
    return speed_sentence(evidence) or "Latency and peak memory at published size."


def bicubic_gains(evidence: Evidence, scale: Scale, dataset: str) -> list[float]:
    """Gain over bicubic of each network scored."""
    scores = (score(evidence.results, n, scale, dataset) for n in evidence.config.networks)
    return [s.over_bicubic_db.value for s in scores if s and s.over_bicubic_db]


def pair_gains(evidence: Evidence, scale: Scale, dataset: str) -> list[float]:
    """Gain of each conversion over its baseline, where both were scored."""

    def found(network: str) -> Score | None:
        return score(evidence.results, network, scale, dataset)

    pairs = [
        (found(family.baseline), found(family.conversion))
        for family in whole_families(evidence.config.networks)
    ]
    return [b.psnr_db.value - a.psnr_db.value for a, b in pairs if a and b]


def behind_bicubic(evidence: Evidence) -> list[str]:
    """Networks that do not beat bicubic by a hundredth: "HiT-SIR on Set5 ×2"."""
    return [
        f"{label(network)} on {evidence.set_name(dataset)} ×{scale}"
        for dataset in evidence.config.data.test
        for scale in evidence.config.train.scales
        for network in in_pairs(evidence.config.networks)
        if (found := score(evidence.results, network, scale, dataset))
        and found.over_bicubic_db
        and round(found.over_bicubic_db.value, 2) <= 0
    ]


def quality_heading(evidence: Evidence) -> str:
    sets = [
        bicubic_gains(evidence, scale, dataset)
        for scale in evidence.config.train.scales
        for dataset in evidence.config.data.test
    ]
    if not all(len(gains) == len(evidence.config.networks) for gains in sets):
        return "Quality on the test pictures"
    ahead = min(sum(round(gain, 2) > 0 for gain in gains) for gains in sets)
    total = len(evidence.config.networks)
    where = evidence.set_name(evidence.config.data.test[0]) if len(sets) == 1 else "every set"
    if ahead == total:
        return sentence(f"{share(total, total)} networks beat bicubic on {where}")
    return f"Not every network beats bicubic: {share(ahead, total)} on {where}"


def quality_sentence(evidence: Evidence) -> str:
    """For the first scale and test set: against bicubic, and conversions against baselines."""
    scale, dataset = evidence.config.train.scales[0], evidence.config.data.test[0]
    gains = bicubic_gains(evidence, scale, dataset)
    if not gains:
        return ""
    ahead = sum(round(gain, 2) > 0 for gain in gains)
    text = (
        f"on {evidence.set_name(dataset)} ×{scale} {share(ahead, len(gains))} beat bicubic "
        f"({between(gains, 2, 'dB', plus=True)})"
    )
    pairs = pair_gains(evidence, scale, dataset)
    if not pairs:
        return text
    better = sum(round(gain, 2) > 0 for gain in pairs)
    return (
        f"{text}, and {share(better, len(pairs))} conversions are ahead of their baseline "
        f"({between(pairs, 2, 'dB', plus=True)})"
    )


def quality_finding(evidence: Evidence) -> str:
    return sentence(quality_sentence(evidence) or "PSNR and SSIM beside bicubic") + "."


def reaches(evidence: Evidence, scale: Scale) -> list[Reach]:
    """For each family whose both curves are there."""
    found = []
    for family in whole_families(evidence.config.networks):
        baseline, conversion = (_psnr_curve(evidence, name, scale) for name in family.networks)
        if baseline and conversion:
            position = reached_at(conversion, baseline.mean[-1])
            step = None if position is None else conversion.steps[position]
            found.append(Reach(family, step, conversion.steps[-1]))
    return found


def convergence_heading(evidence: Evidence, scale: Scale) -> str:
    found = reaches(evidence, scale)
    if not found or len(found) < len(whole_families(evidence.config.networks)):
        return "How the networks learn"
    early = sum(reach.step is not None and reach.step < reach.last_step for reach in found)
    if not early:
        return "No conversion reaches its baseline’s final PSNR early"
    verb = "reaches" if early == 1 else "reach"
    return sentence(
        f"{share(early, len(found))} conversions {verb} the baseline’s final PSNR early"
    )


def convergence_finding(evidence: Evidence, scale: Scale) -> str:
    found = reaches(evidence, scale)
    if not found or len(found) < len(whole_families(evidence.config.networks)):
        return "Validation PSNR over training."
    never = [label(reach.family.conversion) for reach in found if reach.step is None]
    parts = [
        f"{label(reach.family.conversion)} after {fixed(reach.step)}"
        for reach in found
        if reach.step is not None
    ]
    last = fixed(found[0].last_step)
    if not parts:
        return f"No conversion reaches its baseline’s final PSNR within {last} steps."
    exceptions = f"; {listed(never)} never" if never else ""
    return f"Steps of {last} to the baseline’s final PSNR: {listed(parts)}{exceptions}."


def _psnr_curve(evidence: Evidence, network: str, scale: Scale) -> Curve | None:
    return curve(logs_of(evidence.results, network, scale), "validation_psnr_db")


def _published_ratios(evidence: Evidence) -> str:
    families = whole_families(evidence.config.networks)
    ratios = [r for f in families if (r := published_speedup(evidence.published, f)) is not None]
    if not ratios:
        return "the paper gives no run times for these networks"
    return (
        f"the paper’s ratios are {between(ratios, 1)}, on an {PAPER_DEVICE} at "
        f"×{PAPER_RUNTIME_SCALE} with the code as published"
    )
