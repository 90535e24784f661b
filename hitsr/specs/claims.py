"""The paper's claims as data: `reports/claims.yaml` lists them with their sources.

A claim is about networks, or pairs of a baseline and its conversion, at scales and on test sets. It
names quantities, how to compare their numbers, and the expected result. Tolerances are written in
that file only. `report.ledger` finds the numbers and judges the claims.
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    model_validator,
)

from hitsr.base.errors import DataError, SpecError, cut, did_you_mean, shortened
from hitsr.base.reading import read_yaml
from hitsr.base.values import Count, Number, Several, Value
from hitsr.specs.network import Formulation, Scale
from hitsr.specs.zoo import BASELINE, NETWORKS

# What decides a claim of the paper: records of this run, or printed numbers only. code: no claim of
# the paper but what its released code says, judged by records.
Basis = Literal["records", "quotes", "code"]
ClaimedQuantity = Literal[
    "params",  # thousands
    "flops",  # G
    "latency_ms",
    "flops_exponent",  # of the tokens in one window
    "psnr_db",
    "ssim",
    "validation_psnr_db",
    "diffusion_index",
]
# value: the number of one network. For a pair: percent (change from baseline to conversion), ratio
# (baseline / conversion: times as fast) or difference (conversion - baseline). Of a step: share,
# in per cent of the logarithm of the ratio.
Comparison = Literal["value", "percent", "ratio", "difference", "share"]
# printed: near the printed number; above, below: above or below zero; as_released: near the result
# of this comparison in the released formulation; a number: near that number.
_EXPECTED = ("printed", "above", "below", "as_released")


def _expectation(value: Any) -> Any:
    """One line for what is neither a word nor a number, in place of one for each kind."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if value not in _EXPECTED and not is_number:
        raise ValueError(f"must be {', '.join(_EXPECTED)} or a number")
    return value


Expectation = Annotated[
    Literal["printed", "above", "below", "as_released"] | float, BeforeValidator(_expectation)
]

TEST_SETS = ("Set5", "Set14", "B100", "Urban100", "Manga109")
CONVERSIONS = ("hit_sir", "hit_sng", "hit_srf")
SCALES: tuple[Scale, ...] = (2, 3, 4)


def _known(names: Iterable[str], what: str) -> Callable[[str], str]:
    def check(name: str) -> str:
        if name not in names:
            raise ValueError(f"no such {what}; {did_you_mean(name, names)}")
        return name

    return check


Network = Annotated[str, AfterValidator(_known(NETWORKS, "network"))]
Conversion = Annotated[str, AfterValidator(_known(BASELINE, "conversion"))]
TestSet = Annotated[str, AfterValidator(_known(TEST_SETS, "test set of the paper"))]
Positive = Annotated[Number, Field(gt=0)]
Tolerance = Positive | None  # None: the claim is only a direction, or has no tolerance


class BaseClaim(Value):
    """A statement of the paper or its README, in our words, with its source."""

    id: str = Field(pattern=r"^[a-z0-9_]+$")
    topic: str = Field(min_length=1)  # heading in the ledger
    statement: str = Field(min_length=1)
    source: str = Field(min_length=1)
    explanation: str = ""  # shown if the claim does not hold: known reasons
    quantities: dict[ClaimedQuantity, Tolerance] = Field(min_length=1)
    compare: Comparison = "value"
    expect: Expectation
    basis: Basis = "records"
    scales: Several[Scale] = SCALES
    # For quantities that are measured on a test set.
    datasets: Several[TestSet] = TEST_SETS

    @model_validator(mode="after")
    def _can_be_judged(self) -> Self:
        """ValueError where a tolerance is missing, or this kind cannot be compared so."""
        if problem := self._unfit() or self._without_tolerance():
            raise ValueError(problem)
        return self

    def _unfit(self) -> str:
        """What cannot be compared, and what to write instead; empty if all can."""
        if self.compare not in ("percent", "difference"):
            return f"compare: {self.compare} is not for this claim; write percent or difference"
        if self.expect in ("printed", "above", "below"):
            return ""
        return f"expect: {self.expect} is not for this claim; write printed, above or below"

    def _without_tolerance(self) -> str:
        if self.expect in ("above", "below"):
            return ""
        if self.basis == "quotes":
            return "basis: quotes are judged by direction alone; write expect: above"
        open_ended = [name for name in self.quantities if not self._has_tolerance(name)]
        if not open_ended:
            return ""
        return (
            f"quantities: expect: {self.expect} needs a tolerance for {', '.join(open_ended)}; "
            f"write a number above zero, such as {open_ended[0]}: 0.1"
        )

    def _has_tolerance(self, quantity: ClaimedQuantity) -> bool:
        return self.quantities[quantity] is not None


