"""What raw samples say: an estimate and its spread. Pure; means and medians live here alone."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import t as student_t


class Estimate(NamedTuple):
    """A value and half the width of its interval; None where one sample leaves no interval."""

    value: float
    half: float | None


def quartiles(samples: Sequence[float]) -> tuple[float, float, float]:
    """Lower quartile, median, upper quartile; by linear interpolation, as numpy's default."""
    lower, middle, upper = (float(q) for q in np.percentile(samples, [25, 50, 75]))
    return lower, middle, upper


def median(samples: Sequence[float]) -> Estimate:
    """The median with half the interquartile range."""
    lower, middle, upper = quartiles(samples)
    return Estimate(middle, (upper - lower) / 2 if len(samples) > 1 else None)


def mean(samples: Sequence[float], confidence: float = 0.95) -> Estimate:
    """The mean with half its Student t interval; an infinite sample makes it infinite."""
    count = len(samples)
    value = math.fsum(samples) / count
    if count == 1 or math.isinf(value):
        return Estimate(value, None)
    deviation = math.sqrt(math.fsum((sample - value) ** 2 for sample in samples) / (count - 1))
    quantile = float(student_t.ppf((1 + confidence) / 2, count - 1))
    return Estimate(value, quantile * deviation / math.sqrt(count))
