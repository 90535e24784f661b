"""Conversion to a hierarchical transformer: a function between values (HiT-SR, section 3)."""

from hitsr.specs.network import Correlation, NetworkSpec

EXPANDING = (0.5, 1, 2, 4, 6, 8)


def to_hierarchical(
    spec: NetworkSpec,
    *,
    name: str | None = None,
    base: int = 8,
    ratios: tuple[float, ...] = EXPANDING,
) -> NetworkSpec:
    """Give a network expanding windows, and self-correlation, whose cost is linear in window size.

    The mixer, windows, norm and padding change; FFN, context, width, depth and upsampler stay.
    Stochastic depth is off, as in the paper's training. Raises SpecError if `base` and `ratios`
    give no valid windows, or do not match the depths.
    """
    changes = {
        "name": name or f"hit_{spec.name}",
        "mixer": Correlation(heads=spec.mixer.heads, position_width=max(3, spec.width // 16)),
        "windows": {"base": base, "ratios": ratios, "shift": False},
        "norm": "after",
        "padding": "mixer",
        "stochastic_depth": 0.0,
    }
    return NetworkSpec.parse({**dict(spec), **changes}, f"conversion of {spec.name}")
