"""Curves of training: validation PSNR and loss, one panel per family on shared axes."""

from collections.abc import Iterable, Sequence
from itertools import product
from typing import Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter
from matplotlib.transforms import Bbox

from hitsr.report.evidence import Curve, Evidence
from hitsr.report.facts import QUANTITIES
from hitsr.report.gates import MetGate, gates_at
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
    quote_marker,
)
from hitsr.report.scatter import place
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
# Bicubic is drawn no further below the lowest curve than so many heights of all curves, in dB.
_MOST_BELOW, _LEAST_DB = 2, 0.5
_LINE = 13.0  # height of a label, in units of the SVG


def curve_panels(evidence: Evidence, quantity: Logged, scale: Scale) -> list[Panel]:
    """By steps, then by time, a panel for each family of which a training is finished.

    Time is that of devices, where all logs have it; else seconds.

    PSNR has the level of bicubic, unless it is far below; by steps also early gates, and dots to
    where a conversion has caught up.
    """
    families = _families(evidence, quantity, scale)
    drawn = [curve for _, curves in families for curve in curves.values()]
    bicubic = shown_bicubic_db(evidence, scale) if quantity != "loss" else None
    gates = gates_at(evidence, scale) if quantity != "loss" else []
    (name, axis_title, described), digits = _WORDS[quantity], QUANTITIES[quantity].digits
    panels = []
    for against, (family, curves) in product(("steps", clock_of(drawn)), families):
        title = " and ".join(label(network) for network in family.networks)
        figure, axes = plot(title, axis_title, against.replace("_", "-"), _FRAME)
        axes.set_xlim(0, max(getattr(curve, against)[-1] for curve in curves.values()) * 1.02)
        if quantity == "loss":
            _set_losses(axes, drawn)
        else:
            _set_levels(axes, [*_levels(drawn, gates), *([] if bicubic is None else [bicubic])])
        ends = []
        for network, curve in curves.items():
            ends.append(_draw_curve(axes, network, curve, getattr(curve, against), digits))
        if bicubic is not None:
            ends.append(_draw_bicubic(axes, bicubic))
        target = target_of(evidence, family, scale)
        met = [gate for gate in gates if gate.network in family.networks and against == "steps"]
        if target and quantity != "loss" and against == "steps":
            _draw_reach(figure, axes, target)
        name_ends(axes, ends, _FRAME.label_gap)
        _draw_gates(axes, met)
        finals = (f"{label(n)} {fixed(curve.mean[-1], digits)}" for n, curve in curves.items())
        file = f"{name}-{'steps' if against == 'steps' else 'seconds'}-{family.key}-x{scale}"
        words = "; ".join([", ".join(finals), *(gate.words for gate in met)])
        panels.append(to_panel(figure, file, f"{described}: {words}"))
    return panels


def clock_of(curves: Iterable[Curve]) -> Literal["device_seconds", "seconds"]:
    """The clock that all of these curves have: of devices, or of trainings."""
    return "seconds" if any(each.device_hours is None for each in curves) else "device_seconds"


def validation_control_db(evidence: Evidence, scale: Scale) -> float | None:
    """PSNR of bicubic on the set that trainings are validated on."""
    dataset = evidence.config.data.validation
    return evidence.facts.value("psnr_db", BICUBIC, scale=scale, dataset=dataset)


def shown_bicubic_db(evidence: Evidence, scale: Scale) -> float | None:
    """As `validation_control_db`; None too where showing it would flatten all that differs."""
    control, families = (
        validation_control_db(evidence, scale),
        _families(evidence, "validation_psnr_db", scale),
    )
    curves = [curve for _, curves in families for curve in curves.values()]
    if control is None or not curves:
        return control
    levels = _levels(curves, gates_at(evidence, scale))
    height = max(max(levels) - min(levels), _LEAST_DB)
    return control if min(levels) - control <= _MOST_BELOW * height else None


def _families(evidence: Evidence, quantity: Logged, scale: Scale) -> list[tuple[Family, Curves]]:
    """Families with at least one curve, and the curves they have."""
    made = [(f, {n: evidence.curve(quantity, n, scale) for n in f.networks}) for f in FAMILIES]
    found = [(f, {n: curve for n, curve in curves.items() if curve}) for f, curves in made]
    return [(family, curves) for family, curves in found if curves]


def _levels(curves: Sequence[Curve], gates: Sequence[MetGate]) -> list[float]:
    """PSNRs that a panel must show: of gates, and of curves what lies above a third of training.

    The first steps climb by many decibels; showing them would flatten all that differs.
    """
    late = (value for curve in curves for value in curve.low[len(curve.low) // 3 :])
    highest = (max(curve.high) for curve in curves)
    return [*late, *highest, *(end for g in gates for end in (g.lowest_db, g.gate.psnr_db))]


def _set_losses(axes: Axes, curves: Sequence[Curve]) -> None:
    """All of them, on a log axis."""
    values = [value for curve in curves for value in (*curve.low, *curve.high) if value > 0]
    log_ticks(axes, "y", values)
    axes.set_ylim(min(values) / 1.4, max(values) * 1.1)


def _set_levels(axes: Axes, levels: Sequence[float]) -> None:
    """From the lowest to the highest, with air."""
    spread = max(max(levels) - min(levels), 0.1)
    axes.set_ylim(min(levels) - 0.16 * spread, max(levels) + 0.16 * spread)
    digits = 1 if spread > 1 else 2
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: fixed(value, digits)))


def _draw_curve(axes: Axes, network: str, curve: Curve, x: Sequence[float], digits: int) -> End:
    """The mean over the range of seeds."""
    alpha = 0.16 if role_of(network) == "conversion" else 0.35
    hue = fill_colour(network)
    axes.fill_between(x, curve.low, curve.high, color=hue, alpha=alpha, linewidth=0)
    average = " EMA" if curve.validated == "averaged weights" else ""
    return draw_line(axes, network, x, curve.mean, fixed(curve.mean[-1], digits) + average)


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


def _draw_gates(axes: Axes, gates: Sequence[MetGate]) -> None:
    """A diamond where PSNR was to be, above its tolerance: open, and full and red if missed.

    Its number stands at the lower end, where a rising curve leaves room.
    """
    taken: list[Bbox] = []
    for met in gates:
        step, is_missed = met.gate.step, bool(met.missed)
        name, weight = ("no", 700) if is_missed else ("quote", 400)
        colour, fill = PALETTE[name], PALETTE[name if is_missed else "paper"]
        diamond = quote_marker(7, 1.4) | {"markerfacecolor": fill, "markeredgecolor": colour}
        ends = [met.lowest_db, met.gate.psnr_db]
        axes.plot([step, step], ends, color=colour, linewidth=1.2, zorder=4)
        axes.plot(step, ends[0], color=colour, linestyle="none", marker="_", zorder=4)
        axes.plot(step, ends[1], zorder=5, **diamond)
        text = f"{met.number} missed" if is_missed else str(met.number)
        across, height = fractions(axes, step, ends[0])
        x, y = across * _FRAME.width, height * _FRAME.height - _LINE / 2
        room = (x, y, LETTER * len(text))
        box = place(*room, taken, _FRAME.width, 2) or place(*room, [], _FRAME.width)
        assert box is not None  # the plot is wider than any such text
        taken.append(box)
        axes.text(
            box.x0 / _FRAME.width, (box.y0 + box.y1) / 2 / _FRAME.height, text,
            transform=axes.transAxes, va="center_baseline", zorder=6, **style(name, 12, weight),
        )  # fmt: skip
