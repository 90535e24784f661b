"""The figures, each a panel of its own: bars from zero for costs, curves for training.

Panels are drawn 330 to 380 units wide and stacked by the page, so type keeps its size on a phone.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from hitsr.report.measures import (
    Curve,
    Evidence,
    Quantity,
    control,
    curve,
    latency_ms,
    logs_of,
    mean_psnr_db,
    reached_at,
)
from hitsr.report.names import FAMILIES, Family, family_key, in_pairs, label, role_of, short_label
from hitsr.report.svg import PALETTE, SANS, SERIF, to_svg
from hitsr.report.typeset import fixed, percent, times
from hitsr.report.views import setup_name
from hitsr.spec import Formulation, Scale

Against = Literal["steps", "seconds"]
Curves = dict[str, Curve]  # by network

_POINTS_PER_INCH = 72  # one unit of an SVG is one point, and one CSS pixel in the page
_BAR_LEFT, _BAR_LONGEST = 92.0, 165.0
_PLOT_WIDTH = 272.0
_LETTER = 6.6  # width of a letter of a label, on average
_TEXT_COLOUR = {"sir": "sir-t", "sng": "sng-t", "srf": "srf", "ctl": "ink2"}


@dataclass(frozen=True)
class Panel:
    name: str
    svg: str
    description: str


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
    unit_length = _BAR_LONGEST / max(known, default=1.0)
    by_network = {bar.network: bar.value for bar in values}
    top = 30.0
    for bar in values:
        _draw_bar(axes, bar, top, unit_length, digits)
        if change := _change(bar, by_network, compared):
            colour = _TEXT_COLOUR[family_key(bar.network)]
            _write(axes, 379, top + 14.5, change, ha="right", weight=700, colour=colour)
        top += 40 if role_of(bar.network) == "conversion" else 24
    axes.plot([_BAR_LEFT] * 2, [26, top - 10], color=PALETTE["rule2"], linewidth=1, zorder=0)
    described = (f"{label(bar.network)} {_described(bar.value, digits)}" for bar in values)
    return Panel(name, to_svg(figure, name), f"{title} in {unit}: {', '.join(described)}")


def psnr_panels(evidence: Evidence, scale: Scale, against: Against) -> list[Panel]:
    """Validation PSNR, one panel per family on shared axes, with the bicubic line."""
    record = control(evidence.results, scale, evidence.config.data.validation)
    bicubic = mean_psnr_db(record) if record else None
    families = _families(evidence, scale, "validation_psnr_db")
    limits = _psnr_limits([c for _, curves in families for c in curves.values()], bicubic)
    panels = []
    for family, curves in families:
        figure, axes = _plot(_family_name(family), "PSNR, dB", against)
        axes.set_ylim(*limits)
        if bicubic is not None:
            _draw_level(axes, bicubic, f"bicubic {fixed(bicubic, 2)}")
        if against == "steps":
            _draw_reach(axes, family, curves)
        _draw_curves(axes, family, curves, against, digits=2)
        name = f"psnr-{against}-{family.key}-x{scale}"
        described = _curves_described(curves, "Final validation PSNR in dB", 2)
        panels.append(Panel(name, to_svg(figure, name), described))
    return panels


def loss_panels(evidence: Evidence, scale: Scale, against: Against) -> list[Panel]:
    """Training loss on a log axis, one panel per family on shared axes."""
    families = _families(evidence, scale, "loss")
    everything = [c for _, curves in families for c in curves.values()]
    values = [value for curve_ in everything for value in (*curve_.low, *curve_.high) if value > 0]
    panels = []
    for family, curves in families:
        figure, axes = _plot(_family_name(family), "L1 loss, log scale", against)
        axes.set_yscale("log")
        axes.set_ylim(min(values) / 1.15, max(values) * 1.1)
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
        _draw_curves(axes, family, curves, against, digits=4)
        name = f"loss-{against}-{family.key}-x{scale}"
        described = _curves_described(curves, "Final training loss", 4)
        panels.append(Panel(name, to_svg(figure, name), described))
    return panels


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


def _families(evidence: Evidence, scale: Scale, quantity: Quantity) -> list[tuple[Family, Curves]]:
    """Families with at least one curve, and the curves they have."""
    found = []
    for family in FAMILIES:
        made = {n: curve(logs_of(evidence.results, n, scale), quantity) for n in family.networks}
        curves = {network: line for network, line in made.items() if line}
        if curves:
            found.append((family, curves))
    return found


def _canvas(width: float, height: float) -> tuple[Figure, Axes]:
    """Axes in units of the SVG: the origin at the top left, y downwards."""
    figure = Figure(figsize=(width / _POINTS_PER_INCH, height / _POINTS_PER_INCH))
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
        _write(axes, _BAR_LEFT + 8, base, "not run", colour="ink3")
        return
    fill = PALETTE[key if converted or key == "ctl" else f"{key}0"]
    length = bar.value * unit_length
    axes.barh(top + 10, length, 20, left=_BAR_LEFT, color=fill, edgecolor=PALETTE[key])
    quoted = None if bar.quoted is None else bar.quoted * unit_length
    end = _BAR_LEFT + max(length, quoted or 0) + 9
    if quoted is not None:
        axes.plot(
            _BAR_LEFT + quoted, top + 10, marker="D", markersize=6.5,
            color=PALETTE["paper"], markeredgecolor=PALETTE["quote"], markeredgewidth=1.4,
        )  # fmt: skip
    text = fixed(bar.value, digits)
    _write(axes, end, base, text, weight=700, colour="ink")
    if bar.quoted is not None and fixed(bar.quoted, digits) != text:
        _write(axes, end + 8 + 6.4 * len(text), base, fixed(bar.quoted, digits), quoted=True)


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


def _plot(title: str, quantity: str, against: Against) -> tuple[Figure, Axes]:
    """Axes with light horizontal rules, ready for curves and direct labels."""
    width, height = 330, 252
    figure = Figure(figsize=(width / _POINTS_PER_INCH, height / _POINTS_PER_INCH))
    axes = figure.add_axes((44 / width, 41 / height, _PLOT_WIDTH / width, 172 / height))
    for text, y, weight, colour in ((title, 14, 700, "ink"), (quantity, 31, 400, "ink3")):
        figure.text(
            0, 1 - y / height, text, size=13.5 if weight == 700 else 12, weight=weight,
            color=PALETTE[colour], fontfamily=SANS, va="baseline",
        )  # fmt: skip
    figure.text(
        (44 + _PLOT_WIDTH) / width, 4 / height, against, size=12, color=PALETTE["ink3"],
        fontfamily=SANS, ha="right", va="baseline",
    )  # fmt: skip
    axes.set_facecolor("none")
    axes.spines[["top", "left", "right"]].set_visible(False)
    axes.spines["bottom"].set_color(PALETTE["rule2"])
    axes.grid(axis="y", color=PALETTE["rule"], linewidth=1)
    axes.set_axisbelow(True)
    axes.tick_params(
        labelsize=12.5, labelcolor=PALETTE["ink2"], color=PALETTE["rule2"], labelfontfamily=SANS
    )
    axes.tick_params(axis="y", length=0, which="both")
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: fixed(value)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: fixed(value, 1)))
    return figure, axes


def _draw_curves(axes: Axes, family: Family, curves: Curves, against: Against, digits: int) -> None:
    """Means with the range over seeds; baseline dashed; names beside the last values."""
    axes.set_xlim(0, max(getattr(line, against)[-1] for line in curves.values()) * 1.02)
    for network, line in curves.items():
        x, converted = getattr(line, against), network == family.conversion
        band, alpha = (family.key, 0.16) if converted else (f"{family.key}0", 0.35)
        axes.fill_between(x, line.low, line.high, color=PALETTE[band], alpha=alpha, linewidth=0)
        style: Any = "solid" if converted else (0, (5, 3))
        width = 2.2 if converted else 1.7
        axes.plot(x, line.mean, color=PALETTE[family.key], linestyle=style, linewidth=width)
    highest = max(curves, key=lambda network: curves[network].mean[-1])
    for network, line in curves.items():
        text = f"{label(network)} {fixed(line.mean[-1], digits)}"
        colour = _TEXT_COLOUR[family.key]
        weight = 700 if network == family.conversion else 400
        _name_curve(axes, text, line, curves, against, network == highest, weight, colour)


def _name_curve(
    axes: Axes,
    text: str,
    line: Curve,
    curves: Curves,
    against: Against,
    above: bool,
    weight: int,
    colour: str,
) -> None:
    """Above or below all curves over the width of the text, so that none runs through it."""
    end, right = getattr(line, against)[-1], axes.get_xlim()[1]
    wide = _LETTER * len(text) / _PLOT_WIDTH * right
    start = max(0.0, min(end, right) - wide)
    covered = [
        value
        for other in curves.values()
        for x, value in zip(getattr(other, against), other.mean)
        if start - wide / 4 <= x <= start + wide * 1.1
    ]
    y = max(covered) if above else min(covered)
    axes.annotate(
        text, (start + wide, y), xytext=(0, 7 if above else -15), textcoords="offset points",
        ha="right", size=12.5, weight=weight, color=PALETTE[colour], fontfamily=SANS,
    )  # fmt: skip


def _draw_level(axes: Axes, level: float, text: str) -> None:
    axes.axhline(level, color=PALETTE["ink3"], linewidth=1, linestyle=(0, (1, 2)))
    axes.annotate(
        text, (1, level), xytext=(0, 4), xycoords=("axes fraction", "data"), ha="right",
        textcoords="offset points", size=12, color=PALETTE["ink3"], fontfamily=SANS,
    )  # fmt: skip


def _draw_reach(axes: Axes, family: Family, curves: Curves) -> None:
    """Dotted: where the conversion first has the baseline's final PSNR."""
    if set(curves) != set(family.networks):
        return
    target, line = curves[family.baseline].mean[-1], curves[family.conversion]
    position = reached_at(line, target)
    if position is None or line.steps[position] == line.steps[-1]:
        return
    step, bottom = line.steps[position], axes.get_ylim()[0]
    axes.plot(
        [step, step, line.steps[-1]], [bottom, target, target],
        color=PALETTE["ink2"], linewidth=1, linestyle=(0, (1, 3)),
    )  # fmt: skip
    left = step > 0.6 * line.steps[-1]
    axes.annotate(
        f"reached at {fixed(step)}", (step, 0.4), xycoords=("data", "axes fraction"),
        xytext=(-5 if left else 5, 0), textcoords="offset points", ha="right" if left else "left",
        size=12.5, weight=700, color=PALETTE["ink"], fontfamily=SANS,
    )  # fmt: skip


def _psnr_limits(curves: Sequence[Curve], bicubic: float | None) -> tuple[float, float]:
    """From what curves have after a third of training (or bicubic) to the best, with some air.

    The first steps climb by many decibels; showing them would flatten all that differs.
    """
    late = [value for line in curves for value in line.low[len(line.low) // 3 :]]
    levels = late + ([bicubic] if bicubic is not None else [])
    top = max([value for line in curves for value in line.high] + levels)
    air = max(top - min(levels), 0.1) * 0.16
    return min(levels) - air, top + air


def _family_name(family: Family) -> str:
    return " and ".join(label(network) for network in family.networks)


def _described(value: float | None, digits: int) -> str:
    return "not run" if value is None else fixed(value, digits)


def _curves_described(curves: Curves, what: str, digits: int) -> str:
    finals = (f"{label(n)} {fixed(line.mean[-1], digits)}" for n, line in curves.items())
    return f"{what}: {', '.join(finals)}"
