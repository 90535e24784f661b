"""Curves of training: validation PSNR and loss, one panel per family on shared axes."""

from collections.abc import Sequence
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
    logs_of,
    mean_psnr_db,
    reached_at,
)
from hitsr.report.names import FAMILIES, Family, label
from hitsr.report.panels import LETTER, TEXT_COLOUR, Panel, blank
from hitsr.report.svg import PALETTE, SANS, to_svg
from hitsr.report.typeset import fixed
from hitsr.spec import Scale

Against = Literal["steps", "seconds"]
Curves = dict[str, Curve]  # by network

_PLOT_WIDTH = 272.0


def psnr_panels(evidence: Evidence, scale: Scale, against: Against) -> list[Panel]:
    """Validation PSNR, one panel per family on shared axes, with the bicubic line."""
    record = control(evidence.results, scale, evidence.config.data.validation)
    bicubic = mean_psnr_db(record) if record else None
    families = _families(evidence, scale, "validation_psnr_db")
    if not families:
        return []
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
    if not families:
        return []
    everything = [c for _, curves in families for c in curves.values()]
    values = [value for curve_ in everything for value in (*curve_.low, *curve_.high) if value > 0]
    panels = []
    for family, curves in families:
        figure, axes = _plot(_family_name(family), "L1 loss, log scale", against)
        axes.set_yscale("log")
        axes.set_ylim(min(values) / 1.4, max(values) * 1.1)
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
        _draw_curves(axes, family, curves, against, digits=4)
        name = f"loss-{against}-{family.key}-x{scale}"
        described = _curves_described(curves, "Final training loss", 4)
        panels.append(Panel(name, to_svg(figure, name), described))
    return panels


def _families(evidence: Evidence, scale: Scale, quantity: Quantity) -> list[tuple[Family, Curves]]:
    """Families with at least one curve, and the curves they have."""
    found = []
    for family in FAMILIES:
        made = {n: curve(logs_of(evidence.results, n, scale), quantity) for n in family.networks}
        curves = {network: line for network, line in made.items() if line}
        if curves:
            found.append((family, curves))
    return found


def _plot(title: str, quantity: str, against: Against) -> tuple[Figure, Axes]:
    """Axes with light horizontal rules, ready for curves and direct labels."""
    width, height = 330, 252
    figure = blank(width, height)
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
        colour = TEXT_COLOUR[family.key]
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
    wide = LETTER * len(text) / _PLOT_WIDTH * right
    start = max(0.0, min(end, right) - wide)
    covered = [
        value
        for other in curves.values()
        for x, value in zip(getattr(other, against), other.mean)
        if start - wide / 4 <= x <= start + wide * 1.1
    ]
    y = max(covered) if above else min(covered)
    height = (axes.transScale + axes.transLimits).transform((end, y))[1]
    axes.annotate(
        text, (start + wide, min(max(height, 0.12), 0.95)), xycoords=("data", "axes fraction"),
        xytext=(0, 7 if above else -15), textcoords="offset points", ha="right", size=12.5,
        weight=weight, color=PALETTE[colour], fontfamily=SANS,
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


def _curves_described(curves: Curves, what: str, digits: int) -> str:
    finals = (f"{label(n)} {fixed(line.mean[-1], digits)}" for n, line in curves.items())
    return f"{what}: {', '.join(finals)}"
