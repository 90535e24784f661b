"""Curves of training: validation PSNR and loss, one panel per family on shared axes."""

from collections.abc import Sequence
from itertools import product
from typing import Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hitsr.report.evidence import Curve, Evidence
from hitsr.report.facts import QUANTITIES
from hitsr.report.names import BICUBIC, FAMILIES, Family, label, role_of
from hitsr.report.plots import (
    DOTTED,
    WIDTH,
    End,
    Frame,
    draw_line,
    fill_colour,
    fractions,
    log_ticks,
    name_ends,
    plot,
)
from hitsr.report.svg import LETTER, PALETTE, Panel, style, to_panel
from hitsr.report.targets import Target, target_of
from hitsr.report.typeset import fixed
from hitsr.specs.network import Scale

Logged = Literal["validation_psnr_db", "loss"]
Curves = dict[str, Curve]  # by network

# In names of files, on the axis, and in descriptions.
_WORDS = {
    "validation_psnr_db": ("psnr", "PSNR, dB", "Final validation PSNR in dB"),
    "loss": ("loss", "L1 loss, log scale", "Final training loss"),
}
_FRAME = Frame()


def curve_panels(evidence: Evidence, quantity: Logged, scale: Scale) -> list[Panel]:
    """By steps, then by seconds, a panel for each family of which a training is finished.

    PSNR has the level of bicubic, and by steps dots to where a conversion has caught up.
    """
    families = _families(evidence, quantity, scale)
    drawn = [curve for _, curves in families for curve in curves.values()]
    bicubic = validation_control_db(evidence, scale) if quantity != "loss" else None
    (name, axis_title, described), digits = _WORDS[quantity], QUANTITIES[quantity].digits
    panels = []
    for against, (family, curves) in product(("steps", "seconds"), families):
        title = " and ".join(label(network) for network in family.networks)
        figure, axes = plot(title, axis_title, against, _FRAME)
        axes.set_xlim(0, max(getattr(curve, against)[-1] for curve in curves.values()) * 1.02)
        _set_heights(axes, quantity, drawn, bicubic)
        ends = []
        for network, curve in curves.items():
            ends.append(_draw_curve(axes, network, curve, getattr(curve, against), digits))
        if bicubic is not None:
            ends.append(_draw_bicubic(axes, bicubic))
        target = target_of(evidence, family, scale)
        if target and quantity != "loss" and against == "steps":
            _draw_reach(figure, axes, target)
        name_ends(axes, ends, _FRAME.label_gap)
        finals = (f"{label(n)} {fixed(curve.mean[-1], digits)}" for n, curve in curves.items())
        file = f"{name}-{against}-{family.key}-x{scale}"
        panels.append(to_panel(figure, file, f"{described}: {', '.join(finals)}"))
    return panels


def validation_control_db(evidence: Evidence, scale: Scale) -> float | None:
    """PSNR of bicubic on the set that trainings are validated on."""
    dataset = evidence.config.data.validation
    return evidence.facts.value("psnr_db", BICUBIC, scale=scale, dataset=dataset)


def _families(evidence: Evidence, quantity: Logged, scale: Scale) -> list[tuple[Family, Curves]]:
    """Families with at least one curve, and the curves they have."""
    made = [(f, {n: evidence.curve(quantity, n, scale) for n in f.networks}) for f in FAMILIES]
    found = [(f, {n: curve for n, curve in curves.items() if curve}) for f, curves in made]
    return [(family, curves) for family, curves in found if curves]


def _set_heights(
    axes: Axes, quantity: Logged, curves: Sequence[Curve], bicubic: float | None
) -> None:
    """All losses, on a log axis; of PSNR what lies above a third of training or bicubic.

    The first steps climb by many decibels; showing them would flatten all that differs.
    """
    values = [value for curve in curves for value in (*curve.low, *curve.high)]
    if quantity == "loss":
        positive = [value for value in values if value > 0]
        log_ticks(axes, "y", positive)
        axes.set_ylim(min(positive) / 1.4, max(positive) * 1.1)
        return
    levels = [value for curve in curves for value in curve.low[len(curve.low) // 3 :]]
    levels += [bicubic] if bicubic is not None else []
    top = max(values + levels)
    air = max(top - min(levels), 0.1) * 0.16
    axes.set_ylim(min(levels) - air, top + air)


def _draw_curve(axes: Axes, network: str, curve: Curve, x: Sequence[float], digits: int) -> End:
    """The mean over the range of seeds."""
    alpha = 0.16 if role_of(network) == "conversion" else 0.35
    hue = fill_colour(network)
    axes.fill_between(x, curve.low, curve.high, color=hue, alpha=alpha, linewidth=0)
    return draw_line(axes, network, x, curve.mean, fixed(curve.mean[-1], digits))


def _draw_bicubic(axes: Axes, psnr_db: float) -> End:
    axes.axhline(psnr_db, color=PALETTE["ink3"], linewidth=1, linestyle=DOTTED)
    height = fractions(axes, 0, psnr_db)[1]
    return End(height, 1, f"bicubic\n{fixed(psnr_db, 2)}", 400, "ink3")


def _draw_reach(figure: Figure, axes: Axes, target: Target) -> None:
    """Dotted: where the conversion first has the baseline's final PSNR, unless at its end."""
    if not target.is_early or target.conversion is None:
        return
    step, text = target.conversion[0], f"reached at {fixed(target.conversion[0])}"
    axes.plot(
        [step, step, target.last_step], [axes.get_ylim()[0], target.psnr_db, target.psnr_db],
        color=PALETTE["ink2"], linewidth=1, linestyle=(0, (1, 3)),
    )  # fmt: skip
    half, room = LETTER * len(text) / 2, _FRAME.left + _FRAME.width - LETTER * len("steps ")
    across = _FRAME.left + fractions(axes, step, target.psnr_db)[0] * _FRAME.width
    across = max(half, min(across, room - half))
    figure.text(across / WIDTH, 4 / _FRAME.panel_height, text, ha="center", **style("ink", 12, 700))
