"""Curves of training: validation PSNR and loss, one panel per family on shared axes."""

from collections.abc import Sequence
from itertools import product
from typing import Any, Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from hitsr.report.measures import (
    Curve,
    Evidence,
    Quantity,
    curve,
    mean_psnr_db,
    reached_at,
    validation_control,
)
from hitsr.report.names import FAMILIES, Family, label, short_label
from hitsr.report.plots import WIDTH, End, Frame, fractions, name_ends, plot
from hitsr.report.svg import LETTER, PALETTE, TEXT_COLOUR, Panel, style, to_panel
from hitsr.report.typeset import fixed
from hitsr.specs.network import Scale

Against = Literal["steps", "seconds"]
Curves = dict[str, Curve]  # by network

AGAINST: tuple[Against, ...] = ("steps", "seconds")
_FRAME = Frame()


def psnr_panels(evidence: Evidence, scale: Scale) -> list[Panel]:
    """Validation PSNR by steps, then by seconds, with the level of bicubic.

    By steps, dots lead to where a conversion has caught up with its baseline.
    """
    families = _families(evidence, scale, "validation_psnr_db")
    if not families:
        return []
    record = validation_control(evidence, scale)
    bicubic = mean_psnr_db(record) if record else None
    limits = _psnr_limits([c for _, curves in families for c in curves.values()], bicubic)
    panels = []
    for against, (family, curves) in product(AGAINST, families):
        figure, axes = _plot(family, "PSNR, dB", against)
        axes.set_ylim(*limits)
        ends = _draw_curves(axes, family, curves, against, digits=2)
        if bicubic is not None:
            axes.axhline(bicubic, color=PALETTE["ink3"], linewidth=1, linestyle=(0, (1, 2)))
            height = fractions(axes, 0, bicubic)[1]
            ends.append(End(height, 1, f"bicubic\n{fixed(bicubic, 2)}", 400, "ink3"))
        if against == "steps":
            _draw_reach(axes, family, curves)
        name_ends(axes, ends, _FRAME.label_gap)
        described = _described("Final validation PSNR in dB", curves, 2)
        panels.append(to_panel(figure, f"psnr-{against}-{family.key}-x{scale}", described))
    return panels


def loss_panels(evidence: Evidence, scale: Scale) -> list[Panel]:
    """Training loss on a log axis, by steps, then by seconds."""
    families = _families(evidence, scale, "loss")
    lines = [line for _, curves in families for line in curves.values()]
    values = [value for line in lines for value in (*line.low, *line.high) if value > 0]
    panels = []
    for against, (family, curves) in product(AGAINST, families):
        figure, axes = _plot(family, "L1 loss, log scale", against)
        axes.set_yscale("log")
        axes.set_ylim(min(values) / 1.4, max(values) * 1.1)
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
        name_ends(axes, _draw_curves(axes, family, curves, against, digits=4), _FRAME.label_gap)
        described = _described("Final training loss", curves, 4)
        panels.append(to_panel(figure, f"loss-{against}-{family.key}-x{scale}", described))
    return panels


def _families(evidence: Evidence, scale: Scale, quantity: Quantity) -> list[tuple[Family, Curves]]:
    """Families with at least one curve, and the curves they have."""
    found = []
    for family in FAMILIES:
        made = {n: curve(evidence.results, n, scale, quantity) for n in family.networks}
        curves = {network: line for network, line in made.items() if line}
        if curves:
            found.append((family, curves))
    return found


def _plot(family: Family, quantity: str, against: Against) -> tuple[Figure, Axes]:
    title = " and ".join(label(network) for network in family.networks)
    return plot(title, quantity, against, _FRAME)


def _draw_curves(
    axes: Axes, family: Family, curves: Curves, against: Against, digits: int
) -> list[End]:
    """Means with the range over seeds, the baseline dashed; what to write at their ends."""
    axes.set_xlim(0, max(getattr(line, against)[-1] for line in curves.values()) * 1.02)
    ends = []
    for network, line in curves.items():
        x, converted = getattr(line, against), network == family.conversion
        band, alpha = (family.key, 0.16) if converted else (f"{family.key}0", 0.35)
        axes.fill_between(x, line.low, line.high, color=PALETTE[band], alpha=alpha, linewidth=0)
        dashes: Any = "solid" if converted else (0, (5, 3))
        width = 2.2 if converted else 1.7
        axes.plot(x, line.mean, color=PALETTE[family.key], linestyle=dashes, linewidth=width)
        across, height = fractions(axes, x[-1], line.mean[-1])
        text = f"{short_label(network)}\n{fixed(line.mean[-1], digits)}"
        colour = TEXT_COLOUR[family.key]
        ends.append(End(height, across, text, 700 if converted else 400, colour))
    return ends


def _draw_reach(axes: Axes, family: Family, curves: Curves) -> None:
    """Dotted: where the conversion first has the baseline's final PSNR."""
    if set(curves) != set(family.networks):
        return
    target, line = curves[family.baseline].mean[-1], curves[family.conversion]
    position = reached_at(line, target)
    if position is None or line.steps[position] == line.steps[-1]:
        return
    step, text = line.steps[position], f"reached at {fixed(line.steps[position])}"
    axes.plot(
        [step, step, line.steps[-1]], [axes.get_ylim()[0], target, target],
        color=PALETTE["ink2"], linewidth=1, linestyle=(0, (1, 3)),
    )  # fmt: skip
    half, room = LETTER * len(text) / 2, _FRAME.left + _FRAME.width - LETTER * len("steps ")
    across = _FRAME.left + fractions(axes, step, target)[0] * _FRAME.width
    across = max(half, min(across, room - half))
    figure = axes.get_figure(root=True)
    assert figure is not None
    figure.text(across / WIDTH, 4 / _FRAME.panel_height, text, ha="center", **style("ink", 12, 700))


def _psnr_limits(curves: Sequence[Curve], bicubic: float | None) -> tuple[float, float]:
    """From what curves have after a third of training (or bicubic) to the best, with some air.

    The first steps climb by many decibels; showing them would flatten all that differs.
    """
    late = [value for line in curves for value in line.low[len(line.low) // 3 :]]
    levels = late + ([bicubic] if bicubic is not None else [])
    top = max([value for line in curves for value in line.high] + levels)
    air = max(top - min(levels), 0.1) * 0.16
    return min(levels) - air, top + air


def _described(what: str, curves: Curves, digits: int) -> str:
    finals = (f"{label(n)} {fixed(line.mean[-1], digits)}" for n, line in curves.items())
    return f"{what}: {', '.join(finals)}"
