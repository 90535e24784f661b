"""Section: PSNR over what it costs, here and as others print it.

PSNR and cost of a point are of one network, never of its published size and its reduced one.
Printed numbers join the same panel on the paper's sets alone; else they have panels of their own.
"""

import math
from typing import NamedTuple

from hitsr.report.budget import Budget
from hitsr.report.comparable import PAPER_TRAINING_SET
from hitsr.report.costs import (
    COUNTED,
    LIGHTWEIGHT_PARAMS_K,
    TIMED,
    TRAINED,
    Cost,
    Point,
    measured_costs,
    quotes,
    successors,
)
from hitsr.report.evidence import Evidence
from hitsr.report.scatter import scatter
from hitsr.report.section import Caption, Section
from hitsr.report.svg import Panel
from hitsr.report.typeset import fixed
from hitsr.specs.network import Scale

_PREFERRED = "Urban100"  # the paper and its successors print most about it


class Setting(NamedTuple):
    """The set and scale whose PSNR the panels show."""

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
    joins = dataset in evidence.paper_sets and not budget.reduction
    return Setting(dataset, min(evidence.config.scales), joins)


def cost_heading(evidence: Evidence, budget: Budget) -> str:
    """A finding where every pair was scored and counted at published size."""
    setting, moves = cost_setting(evidence, budget), []
    where = {"scale": setting.scale}
    for family in evidence.families:
        before, after = (
            evidence.level("psnr_db", network, **where, dataset=setting.dataset)
            for network in family.networks
        )
        heavy, light = (evidence.facts.value("flops", n, **where) for n in family.networks)
        if not (before and after and heavy and light) or budget.reduction:
            return "Performance and cost"
        better = round(after.value - before.value, 2) > 0
        moves.append(better and light < heavy)
    if moves and all(moves):
        return "Conversion moves every network up and to the left"
    return "Performance and cost"


def measured_panels(evidence: Evidence, budget: Budget, setting: Setting) -> list[Panel]:
    """One for each cost that was measured of a network that was scored.

    Of networks reduced in size, only parameters and training time are known.
    """
    costs = map(Cost, TRAINED) if budget.reduction else measured_costs(evidence, COUNTED)
    panels = []
    for cost in costs:
        points = _points(evidence, setting, cost)
        # Others' times are of other machines.
        joins = setting.with_quotes and cost.quantity in COUNTED
        beside = quotes(evidence, setting.dataset, setting.scale, cost.quantity) if joins else []
        if points:
            panels.append(scatter(f"cost-{cost.key}", cost.title, cost.unit, points, beside))
    return panels


def _points(evidence: Evidence, setting: Setting, cost: Cost) -> list[Point]:
    points = []
    for network in evidence.networks:
        psnr = evidence.level("psnr_db", network, dataset=setting.dataset, scale=setting.scale)
        spent = evidence.level(cost.quantity, network, scale=setting.scale, **cost.where)
        # Neither a perfect score nor an own network without parameters has a place on the axes.
        if psnr and math.isfinite(psnr.value) and spent and spent.value > 0:
            points.append(Point(network, spent.value, psnr.value, psnr.half))
    return points


def quoted_panels(evidence: Evidence, setting: Setting) -> list[Panel]:
    """Printed numbers that no panel above shows, at the same scale, on Urban100."""
    panels = []
    for cost in map(Cost, (*(() if setting.with_quotes else COUNTED), *TIMED)):
        points = quotes(evidence, _PREFERRED, setting.scale, cost.quantity)
        title = f"{cost.title}, their GPU" if cost.quantity in TIMED else cost.title
        if points:
            panels.append(scatter(f"quoted-{cost.key}", title, cost.unit, [], points))
    return panels


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
    """Sources of the quoted points, each once."""
    rows = [
        *(quote.source for quote in evidence.published.quotes if quote.scale == setting.scale),
        *(row.source for row in successors(evidence, setting.scale)),
    ]
    return list(dict.fromkeys(rows))
