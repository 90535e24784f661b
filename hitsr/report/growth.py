"""How costs grow with windows and with pictures: straight lines on log axes, a panel per cost."""

from typing import Any

from hitsr.report.evidence import Evidence
from hitsr.report.facts import QUANTITIES, Fact
from hitsr.report.names import label
from hitsr.report.plots import Frame, draw_line, log_ticks, marker, name_ends, plot
from hitsr.report.svg import Panel, to_panel
from hitsr.report.typeset import fixed
from hitsr.specs.config import Over

COSTS = ("flops", "activations", "activation_memory")
_FRAME = Frame(left=52, width=178, height=212)


def growth_panels(evidence: Evidence, over: Over) -> list[Panel]:
    """One panel for each device's time and each cost; none where nothing was measured."""
    panels, time = [], QUANTITIES["growth_time"]
    for setup in evidence.scaling_setups:
        lines = _lines(evidence, "growth_time", over=over, setup=setup)
        unit = "µs per pixel of the picture" if over == "window" else time.unit
        panels.append(
            _panel(f"time-{setup.key}", f"{time.title}, {setup.words}", unit, over, lines)
        )
    for cost in COSTS:
        lines = _lines(evidence, f"growth_{cost}", over=over)
        name = cost.replace("activation_memory", "peak-activation-bytes")
        panels.append(_panel(name, QUANTITIES[cost].title, QUANTITIES[cost].unit, over, lines))
    return [panel for panel in panels if panel]


def _lines(evidence: Evidence, quantity: str, **where: Any) -> dict[str, Fact]:
    """One fact per network: that of the smallest scale."""
    found = {name: evidence.facts.find(quantity, name, **where) for name in evidence.networks}
    return {name: min(rows, key=lambda row: row.scale) for name, rows in found.items() if rows}


def _panel(name: str, title: str, unit: str, over: Over, lines: dict[str, Fact]) -> Panel | None:
    """Sides of windows or pictures are in LR pixels."""
    if not lines:
        return None
    figure, axes = plot(title, f"{unit}, log scale", f"side of the {over}, px, log scale", _FRAME)
    sides = sorted({side for line in lines.values() for side in line.items})
    log_ticks(axes, "x", sides)
    log_ticks(axes, "y", [value for line in lines.values() for value in line.samples])
    axes.set_xticks(_spread(sides), [str(side) for side in _spread(sides)])
    ends, exponents = [], []
    for network, line in lines.items():
        assert line.law is not None
        exponent = fixed(line.law.exponent, 2)
        note = f"{exponent} ± {fixed(line.law.standard_error, 2)}"
        ends.append(draw_line(axes, network, line.items, line.samples, note))
        axes.plot(line.items, line.samples, markersize=6, **marker(network))
        exponents.append(f"{label(network)} {exponent}")
    name_ends(axes, ends, _FRAME.label_gap)
    described = f"{title} against the {over}’s size; exponents of its tokens: "
    return to_panel(figure, f"scaling-{over}-{name}", described + ", ".join(exponents))


def _spread(sides: list[int]) -> list[int]:
    """Sides whose labels do not touch: each about twice the one before."""
    kept = sides[:1]
    for side in sides[1:]:
        if side >= 1.9 * kept[-1]:
            kept.append(side)
    return kept
