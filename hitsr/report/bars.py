"""Bars of what networks cost: from zero, each conversion under its baseline."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes

from hitsr.report.measures import Evidence, setup_name
from hitsr.report.names import family_key, family_of, label, role_of, short_label
from hitsr.report.statistics import median
from hitsr.report.svg import LETTER, PALETTE, SERIF, TEXT_COLOUR, Panel, blank, style, to_panel
from hitsr.report.typeset import fixed, percent
from hitsr.specs.network import Scale

_LEFT, _LONGEST = 92.0, 165.0  # of bars, in units of the SVG


@dataclass(frozen=True)
class Bar:
    """One network's cost and the paper's value for it, where there is one."""

    network: str
    value: float | None
    quoted: float | None = None


def cost_panels(evidence: Evidence, scale: Scale) -> list[Panel]:
    """Parameters and FLOPs, then latency and memory for each setup measured, at one scale."""
    params, flops = [], []
    for network in evidence.networks:
        record = evidence.results.complexity.get((network, scale))
        quote = evidence.published.cost(network, scale)
        k, g = (record.params / 1e3, record.flops / 1e9) if record else (None, None)
        params.append(Bar(network, k, quote.params_k if quote else None))
        flops.append(Bar(network, g, quote.flops_g if quote else None))
    panels = [
        bars("parameters", "Parameters", "K, exact", params, 0, _as_percent),
        bars("flops", "FLOPs", "G, exact", flops, 1, _as_percent),
    ]
    for setup in evidence.latency_setups:
        times, memory = [], []
        for network in evidence.networks:
            timed = evidence.results.latency.get((network, scale, *setup))
            times.append(Bar(network, median(timed.samples_ms).value if timed else None))
            memory.append(Bar(network, timed.peak_memory_bytes / 1e6 if timed else None))
        name, key = setup_name(setup), "-".join(setup)
        panels += [
            bars(f"latency-{key}", f"Latency, {name}", "ms, median", times, 0, _as_speed),
            bars(f"memory-{key}", f"Peak memory, {name}", "MB", memory, 0, _as_percent),
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
    width, height = 380, 34 + 32 * len(values)
    figure = blank(width, height)
    # In units of the SVG: the origin at the top left, y downwards.
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(height, 0))
    axes.set_axis_off()
    axes.text(0, 14, title, **style("ink", 13.5, 700))
    axes.text(width, 14, unit, ha="right", **style("ink3", 12))
    known = [value for bar in values for value in (bar.value, bar.quoted) if value is not None]
    unit_length = _LONGEST / max(known, default=1.0)
    by_network = {bar.network: bar.value for bar in values}
    top = 30.0
    for bar in values:
        _draw_bar(axes, bar, top, unit_length, digits)
        if change := _change(bar, by_network, compared):
            colour = TEXT_COLOUR[family_key(bar.network)]
            axes.text(379, top + 14.5, change, ha="right", **style(colour, weight=700))
        top += 40 if role_of(bar.network) == "conversion" else 24
    axes.plot([_LEFT] * 2, [26, top - 10], color=PALETTE["rule2"], linewidth=1, zorder=0)
    described = (
        f"{label(bar.network)} {'not run' if bar.value is None else fixed(bar.value, digits)}"
        for bar in values
    )
    return to_panel(figure, name, f"{title} in {unit}: {', '.join(described)}")


def _draw_bar(axes: Axes, bar: Bar, top: float, unit_length: float, digits: int) -> None:
    key, converted = family_key(bar.network), role_of(bar.network) == "conversion"
    base = top + 14.5
    name = short_label(bar.network)
    axes.text(86, base, name, ha="right", **style("ink2", weight=700 if converted else 400))
    if bar.value is None:
        axes.text(_LEFT + 8, base, "not run", **style("ink3"))
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
    axes.text(end, base, text, **style("ink", weight=700))
    if bar.quoted is not None and fixed(bar.quoted, digits) != text:
        quote = f"paper {fixed(bar.quoted, digits)}"
        aside = style("ink2") | {"fontstyle": "italic", "fontfamily": SERIF}
        axes.text(end + 8 + LETTER * len(text), base, quote, **aside)


def _change(bar: Bar, by_network: dict[str, float | None], compared: Callable[[float], str]) -> str:
    """A conversion's cost over its baseline's, in words; empty where either is absent."""
    family = family_of(bar.network)
    before = by_network.get(family.baseline) if family and bar.network != family.baseline else None
    return compared(bar.value / before) if bar.value and before else ""


def _as_percent(ratio: float) -> str:
    """ "−15 %", "−0.7 %"."""
    return percent(ratio, 1 if abs(ratio - 1) < 0.01 else 0)


def _as_speed(ratio: float) -> str:
    return f"{fixed(1 / ratio, 1)}× as fast"
