"""What a number makes of a claim: the one rule for all that the report judges.

A claim puts a number into a band, and perhaps at a value printed with so many decimals. Marks in
tables and verdicts in the ledger both come from `judge`.
"""

import math
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

from hitsr.report.estimates import PairedDifference
from hitsr.report.evidence import Evidence
from hitsr.report.facts import Fact
from hitsr.report.names import label
from hitsr.report.typeset import THIN_SPACE, fixed, signed
from hitsr.specs.claims import NetworkClaim
from hitsr.specs.network import Scale

Verdict = Literal["reproduced", "within", "not_reproduced", "not_testable"]

RESOLUTION = 1e-9  # numbers that differ by less are equal: rounding of floats


class Measured(NamedTuple):
    """A number and its 95 % interval; without one it is exact, or `unknown` says what is open."""

    value: float
    interval: tuple[float, float] | None = None
    unknown: str = ""  # "one seed: what another would give is not known"


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
    if hindrance or measured.unknown:
        return Judgement("not_testable", hindrance or f"not judged: {measured.unknown}")
    value, interval, _ = measured
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
    """Of a claim about several numbers, by those that were judged: one that fails is enough."""
    for verdict in ("not_reproduced", "within", "reproduced"):
        if verdict in verdicts:
            return verdict
    return "not_testable"


def of_difference(found: PairedDifference) -> Measured:
    """A paired difference as a number to be judged; infinite where one equals an HR picture."""
    value = math.inf if found.mean is None else found.mean
    unknown = ""
    if found.is_seed_unknown:
        unknown = "one seed, and what another would give is not known"
    elif found.pictures == 1:
        unknown = "one picture"
    return Measured(value, found.interval, unknown)


class Style(NamedTuple):
    """How the numbers of a claim are written."""

    digits: int
    unit: str = ""
    plus: bool = False  # differences carry their sign

    def write(self, value: float) -> str:
        return self.bare(value) + self.tail

    def span(self, values: Sequence[float]) -> str:
        """ "0.04 to 0.26 dB", or one number where both ends are written alike."""
        low, high = self.bare(min(values)), self.bare(max(values))
        return (low if low == high else f"{low} to {high}") + self.tail

    def bare(self, value: float) -> str:
        return (signed if self.plus else fixed)(value, self.digits)

    @property
    def tail(self) -> str:
        """The unit, set off by a thin space if it is a word or a letter."""
        return f"{THIN_SPACE}{self.unit}" if self.unit not in ("", "×") else self.unit


class JudgedNumber(NamedTuple):
    """One number that a claim is about: what is expected, printed and measured, and the verdict."""

    name: str
    style: Style
    expected: Expected
    paper: float | None  # None where the paper prints no number
    here: Measured | None
    judgement: Judgement
    paper_place: str = ""  # "A100, ×2", where the paper measured elsewhere than `name` says
    here_place: str = ""  # "NVIDIA H200", where the device matters

    @property
    def paper_words(self) -> str:
        """What is printed, and where it was measured."""
        if self.paper is None:
            return "none printed"
        place = f" ({self.paper_place})" if self.paper_place else ""
        return self.style.write(self.paper) + place

    @property
    def verdict(self) -> Verdict:
        return self.judgement.verdict


VALUE_STYLES = {
    "params": Style(0, "K"),
    "flops": Style(1, "G"),
    "psnr_db": Style(2, "dB"),
    "ssim": Style(4),
    "flops_exponent": Style(2),
}


def printed_number(
    evidence: Evidence, quantity: str, network: str, scale: Scale, dataset: str | None = None
) -> JudgedNumber | None:
    """A number beside the printed one, judged by the claim that is about both.

    None where nothing is printed, or no claim of `claims.yaml` is about it.
    """
    for claim in evidence.claims:
        if (
            isinstance(claim, NetworkClaim)
            and claim.expect == "printed"
            and quantity in claim.quantities
            and network in claim.networks
            and scale in claim.scales
            and (dataset is None or dataset in claim.datasets)
        ):
            return judged_print(evidence, claim, quantity, network, scale, dataset)
    return None


def judged_print(
    evidence: Evidence,
    claim: NetworkClaim,
    quantity: str,
    network: str,
    scale: Scale,
    dataset: str | None,
) -> JudgedNumber | None:
    """As `printed_number`, by one claim."""
    where = {"scale": scale} | ({"dataset": dataset} if dataset else {})
    printed = evidence.facts.value(quantity, network, speaker="paper", **where)
    if printed is None:
        return None
    style = VALUE_STYLES[quantity]
    rows = evidence.facts.find(quantity, network, **where)
    level = evidence.level(quantity, network, **where)
    is_trained = any(row.seed is not None for row in rows)
    tolerance = tolerance_of(claim, quantity, dataset, is_released=not is_trained)
    hindrance = hindrance_among(rows, is_printed=True)
    if tolerance is None:
        hindrance = hindrance or "not judged: no tolerance was fixed for a training’s number"
    if level is None:
        asked = absence(evidence, scale, dataset) if dataset is not None else ""
        hindrance = evidence.why_absent(quantity, network, **where) or asked
    expected = near(printed, tolerance or 0.0, style.digits)
    here = None if level is None else _with_interval(*level)
    name = f"{label(network)}{f', {dataset}' if dataset else ''} ×{scale}"
    return JudgedNumber(name, style, expected, printed, here, judge(expected, here, hindrance))


def hindrance_among(rows: Iterable[Fact], *, is_printed: bool) -> str:
    """Why numbers may not be judged; `is_printed`: by a printed number, which has its recipe."""
    rows = tuple(rows)
    reasons = [row.hindrance for row in rows]
    if is_printed:
        reasons += [row.recipe_hindrance for row in rows]
    return next(filter(None, reasons), "")


def tolerance_of(
    claim: NetworkClaim, quantity: str, dataset: str | None, *, is_released: bool
) -> float | None:
    """How far a number may be from print: weights as released leave less room than a training."""
    usual: dict[str, float | None] = dict(claim.quantities.items())
    released: dict[str, float] = dict(claim.released.items())
    by_set = {str(name): x for name, x in claim.by_set.items()}
    if is_released and quantity in released:
        return released[quantity]
    return by_set.get(dataset or "", usual[quantity])


def absence(evidence: Evidence, scale: Scale, dataset: str) -> str:
    """Why there is no score: not asked for, or not there yet."""
    if scale not in evidence.config.scales:
        return "not part of this run at this scale"
    if dataset not in evidence.config.data.test:
        return "not among this run’s test sets"
    return "not run"


def _with_interval(value: float, half: float | None) -> Measured:
    return Measured(value, None if half is None else (value - half, value + half))
