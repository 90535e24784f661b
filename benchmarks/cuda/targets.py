"""Set what was measured beside what was aimed at, for an H100 or H200 at x2 and batch 1.

Ratios are to the published code in the same run. Each target has a first figure, to be reached, and
most have a second one, to be aimed at.
"""

from typing import NamedTuple

from benchmarks.cuda.bench import Measured, table


class Target(NamedTuple):
    """What to reach, and what to aim at."""

    reach: float
    aim: float | None = None


class Quantity(NamedTuple):
    """Something that a part measures of each network."""

    title: str
    unit: str
    at_least: bool  # else at most
    needs_published: bool
    targets: dict[str, Target]


def _by_kind(
    swinir: Target, baselines: Target, hit_sir: Target, conversions: Target
) -> dict[str, Target]:
    return {
        "swinir_light": swinir,
        "swinir_ng": baselines,
        "srformer_light": baselines,
        "hit_sir": hit_sir,
        "hit_sng": conversions,
        "hit_srf": conversions,
    }


def _of_all(target: Target) -> dict[str, Target]:
    return _by_kind(*[target] * 4)


def _of_trainings(baselines: Target, conversions: Target) -> dict[str, Target]:
    return _by_kind(baselines, baselines, conversions, conversions)


QUANTITIES: dict[str, Quantity] = {
    "float32": Quantity(
        "forward, float32",
        "x",
        True,
        True,
        _by_kind(Target(28, 45), Target(25, 40), Target(4.5, 7), Target(4, 7)),
    ),
    "difference": Quantity(
        "float32, largest difference from paper", "", False, False, _of_all(Target(1e-5))
    ),
    "half": Quantity(
        "forward, float16, one launch",
        "x",
        True,
        True,
        _by_kind(Target(130, 200), Target(100, 180), Target(15, 25), Target(13, 22)),
    ),
    "small": Quantity(
        "LR 64x64, float16, one launch",
        "ms",
        False,
        False,
        _by_kind(Target(0.6, 0.4), Target(1.0, 0.5), Target(0.8, 0.5), Target(1.0, 0.5)),
    ),
    "memory": Quantity(
        "memory of a float32 forward", "of published", False, True, _of_all(Target(1 / 3))
    ),
    "training bfloat16": Quantity(
        "training step, bfloat16", "x", True, True, _of_trainings(Target(4, 6), Target(5, 8))
    ),
    "training float32": Quantity(
        "training step, float32", "x", True, True, _of_all(Target(2.5, 4))
    ),
    "gradients": Quantity(
        "float32 gradients, largest difference",
        "of the largest",
        False,
        False,
        _of_all(Target(1e-5)),
    ),
    "training memory": Quantity(
        "memory of a training step", "of published", False, True, _of_all(Target(0.35))
    ),
    "lite": Quantity("10,000 steps of bfloat16", "min", False, False, _of_all(Target(10))),
}


def compared(measured: Measured, networks: list[str], has_published: bool) -> str:
    """A table with a row for each quantity and a column for each network."""
    rows = [
        [quantity.title, *(_cell(measured, key, name, has_published) for name in networks)]
        for key, quantity in QUANTITIES.items()
    ]
    return (
        "## Targets\n\nMeasured, target (second figure), and which was reached. Targets are for an "
        "H100 or H200, x2, an output of 1280x720, and training steps of 16 patches. Gains and "
        "shares are those over the published code's float32 in this run.\n\n"
        + table(["", *networks], rows)
    )


def _cell(measured: Measured, key: str, name: str, has_published: bool) -> str:
    quantity = QUANTITIES[key]
    target = quantity.targets.get(name)
    if target is None:
        return ""
    asked = _shown(target.reach) + (f" ({_shown(target.aim)})" if target.aim else "")
    unit = f" {quantity.unit}".rstrip() if quantity.unit != "x" else "x"
    if (name, key) not in measured:
        why = "needs --published" if quantity.needs_published and not has_published else "no figure"
        return f"{why}; target {asked}"
    value = measured[name, key]
    return f"{_shown(value)}{unit}; target {asked}: {_verdict(value, target, quantity.at_least)}"


def _verdict(value: float, target: Target, at_least: bool) -> str:
    def reaches(figure: float) -> bool:
        return value >= figure if at_least else value <= figure

    if target.aim is not None and reaches(target.aim):
        return "**second reached**"
    return "**reached**" if reaches(target.reach) else "not reached"


def _shown(value: float) -> str:
    return f"{value:.1e}" if 0 < value < 1e-3 else f"{value:.3g}"
