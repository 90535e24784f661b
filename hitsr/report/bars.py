"""Bars of what networks cost: from zero, each conversion under its baseline."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hitsr.report.measures import Evidence, latency_ms, setup_name
from hitsr.report.names import FAMILIES, family_key, in_pairs, label, role_of, short_label
from hitsr.report.panels import LETTER, TEXT_COLOUR, Panel, blank
from hitsr.report.svg import PALETTE, SANS, SERIF, to_svg
from hitsr.report.typeset import fixed, percent, times
from hitsr.spec import Formulation, Scale

_LEFT, _LONGEST = 92.0, 165.0  # of bars, in units of the SVG


@dataclass(frozen=True)
class Bar:
    """One network's cost and the paper's value for it, where there is one."""

    network: str
    value: float | None
    quoted: float | None = None


def cost_panels(evidence: Evidence) -> list[Panel]:
    """Parameters and FLOPs, then latency and memory for each setup measured, at one scale."""
    scale = evidence.figure_scale
    counts = _count_bars(evidence, scale)
    panels = [
        bars("parameters", "Parameters", "K, exact", counts["params"], 0, _as_percent),
        bars("flops", "FLOPs", "G, exact", counts["flops"], 1, _as_percent),
    ]
    for setup in evidence.latency_setups:
        name, key, costs = setup_name(setup), "-".join(setup), _run_bars(evidence, scale, setup)
        panels += [
            bars(
                f"latency-{key}", f"Latency, {name}", "ms, median", costs["latency"], 0, _as_speed
            ),
            bars(f"memory-{key}", f"Peak memory, {name}", "MB", costs["memory"], 0, _as_percent),
        ]
    return panels


def bars(
    name: str,
    title: str,
    unit: str,
    values: Sequence[Bar],
    digits: int,
    compared: Callable[[float], str],
) -> Panel:
    """Bars from zero, each conversion under its baseline; at the right, their ratio in words."""
    figure, axes = _canvas(380, 34 + 32 * len(values))
    _write(axes, 0, 14, title, weight=700, size=13.5, colour="ink")
    _write(axes, 380, 14, unit, ha="right", size=12, colour="ink3")
    known = [value for bar in values for value in (bar.value, bar.quoted) if value is not None]
    unit_length = _LONGEST / max(known, default=1.0)
    by_network = {bar.network: bar.value for bar in values}
    top = 30.0
    for bar in values:
        _draw_bar(axes, bar, top, unit_length, digits)
        if change := _change(bar, by_network, compared):
            colour = TEXT_COLOUR[family_key(bar.network)]
            _write(axes, 379, top + 14.5, change, ha="right", weight=700, colour=colour)
        top += 40 if role_of(bar.network) == "conversion" else 24
    axes.plot([_LEFT] * 2, [26, top - 10], color=PALETTE["rule2"], linewidth=1, zorder=0)
    described = (f"{label(bar.network)} {_described(bar.value, digits)}" for bar in values)
    return Panel(name, to_svg(figure, name), f"{title} in {unit}: {', '.join(described)}")


def _count_bars(evidence: Evidence, scale: Scale) -> dict[str, list[Bar]]:
    made: dict[str, list[Bar]] = {"params": [], "flops": []}
    for network in in_pairs(evidence.config.networks):
        record = evidence.results.complexity.get((network, scale))
        quote = evidence.published.cost(network, scale)
        made["params"].append(
            Bar(network, record.params / 1e3 if record else None, quote.params_k if quote else None)
        )
        made["flops"].append(
            Bar(network, record.flops / 1e9 if record else None, quote.flops_g if quote else None)
        )
    return made


def _run_bars(
    evidence: Evidence, scale: Scale, setup: tuple[str, Formulation]
) -> dict[str, list[Bar]]:
    made: dict[str, list[Bar]] = {"latency": [], "memory": []}
    for network in in_pairs(evidence.config.networks):
        record = evidence.results.latency.get((network, scale, *setup))
        time = latency_ms(evidence.results, network, scale, setup)
        made["latency"].append(Bar(network, time.value if time else None))
        made["memory"].append(Bar(network, record.peak_memory_bytes / 1e6 if record else None))
    return made


def _canvas(width: float, height: float) -> tuple[Figure, Axes]:
    """Axes in units of the SVG: the origin at the top left, y downwards."""
    figure = blank(width, height)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(height, 0))
    axes.set_axis_off()
    return figure, axes


def _write(
    axes: Axes,
    x: float,
    y: float,
    text: str,
    *,
    ha: Literal["left", "right", "center"] = "left",
    weight: int = 400,
    size: float = 12.5,
    colour: str = "ink2",
    quoted: bool = False,
) -> None:
    style, family = ("italic", SERIF) if quoted else ("normal", SANS)
    axes.text(
        x, y, text, ha=ha, va="baseline", weight=weight, size=size, color=PALETTE[colour],
        fontstyle=style, fontfamily=family,
    )  # fmt: skip


def _draw_bar(axes: Axes, bar: Bar, top: float, unit_length: float, digits: int) -> None:
    key, converted = family_key(bar.network), role_of(bar.network) == "conversion"
    base = top + 14.5
    name = short_label(bar.network)
    _write(axes, 86, base, name, ha="right", weight=700 if converted else 400)
    if bar.value is None:
        _write(axes, _LEFT + 8, base, "not run", colour="ink3")
        return
    fill = PALETTE[key if converted or key == "ctl" else f"{key}0"]
    length = bar.value * unit_length
    axes.barh(top + 10, length, 20, left=_LEFT, color=fill, edgecolor=PALETTE[key])
    quoted = None if bar.quoted is None else bar.quoted * unit_length
    end = _LEFT + max(length, quoted or 0) + 9
    if quoted is not None:
        axes.plot(
            _LEFT + quoted, top + 10, marker="D", markersize=6.5,
            color=PALETTE["paper"], markeredgecolor=PALETTE["quote"], markeredgewidth=1.4,
        )  # fmt: skip
    text = fixed(bar.value, digits)
    _write(axes, end, base, text, weight=700, colour="ink")
    if bar.quoted is not None and fixed(bar.quoted, digits) != text:
        quote = f"paper {fixed(bar.quoted, digits)}"
        _write(axes, end + 8 + LETTER * len(text), base, quote, quoted=True)


def _change(bar: Bar, by_network: dict[str, float | None], compared: Callable[[float], str]) -> str:
    """A conversion's cost over its baseline's, in words; empty where either is absent."""
    family = next((f for f in FAMILIES if f.conversion == bar.network), None)
    before = by_network.get(family.baseline) if family else None
    return compared(bar.value / before) if bar.value and before else ""


def _as_percent(ratio: float) -> str:
    """ "−15 %", "−0.7 %"."""
    return percent(ratio, 1 if abs(ratio - 1) < 0.01 else 0)


def _as_speed(ratio: float) -> str:
    return f"{times(1 / ratio)} as fast"


def _described(value: float | None, digits: int) -> str:
    return "not run" if value is None else fixed(value, digits)
