"""How costs grow with windows and with pictures: straight lines on log axes, a panel per cost."""

from typing import Any, Literal, NamedTuple

from hitsr.records import Over, PowerLaw, ScalingRecord
from hitsr.report.measures import Evidence
from hitsr.report.names import family_key, label, role_of, short_label
from hitsr.report.plots import End, Frame, fractions, log_ticks, marker, name_ends, plot
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


def law(record: ScalingRecord, cost: Cost) -> Law:
    found: PowerLaw = getattr(record, cost)
    return Law(found.exponent, found.standard_error)


def growth_panels(evidence: Evidence, over: Over) -> list[Panel]:
    """One panel for each cost; none where nothing was measured."""
    found = {
        network: record
        for network in evidence.networks
        if (record := evidence.results.scaling.get((network, over)))
    }
    return [_panel(found, over, cost) for cost in COSTS] if found else []


def _panel(found: dict[str, ScalingRecord], over: Over, cost: Cost) -> Panel:
    title, unit, size = COSTS[cost]
    figure, axes = plot(title, f"{unit}, log scale", f"side of the {over}, px, log scale", _FRAME)
    lines = {
        network: ([p.side for p in r.points], [getattr(p, cost) / size for p in r.points])
        for network, r in found.items()
    }
    log_ticks(axes, "x", [side for sides, _ in lines.values() for side in sides])
    log_ticks(axes, "y", [value for _, values in lines.values() for value in values])
    sides = sorted({side for sides, _ in lines.values() for side in sides})
    axes.set_xticks(_spread(sides), [str(side) for side in _spread(sides)])
    ends = []
    for network, (x, y) in lines.items():
        key, converted = family_key(network), role_of(network) == "conversion"
        dashes: Any = "solid" if converted else (0, (5, 3))
        width = 2.2 if converted else 1.7
        axes.plot(x, y, color=PALETTE[key], linestyle=dashes, linewidth=width)
        axes.plot(x, y, linestyle="none", markersize=6, **marker(network))
        across, height = fractions(axes, x[-1], y[-1])
        power = law(found[network], cost)
        text = f"{short_label(network)}\n{fixed(power.exponent, 2)} ± {fixed(power.error, 2)}"
        ends.append(End(height, across, text, 700 if converted else 400, TEXT_COLOUR[key]))
    name_ends(axes, ends, _FRAME.label_gap)
    described = (f"{label(n)} {fixed(law(r, cost).exponent, 2)}" for n, r in found.items())
    description = (
        f"{title} against the {over}’s size; exponents of its tokens: {', '.join(described)}"
    )
    return to_panel(figure, f"scaling-{over}-{cost.replace('_', '-')}", description)


def _spread(sides: list[int]) -> list[int]:
    """Those sides whose labels do not touch: each about twice the one before."""
    kept = sides[:1]
    for side in sides[1:]:
        if side >= 1.9 * kept[-1]:
            kept.append(side)
    return kept