class NetworkClaim(BaseClaim):
    """A claim about single networks."""

    of: Literal["networks"] = "networks"
    networks: Several[Network] = tuple(NETWORKS)
    # Tolerances for released weights, whose scores do not depend on a training run.
    released: dict[ClaimedQuantity, Positive] = Field(default={})
    # Tolerances for single sets, which replace those in `quantities`.
    by_set: dict[TestSet, Positive] = Field(default={})

    def _unfit(self) -> str:
        if self.compare != "value":
            return f"compare: {self.compare} is for pairs; write value, or leave it out"
        if self.expect == "printed":
            return ""
        if isinstance(self.expect, str):
            return f"expect: {self.expect} is for pairs; write printed or a number"
        if set(self.quantities) != {"flops_exponent"}:
            return "expect: a number is for flops_exponent alone; write printed"
        return ""

    def _has_tolerance(self, quantity: ClaimedQuantity) -> bool:
        return (
            super()._has_tolerance(quantity)
            or quantity in self.released
            or set(self.datasets) <= set(self.by_set)
        )


class PairClaim(BaseClaim):
    """A claim about conversions compared with their baselines."""

    of: Literal["pairs"] = "pairs"
    conversions: Several[Conversion] = CONVERSIONS

    def _unfit(self) -> str:
        is_of_times = "latency_ms" in self.quantities
        if self.compare != "ratio" and self.expect != "as_released" and not is_of_times:
            return super()._unfit()
        if set(self.quantities) != {"latency_ms"} or self.compare != "ratio":
            return "compare: ratio, expect: as_released and latency_ms are for each other alone"
        if self.expect in ("printed", "as_released"):
            return ""
        return f"expect: {self.expect} is not for a ratio; write printed or as_released"


class StepClaim(BaseClaim):
    """A claim about how much of a speed-up one step from the released code takes away."""

    of: Literal["step"] = "step"
    conversions: Several[Conversion] = CONVERSIONS
    formulation: Formulation  # that the step leads to
    at_least_percent: Positive  # of the logarithm of the ratio, as steps' factors multiply

    def _unfit(self) -> str:
        wanted = ({"latency_ms"}, "share", "above", "code")
        if (set(self.quantities), self.compare, self.expect, self.basis) == wanted:
            return ""
        return "a step needs quantities: latency_ms, compare: share, expect: above and basis: code"


class OtherPairsClaim(BaseClaim):
    """A claim about conversions of networks that are not baselines of the paper."""

    of: Literal["other_pairs"] = "other_pairs"


class TrainingSetClaim(BaseClaim):
    """A claim about one network trained on a larger set, compared with a smaller one."""

    of: Literal["training_sets"] = "training_sets"
    network: Network
    smaller: str
    larger: str


class Misprint(Value):
    """A printed number that is excluded from comparisons and figures, with the reason."""

    method: str
    scale: Scale
    dataset: TestSet
    reason: str = Field(min_length=1)


class BestClaim(BaseClaim):
    """A claim about the best printed score of conversions compared with all other methods."""

    of: Literal["best"] = "best"
    conversions: Several[Conversion] = CONVERSIONS
    misprints: tuple[Misprint, ...] = ()


class SuccessorClaim(BaseClaim):
    """A claim about a network's printed score compared with later networks of similar size."""

    of: Literal["successors"] = "successors"
    network: Network
    training_set: str  # networks trained on another or an unknown set are excluded
    max_params_k: Count


Claim = (
    NetworkClaim
    | PairClaim
    | StepClaim
    | OtherPairsClaim
    | TrainingSetClaim
    | BestClaim
    | SuccessorClaim
)
_KINDS: dict[str, type[Claim]] = {kind.model_fields["of"].default: kind for kind in Claim.__args__}


def read_claims(path: Path) -> tuple[Claim, ...]:
    """Read claims.yaml; DataError names the file, the claim and what is wrong with it."""
    try:
        data = read_yaml(path)
    except SpecError as error:
        raise DataError(f"{error}; restore it from the repository") from None
    if not isinstance(data, list):
        raise DataError(f"{path}: must be a list of claims, got {type(data).__name__}")
    if not data:
        raise DataError(f"{path}: holds no claim; restore it from the repository")
    claims = tuple(_claim(each, f"{path}: claim {i}") for i, each in enumerate(data, 1))
    ids = [claim.id for claim in claims]
    if twice := {name for name in ids if ids.count(name) > 1}:
        raise DataError(f"{path}: claim {min(twice)!r} occurs twice; rename one")
    return claims


def _claim(data: Any, where: str) -> Claim:
    if not isinstance(data, dict):
        raise DataError(f"{where}: must have keys and values, got {shortened(data)}")
    where = f"{where} ({cut(str(data.get('id', 'without id')))})"
    of = data.get("of")
    if not isinstance(of, str) or of not in _KINDS:
        raise DataError(f"{where}: of: no {shortened(of)}; {did_you_mean(str(of), _KINDS)}")
    try:
        return _KINDS[of].parse(data, where)
    except SpecError as error:
        raise DataError(str(error)) from None
