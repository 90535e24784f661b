"""Section: PSNR over what it costs, here and as others print it.

A cost stands beside the PSNR of the network that it was measured of. What others print joins the
same panel on the paper's sets alone; beside other pictures it has panels of its own.
"""

from typing import NamedTuple

from hitsr.report.budget import Budget
from hitsr.report.costs import (
    COUNTED,
    LIGHTWEIGHT_PARAMS_K,
    TIMED,
    measured_costs,
    quotes,
    successors,
)
from hitsr.report.measures import Evidence, score
from hitsr.report.published import PAPER_TRAINING_SET
from hitsr.report.scatter import Axis, Measured, Quoted, scatter
from hitsr.report.section import Caption, Section
from hitsr.report.svg import Panel
from hitsr.report.typeset import fixed
from hitsr.specs.network import Scale

_PREFERRED = "Urban100"  # of which the paper and its successors print most


class Setting(NamedTuple):
    """What the panels show: one set at one scale."""

    dataset: str
    scale: Scale
    with_quotes: bool  # whether quoted points stand beside those measured


def cost_section(evidence: Evidence, budget: Budget) -> Section:
    setting = cost_setting(evidence, budget)
    measured = measured_panels(evidence, budget, setting)
    quoted = quoted_panels(evidence, setting)
    return Section(
        key="cost",
        nav="Cost",
        heading=cost_heading(evidence, budget),
        parts={
            "measured": measured,
            "caption": _caption(evidence, budget, setting),
            "quoted": quoted,
            "quoted_caption": _quoted_caption(setting),
            "with_quotes": setting.with_quotes,
            "sources": _sources(evidence, setting),
        },
        panels=[*measured, *quoted],
    )


def cost_setting(evidence: Evidence, budget: Budget) -> Setting:
    """The smallest scale; Urban100 where it is tested, else the first set.

    Quotes join on the paper's sets, beside networks of published size.
    """
    sets = evidence.config.data.test
    dataset = _PREFERRED if _PREFERRED in sets else sets[0]
    joins = evidence.published.has_dataset(dataset) and not budget.reduction
    return Setting(dataset, min(evidence.config.scales), joins)


def cost_heading(evidence: Evidence, budget: Budget) -> str:
    """A finding where every pair was scored and counted at published size."""
    setting, moves = cost_setting(evidence, budget), []
    for family in evidence.families:
        before, after = (
            score(evidence.results, network, setting.scale, setting.dataset)
            for network in family.networks
        )
        heavy, light = (
            evidence.results.complexity.get((network, setting.scale)) for network in family.networks
        )
        if not (before and after and heavy and light) or budget.reduction:
            return "Performance and cost"
        better = round(after.psnr_db.value - before.psnr_db.value, 2) > 0
        moves.append(better and light.flops < heavy.flops)
    if moves and all(moves):
        return "Conversion moves every network up and to the left"
    return "Performance and cost"


def measured_panels(evidence: Evidence, budget: Budget, setting: Setting) -> list[Panel]:
    """One for each cost that was measured of a network that was scored."""
    panels = []
    for axis, cost in measured_costs(evidence, budget, setting.scale):
        points = [
            Measured(network, value, found.psnr_db.value, found.psnr_db.half)
            for network in evidence.networks
            if (found := score(evidence.results, network, setting.scale, setting.dataset))
            and (value := cost(network)) is not None
        ]
        if points:
            panels.append(scatter(_named("cost", axis), points, _beside(evidence, setting, axis)))
    return panels


def quoted_panels(evidence: Evidence, setting: Setting) -> list[Panel]:
    """What others print and no panel above shows: on the same scale, on Urban100."""
    printed = [*([] if setting.with_quotes else COUNTED), *TIMED]
    found = [
        (cost.axis, quotes(evidence.published, _PREFERRED, setting.scale, cost)) for cost in printed
    ]
    return [scatter(_named("quoted", axis), [], points) for axis, points in found if points]


def _beside(evidence: Evidence, setting: Setting, axis: Axis) -> list[Quoted]:
    """Only counts: others' times are of other machines."""
    cost = next((cost for cost in COUNTED if cost.axis == axis), None)
    if cost is None or not setting.with_quotes:
        return []
    return quotes(evidence.published, setting.dataset, setting.scale, cost)


def _named(prefix: str, axis: Axis) -> Axis:
    return axis._replace(name=f"{prefix}-{axis.name}")


def _caption(evidence: Evidence, budget: Budget, setting: Setting) -> Caption:
    name = evidence.set_name(setting.dataset)
    whiskers = "; whiskers are 95 % intervals over seeds" if budget.seeds > 1 else ""
    reduced = (
        " The networks trained here are reduced in size: FLOPs, latency and memory are not known "
        "of them, so they stand over their own parameters and training time."
        if budget.reduction
        else ""
    )
    return Caption(
        f"PSNR on {name} ×{setting.scale} over cost.",
        f"Dotted lines join a baseline to its conversion{whiskers}.{reduced}",
        budget.steps,
    )


def _quoted_caption(setting: Setting) -> Caption:
    others = (
        "time and memory, on machines of their own"
        if setting.with_quotes
        else "not comparable with this run’s pictures"
    )
    return Caption(
        f"What others print for {_PREFERRED} ×{setting.scale}: {others}.",
        f"Quoted: the paper’s Table 2, and networks published after it, trained on "
        f"{PAPER_TRAINING_SET}, of up to {fixed(LIGHTWEIGHT_PARAMS_K)} K parameters. Names stand "
        "where there is room, the best first.",
    )


def _sources(evidence: Evidence, setting: Setting) -> list[str]:
    """Of the quoted points, each once."""
    rows = [
        *(quote.source for quote in evidence.published.quotes if quote.scale == setting.scale),
        *(row.source for row in successors(evidence.published, setting.scale)),
    ]
    return list(dict.fromkeys(rows))
