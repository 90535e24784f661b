"""The paper's claims as data: what `reports/claims.yaml` lists, each with its source.

A kind of claim says which numbers it is about and how they are compared. The report finds the
numbers, measured or quoted; `verdicts` says what they make of a claim.
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field, PositiveFloat, PositiveInt

from hitsr.base.errors import DataError, SpecError, did_you_mean
from hitsr.base.values import Value, read_yaml
from hitsr.specs.network import Scale
from hitsr.specs.zoo import BASELINE, NETWORKS

Basis = Literal["records", "quotes"]  # what decides: what was measured here, or printed rows alone
Quantity = Literal["params", "flops"]
Metric = Literal["psnr", "ssim"]

TEST_SETS = ("Set5", "Set14", "B100", "Urban100", "Manga109")
CONVERSIONS = ("hit_sir", "hit_sng", "hit_srf")
SCALES: tuple[Scale, ...] = (2, 3, 4)


def _known(names: Iterable[str], what: str) -> Callable[[str], str]:
    def check(name: str) -> str:
        if name not in names:
            raise ValueError(f"no {what} of that name; {did_you_mean(name, names)}")
        return name

    return check


Network = Annotated[str, AfterValidator(_known(NETWORKS, "network"))]
Conversion = Annotated[str, AfterValidator(_known(BASELINE, "conversion"))]
TestSet = Annotated[str, AfterValidator(_known(TEST_SETS, "test set of the paper"))]
Tolerance = PositiveFloat | None  # None: a direction is claimed, without a number


class Claim(Value):
    """Something the paper or its README says, in our words, with the place where it says so."""

    basis: ClassVar[Basis] = "records"

    id: str = Field(pattern=r"^[a-z0-9_]+$")
    statement: str = Field(min_length=1)
    source: str = Field(min_length=1)
    explanation: str = ""  # shown where the claim does not hold: what is known of the reason


class Paired(Claim):
    """A claim about conversions beside their baselines."""

    conversions: tuple[Conversion, ...] = Field(default=CONVERSIONS, min_length=1)
    scales: tuple[Scale, ...] = Field(default=SCALES, min_length=1)


class Printed(Claim):
    """Counts are what the paper's table prints."""

    kind: Literal["printed"] = "printed"
    quantity: Quantity
    networks: tuple[Network, ...] = tuple(NETWORKS)
    scales: tuple[Scale, ...] = SCALES
    tolerance: PositiveFloat  # thousands of parameters, or G FLOPs


class Change(Paired):
    """Conversion takes parameters or FLOPs away: some, or as many per cent as is printed."""

    kind: Literal["change"] = "change"
    quantity: Quantity
    tolerance: Tolerance = None  # per cent of the baseline


class Speedup(Paired):
    """A conversion runs so many times as fast as its baseline, as the printed run times say."""

    kind: Literal["speedup"] = "speedup"
    device: str  # part of the name of the device that the run times are of
    tolerance: PositiveFloat  # of the ratio


class Implementation(Paired):
    """The speed-up is the same in both formulations, on one device."""

    kind: Literal["implementation"] = "implementation"
    tolerance: PositiveFloat  # a share of the ratio


class Growth(Claim):
    """FLOPs of the mixer grow as a power of the tokens in one window."""

    kind: Literal["growth"] = "growth"
    networks: tuple[Network, ...] = CONVERSIONS
    exponent: float
    tolerance: PositiveFloat


class Gain(Paired):
    """Conversions score higher: by some, or by as much as the printed scores differ."""

    kind: Literal["gain"] = "gain"
    datasets: tuple[TestSet, ...] = TEST_SETS
    tolerances: dict[Metric, Tolerance] = Field(min_length=1)  # dB for PSNR


class Elsewhere(Claim):
    """Conversion also improves baselines that are not the paper's."""

    kind: Literal["elsewhere"] = "elsewhere"


class Convergence(Paired):
    """Conversions have the higher validation PSNR at equal steps, on average over training."""

    kind: Literal["convergence"] = "convergence"


class Attribution(Paired):
    """Conversions draw on more of the picture, by the diffusion index."""

    kind: Literal["attribution"] = "attribution"


class TrainingSet(Claim):
    """A network scores higher when trained on the larger set."""

    kind: Literal["training_set"] = "training_set"
    network: Network
    smaller: str
    larger: str
    metric: Metric
    scales: tuple[Scale, ...] = SCALES
    datasets: tuple[TestSet, ...] = TEST_SETS


class PrintedGain(Paired):
    """Every conversion's printed score is above its baseline's."""

    basis: ClassVar[Basis] = "quotes"

    kind: Literal["printed_gain"] = "printed_gain"
    metric: Metric
    datasets: tuple[TestSet, ...] = TEST_SETS


class Misprint(Value):
    """A printed number that is left out of a comparison, and why."""

    method: str
    scale: Scale
    dataset: TestSet
    reason: str = Field(min_length=1)


class Best(Paired):
    """The best printed score of each set and scale is a conversion's."""

    basis: ClassVar[Basis] = "quotes"

    kind: Literal["best"] = "best"
    metric: Metric
    datasets: tuple[TestSet, ...] = TEST_SETS
    misprints: tuple[Misprint, ...] = ()


class Successors(Claim):
    """A network's printed score is above those of comparable networks in `successors.csv`."""

    basis: ClassVar[Basis] = "quotes"

    kind: Literal["successors"] = "successors"
    network: Network
    metric: Metric
    scales: tuple[Scale, ...] = SCALES
    datasets: tuple[Literal["Urban100", "Manga109"], ...] = ("Urban100", "Manga109")
    training_set: str  # networks trained on others, or on what their row does not say, are left out
    max_params_k: PositiveInt


AnyClaim = (
    Printed
    | Change
    | Speedup
    | Implementation
    | Growth
    | Gain
    | Elsewhere
    | Convergence
    | Attribution
    | TrainingSet
    | PrintedGain
    | Best
    | Successors
)
_KINDS: dict[str, type[AnyClaim]] = {
    kind.model_fields["kind"].default: kind for kind in AnyClaim.__args__
}


def read_claims(path: Path) -> tuple[AnyClaim, ...]:
    """Read claims.yaml; DataError names the file, the claim and what is wrong with it."""
    try:
        data = read_yaml(path)
    except SpecError as error:
        raise DataError(f"{error}; restore it from the repository") from None
    if not isinstance(data, list):
        raise DataError(f"{path}: want a list of claims, got {type(data).__name__}")
    claims = tuple(_claim(each, f"{path}: claim {i}") for i, each in enumerate(data, 1))
    ids = [claim.id for claim in claims]
    if twice := {name for name in ids if ids.count(name) > 1}:
        raise DataError(f"{path}: claim {min(twice)!r} stands there twice; rename one")
    return claims


def _claim(data: Any, where: str) -> AnyClaim:
    if not isinstance(data, dict):
        raise DataError(f"{where}: want keys and values, got {data!r}")
    where = f"{where} ({data.get('id', 'without id')})"
    kind = data.get("kind")
    if kind not in _KINDS:
        raise DataError(f"{where}: no kind {kind!r}; {did_you_mean(str(kind), _KINDS)}")
    try:
        return _KINDS[kind].parse(data, where)
    except SpecError as error:
        raise DataError(str(error)) from None
