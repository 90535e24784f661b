"""Bars of what networks cost: from zero, each conversion under its baseline."""

from collections.abc import Sequence
from typing import NamedTuple

from matplotlib.axes import Axes

from hitsr.report.costs import Cost, measured_costs
from hitsr.report.evidence import Evidence, percent_change
from hitsr.report.facts import PAPER, digits_for
from hitsr.report.names import family_key, family_of, label, role_of, short_label
from hitsr.report.plots import WIDE, fill_colour, quote_marker, rows_panel
from hitsr.report.svg import LETTER, PALETTE, TEXT_COLOUR, Panel, quote_style, style, to_panel
from hitsr.report.typeset import fixed, percent, times
from hitsr.specs.network import Scale

_LEFT, _LONGEST = 92.0, 165.0  # of bars, in units of the SVG
_HOW = {"params": "exact", "flops": "exact", "latency_ms": "median"}


class Bar(NamedTuple):
    """One network's cost here and in print."""

    network: str
    value: float | None
    printed: float | None = None
    comparison: str = ""  # of a conversion with its baseline: "−15 %", "3.0× as fast"


def cost_panels(evidence: Evidence, scale: Scale) -> list[Panel]:
    """Parameters and FLOPs, then latency and memory for each setup measured, at one scale.

    Printed counts stand beside those here; printed times are of another machine.
    """
    panels = []
    for cost in measured_costs(evidence, ("params", "flops")):
        values = []
        for network in evidence.networks:
            level = evidence.level(cost.quantity, network, scale=scale, **cost.where)
            printed = evidence.facts.value(cost.quantity, network, speaker=PAPER, scale=scale)
            here = level.value if level else None
            beside = _comparison(evidence, cost, network, scale)
            values.append(Bar(network, here, None if cost.setup else printed, beside))
        panels.append(bars(cost, values))
    return panels


def bars(cost: Cost, values: Sequence[Bar]) -> Panel:
    """Bars from zero, each conversion under its baseline; at the right, how it compares."""
    unit = ", ".join(filter(None, (cost.unit, _HOW.get(cost.quantity))))
    figure, axes = rows_panel(cost.title, unit, 34 + 32 * len(values))
    known = [value for bar in values for value in (bar.value, bar.printed) if value is not None]
    unit_length = _LONGEST / max(known, default=1.0)
    digits = digits_for(cost.quantity, min(known, default=0.0))
    top = 30.0
    for bar in values:
        _draw_bar(axes, bar, top, unit_length, digits)
        if bar.comparison:
            colour = TEXT_COLOUR[family_key(bar.network)]
            axes.text(WIDE - 1, top + 14.5, bar.comparison, ha="right", **style(colour, weight=700))
        top += 40 if role_of(bar.network) == "conversion" else 24
    axes.plot([_LEFT] * 2, [26, top - 10], color=PALETTE["rule2"], linewidth=1, zorder=0)
    described = (
        f"{label(bar.network)} {'not run' if bar.value is None else fixed(bar.value, digits)}"
        for bar in values
    )
    return to_panel(figure, cost.key, f"{cost.title} in {unit}: {', '.join(described)}")


def _draw_bar(axes: Axes, bar: Bar, top: float, unit_length: float, digits: int) -> None:
    base, weight = top + 14.5, 700 if role_of(bar.network) == "conversion" else 400
    axes.text(86, base, short_label(bar.network), ha="right", **style("ink2", weight=weight))
    if bar.value is None:
        axes.text(_LEFT + 8, base, "not run", **style("ink3"))
        return
    edge = PALETTE[family_key(bar.network)]
    length, printed = bar.value * unit_length, (bar.printed or 0) * unit_length
    axes.barh(top + 10, length, 20, left=_LEFT, color=fill_colour(bar.network), edgecolor=edge)
    end = _LEFT + max(length, printed) + 9
    text = fixed(bar.value, digits)
    axes.text(end, base, text, **style("ink", weight=700))
    if bar.printed is None:
        return
    axes.plot(_LEFT + printed, top + 10, **quote_marker(size=6.5, edge=1.4))
    if fixed(bar.printed, digits) != text:
        quote = f"paper {fixed(bar.printed, digits)}"
        axes.text(end + 8 + LETTER * len(text), base, quote, **quote_style("ink2"))


def _comparison(evidence: Evidence, cost: Cost, network: str, scale: Scale) -> str:
    """A conversion's cost beside its baseline's; empty unless both are known."""
    family = family_of(network)
    if not family or role_of(network) != "conversion":
        return ""
    if cost.quantity == "latency_ms":
        assert cost.setup is not None
        speedup = evidence.speedup(family, scale, cost.setup)
        return f"{times([speedup.median])}× as fast" if speedup else ""
    before, after = (
        evidence.facts.find(cost.quantity, each, scale=scale, **cost.where)
        for each in family.networks
    )
    if not before or not after:
        return ""
    change = percent_change(before[0], after[0])
    return percent(change, 1 if abs(change) < 1 else 0)
