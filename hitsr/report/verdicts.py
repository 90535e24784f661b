"""What a number makes of a claim: one rule, pure, for all that the report judges.

A claim puts a number into a band, and perhaps at a value printed with so many decimals. What is
measured is an estimate with its interval, or exact.
"""

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

Verdict = Literal["reproduced", "within", "not_reproduced", "not_testable"]

RESOLUTION = 1e-9  # numbers that differ by less are equal: rounding of floats


class Measured(NamedTuple):
    """A number and its 95 % interval; exact where there is none."""

    value: float
    interval: tuple[float, float] | None = None


class Expected(NamedTuple):
    """Where a claim puts a number: in a band, ends included, and perhaps at a printed value."""

    low: float
    high: float
    value: float | None = None
    digits: int = 0  # decimals that `value` is printed with

    def holds(self, number: float) -> bool:
        return self.low - RESOLUTION / 2 <= number <= self.high + RESOLUTION / 2

    def prints_as(self, number: float) -> bool:
        """Whether `number` would be printed as the claim's value is."""
        if self.value is None:
            return False
        return abs(round(number, self.digits) - round(self.value, self.digits)) < RESOLUTION


def near(value: float, tolerance: float, digits: int) -> Expected:
    return Expected(value - tolerance, value + tolerance, value, digits)


def above(limit: float) -> Expected:
    """Above, not at."""
    return Expected(limit + RESOLUTION, math.inf)


def below(limit: float) -> Expected:
    return Expected(-math.inf, limit - RESOLUTION)


def gain_of(value: float, tolerance: float, digits: int) -> Expected:
    """Near `value` and on its side of zero: a lost gain is never within tolerance."""
    band = near(value, tolerance, digits)
    if value > 0:
        return band._replace(low=max(band.low, above(0).low))
    if value < 0:
        return band._replace(high=min(band.high, below(0).high))
    return band


ANY = Expected(-math.inf, math.inf)  # where what a claim would be compared with is missing


class Judgement(NamedTuple):
    verdict: Verdict
    reason: str = ""  # why it is not testable


def judge(expected: Expected, measured: Measured | None, hindrance: str = "") -> Judgement:
    """Reproduced: equal at the printed digits, or the whole interval in the band. Within tolerance:
    the estimate in the band. Not testable where nothing was measured, where the mean is infinite,
    or for a `hindrance`, such as another budget: such a number is shown, never judged.

    An exact number near a printed one has no interval: it must print alike to be reproduced.
    """
    if measured is None:
        return Judgement("not_testable", hindrance or "not run")
    if hindrance:
        return Judgement("not_testable", hindrance)
    value, interval = measured
    if not math.isfinite(value):
        return Judgement("not_testable", "no finite mean: a picture equals its original")
    if expected.prints_as(value):
        return Judgement("reproduced")
    if not expected.holds(value):
        return Judgement("not_reproduced")
    if interval is None:
        return Judgement("reproduced" if expected.value is None else "within")
    return Judgement("reproduced" if all(map(expected.holds, interval)) else "within")


def combined(verdicts: Sequence[Verdict]) -> Verdict:
    """Of a claim with several parts: it fails with one of them, and holds with all of them."""
    for verdict in ("not_reproduced", "not_testable", "within"):
        if verdict in verdicts:
            return verdict
    return "reproduced" if verdicts else "not_testable"
