"""How costs grow with windows and with pictures: straight lines on log axes, a panel per cost."""

import math
from typing import Any, Literal, NamedTuple

from hitsr.records import Over, PowerLaw, ScalingRecord, ScalingTimeRecord, SizeTime, TimeGrowth
from hitsr.report.gather import Setup
from hitsr.report.measures import Evidence, setup_name
from hitsr.report.names import family_key, label, role_of, short_label
from hitsr.report.plots import End, Frame, fractions, log_ticks, marker, name_ends, plot
from hitsr.report.statistics import median
from hitsr.report.svg import PALETTE, TEXT_COLOUR, Panel, to_panel
from hitsr.report.typeset import fixed

Cost = Literal["flops", "activations", "peak_activation_bytes"]
COSTS: dict[Cost, tuple[str, str, float]] = {  # title, unit, size of that unit
    "flops": ("FLOPs", "G", 1e9),
    "activations": ("Activations", "M elements", 1e6),
    "peak_activation_bytes": ("Peak activation memory", "MB", 1e6),
}
_FRAME = Frame(left=52, width=178, height=212)


class Law(NamedTuple):
    """A fitted exponent and its standard error."""

    exponent: float
    error: float


class _Line(NamedTuple):
    """One network's costs, and the law that was fitted to them."""

    sides: list[int]
    values: list[float]
    law: Law


def law(record: ScalingRecord, cost: Cost) -> Law:
    found: PowerLaw = getattr(record, cost)
    return Law(found.exponent, found.standard_error)


def time_law(record: ScalingTimeRecord, over: Over) -> Law | None:
    growth = time_growth(record, over)
    return Law(growth.law.exponent, growth.law.standard_error) if growth else None


def time_growth(record: ScalingTimeRecord, over: Over) -> TimeGrowth | None:
    return record.windows if over == "window" else record.pictures


def growth_panels(evidence: Evidence, over: Over) -> list[Panel]:
    """One panel for each device's time and each cost; none where nothing was measured."""
    panels = [_time_panel(evidence, over, setup) for setup in evidence.scaling_setups]
    counted = {
        network: record
        for network in evidence.networks
        if (record := evidence.results.scaling.get((network, over)))
    }
    if counted:
        panels += [_cost_panel(counted, over, cost) for cost in COSTS]
    return [panel for panel in panels if panel]


def _cost_panel(found: dict[str, ScalingRecord], over: Over, cost: Cost) -> Panel:
    title, unit, size = COSTS[cost]
    lines = {
        network: _Line(
            [point.side for point in record.points],
            [getattr(point, cost) / size for point in record.points],
            law(record, cost),
        )
        for network, record in found.items()
    }
    return _panel(f"scaling-{over}-{cost.replace('_', '-')}", title, unit, over, lines)


def _time_panel(evidence: Evidence, over: Over, setup: Setup) -> Panel | None:
    """Medians; None where nothing was timed."""
    lines = {}
    for network in evidence.networks:
        record = evidence.results.scaling_time.get((network, *setup))
        growth, fitted = (
            (time_growth(record, over), time_law(record, over)) if record else (None, None)
        )
        if growth and fitted:
            sides = [point.side for point in growth.points]
            lines[network] = _Line(sides, [_shown(point, over) for point in growth.points], fitted)
    if not lines:
        return None
    name, title = f"scaling-{over}-time-{'-'.join(setup)}", f"Time, {setup_name(setup)}"
    unit = "µs per pixel of the picture" if over == "window" else "ms"
    return _panel(name, title, unit, over, lines)


def _shown(point: SizeTime, over: Over) -> float:
    """ms; over windows µs per pixel, since not all networks' windows fill the same picture."""
    middle_ms = median(point.samples_ms).value
    return middle_ms * 1000 / math.prod(point.input_size) if over == "window" else middle_ms


def _panel(name: str, title: str, unit: str, over: Over, lines: dict[str, _Line]) -> Panel:
    figure, axes = plot(title, f"{unit}, log scale", f"side of the {over}, px, log scale", _FRAME)
    log_ticks(axes, "x", [side for line in lines.values() for side in line.sides])
    log_ticks(axes, "y", [value for line in lines.values() for value in line.values])
    sides = sorted({side for line in lines.values() for side in line.sides})
    axes.set_xticks(_spread(sides), [str(side) for side in _spread(sides)])
    ends = []
    for network, (x, y, power) in lines.items():
        key, converted = family_key(network), role_of(network) == "conversion"
        dashes: Any = "solid" if converted else (0, (5, 3))
        width = 2.2 if converted else 1.7
        axes.plot(x, y, color=PALETTE[key], linestyle=dashes, linewidth=width)
        axes.plot(x, y, linestyle="none", markersize=6, **marker(network))
        across, height = fractions(axes, x[-1], y[-1])
        text = f"{short_label(network)}\n{fixed(power.exponent, 2)} ± {fixed(power.error, 2)}"
        ends.append(End(height, across, text, 700 if converted else 400, TEXT_COLOUR[key]))
    name_ends(axes, ends, _FRAME.label_gap)
    described = (f"{label(n)} {fixed(line.law.exponent, 2)}" for n, line in lines.items())
    description = (
        f"{title} against the {over}’s size; exponents of its tokens: {', '.join(described)}"
    )
    return to_panel(figure, name, description)


def _spread(sides: list[int]) -> list[int]:
    """Those sides whose labels do not touch: each about twice the one before."""
    kept = sides[:1]
    for side in sides[1:]:
        if side >= 1.9 * kept[-1]:
            kept.append(side)
    return kept
