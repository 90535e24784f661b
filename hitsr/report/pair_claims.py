"""Claims about pairs: one number beside the other, in per cent or as their difference."""

from collections.abc import Sequence
from itertools import chain, product
from typing import Any, NamedTuple

from hitsr.plan.jobs import TrainJob
from hitsr.plan.subjects import CONTROLS
from hitsr.report.estimates import mean
from hitsr.report.evidence import Evidence, are_alike, difference_of, percent_change, seed_leads
from hitsr.report.facts import QUANTITIES, Fact, Speaker
from hitsr.report.judging import (
    ANY,
    Expected,
    JudgedNumber,
    Measured,
    Style,
    above,
    absence,
    below,
    gain_of,
    hindrance_among,
    near,
    of_difference,
)
from hitsr.report.names import FAMILIES, Family, label
from hitsr.report.ruling import (
    PRINTED_SCORES,
    ClaimPlace,
    Ruling,
    datasets_of,
    difference_style,
    judged_number,
    quoted_number,
)
from hitsr.report.typeset import counted
from hitsr.specs.claims import (
    CONVERSIONS,
    Claim,
    OtherPairsClaim,
    PairClaim,
    TrainingSetClaim,
)
from hitsr.specs.run import RunSpec

_PERCENT = Style(1, "%", plus=True)
_NOT_PRINTED = "not judged: the paper prints no number to hold it against"
_UNLIKE = "not judged: PSNR of averaged weights beside that of weights"
_ONE_SEED = "one seed, and what another would give is not known"


class _Side(NamedTuple):
    """One side of a comparison: a network, or some of its runs."""

    network: str
    runs: frozenset[str] | None = None  # None: all runs that are called after the network
    printed: str = ""  # the network's name in print, where it is another

    def rows(
        self, evidence: Evidence, place: "ClaimPlace", speaker: Speaker = "here"
    ) -> list[Fact]:
        quantity, scale, dataset = place
        where: dict[str, Any] = {"scale": scale, "speaker": speaker}
        where |= {"dataset": dataset} if dataset else {}
        if speaker != "here":
            return evidence.facts.find(quantity, self.printed or self.network, **where)
        if self.runs is None:
            return evidence.facts.find(quantity, self.network, **where)
        return [row for row in evidence.facts.find(quantity, **where) if row.subject in self.runs]


class _Pair(NamedTuple):
    """What is compared: `after` is expected to be the better one."""

    name: str
    before: _Side
    after: _Side
    absent: str = ""  # why there is nothing to compare


def pair_ruling(
    claim: PairClaim | OtherPairsClaim | TrainingSetClaim, evidence: Evidence
) -> Ruling:
    """Of each pair, the second number beside the first: per cent of change, or difference."""
    numbers = []
    for quantity, pair, scale in product(claim.quantities, _pairs(claim, evidence), claim.scales):
        for dataset in datasets_of(claim, evidence, quantity):
            place = ClaimPlace(quantity, scale, dataset)
            number = _compared(claim, evidence, pair, place)
            only_if_run = isinstance(claim, OtherPairsClaim) or dataset not in claim.datasets
            if number and (number.here or quantity not in PRINTED_SCORES or not only_if_run):
                numbers.append(number)
    if not numbers:
        reason = "this run has no pair from outside the paper"
        numbers = [judged_number("another pair", _PERCENT, above(0), None, None, reason)]
    is_counted = claim.expect != "printed"
    noun = "cell" if set(claim.quantities) & set(PRINTED_SCORES) else "pair"
    return Ruling(claim, tuple(numbers), noun if is_counted else "", _tally(claim, evidence))


def _pairs(
    claim: PairClaim | OtherPairsClaim | TrainingSetClaim, evidence: Evidence
) -> list[_Pair]:
    match claim:
        case PairClaim():
            families = [f for f in FAMILIES if f.conversion in claim.conversions]
        case OtherPairsClaim():
            names = [n for n in evidence.facts.distinct("network", "psnr_db") if n not in CONTROLS]
            families = [
                Family(name, name, f"hit_{name}")
                for name in sorted(names)
                if f"hit_{name}" in names and f"hit_{name}" not in CONVERSIONS
            ]
        case TrainingSetClaim():
            return [_trained_on_both(claim, evidence)]
    return [_Pair(label(f.conversion), _Side(f.baseline), _Side(f.conversion)) for f in families]


def _trained_on_both(claim: TrainingSetClaim, evidence: Evidence) -> _Pair:
    """Runs of the network on either set, or of their like, whatever they are called."""
    runs = [job.run for job in evidence.plan.reported if isinstance(job, TrainJob)]
    wanted = {_but_for_data(run) for run in runs if run.network.name == claim.network}
    small, large = (
        frozenset(r.name for r in runs if r.data == data and _but_for_data(r) in wanted)
        for data in (claim.smaller, claim.larger)
    )
    missing = claim.larger if not large else claim.smaller if not small else ""
    return _Pair(
        label(claim.network),
        _Side(claim.network, small),
        _Side(claim.network, large, f"{label(claim.network)}-{claim.larger}"),
        f"nothing here was trained on {missing}" if missing else "",
    )


def _but_for_data(run: RunSpec) -> str:
    """What is the same in two runs that differ in their training set, and hence in name."""
    network = run.network.model_copy(update={"name": ""})
    return run.model_copy(update={"network": network, "data": "", "start_from": None}).hash


def _compared(
    claim: PairClaim | OtherPairsClaim | TrainingSetClaim,
    evidence: Evidence,
    pair: _Pair,
    place: ClaimPlace,
) -> JudgedNumber | None:
    """One comparison; None where print decides and prints nothing."""
    is_percent = claim.compare == "percent"
    style = _PERCENT if is_percent else difference_style(place.quantity)
    sides = [side.rows(evidence, place) for side in (pair.before, pair.after)]
    quotes = [side.rows(evidence, place, "paper") for side in (pair.before, pair.after)]
    printed = _change(quotes, is_percent) if all(quotes) else None
    tolerances: dict[str, float | None] = dict(claim.quantities.items())
    expected = _expected(claim, printed, tolerances[place.quantity], style)
    name = _name(claim, evidence, pair, place)
    if claim.basis == "quotes":
        return None if printed is None else quoted_number(name, style, printed)
    if not all(sides):
        return judged_number(name, style, expected, printed, None, _absence(evidence, pair, place))
    reason = hindrance_among(chain(*sides), is_printed=claim.expect == "printed")
    if place.quantity in PRINTED_SCORES and place.dataset not in evidence.paper_sets:
        reason = reason or "not judged: no test set of the paper"
    if not are_alike(*sides):
        reason = reason or _UNLIKE
    if claim.expect == "printed" and printed is None:
        reason = reason or _NOT_PRINTED
    here: Measured | None = Measured(_change(sides, is_percent))
    if not is_percent:
        here = _difference(sides, place.quantity)
    return judged_number(name, style, expected, printed, here, reason)


def _change(sides: Sequence[Sequence[Fact]], is_percent: bool) -> float:
    """The second side's number against the first's, in per cent or as a difference."""
    before, after = (rows[0] for rows in sides)
    return percent_change(before, after) if is_percent else after.value - before.value


def _difference(sides: Sequence[Sequence[Fact]], quantity: str) -> Measured | None:
    """The second side less the first, over seeds and pictures; of logs, over seeds."""
    before, after = sides
    if quantity != "validation_psnr_db":
        return of_difference(difference_of(after, before))
    leads = seed_leads(before, after)
    if not leads:
        return None
    value, half = mean([mean(each).value for each in leads])
    if half is None:
        return Measured(value, unknown=_ONE_SEED)
    return Measured(value, (value - half, value + half))


def _expected(
    claim: Claim, printed: float | None, tolerance: float | None, style: Style
) -> Expected:
    if claim.expect == "below":
        return below(0)
    if claim.expect == "above":
        return above(0)
    if printed is None:
        return ANY  # and nothing is judged
    if tolerance is None:
        raise ValueError(f"{claim.id}: no tolerance; `read_claims` refuses such a claim")
    return (near if claim.compare == "percent" else gain_of)(printed, tolerance, style.digits)


def _name(claim: Claim, evidence: Evidence, pair: _Pair, place: ClaimPlace) -> str:
    """ "HiT-SIR, Set5 ×2"; the quantity first where the claim is about several."""
    what = f"{QUANTITIES[place.quantity].title}, " if len(claim.quantities) > 1 else ""
    where = f", {evidence.set_name(place.dataset)}" if place.dataset else ""
    return f"{what}{pair.name}{where} ×{place.scale}"


def _absence(evidence: Evidence, pair: _Pair, place: ClaimPlace) -> str:
    """Why there is nothing to compare."""
    where = {"scale": place.scale} | ({"dataset": place.dataset} if place.dataset else {})
    sides = (side.network for side in (pair.before, pair.after))
    whys = (evidence.why_absent(place.quantity, network, **where) for network in sides)
    if known := next(filter(None, whys), ""):
        return known
    if pair.absent or place.quantity in ("params", "flops"):
        return pair.absent
    if place.quantity in PRINTED_SCORES and place.dataset:
        return absence(evidence, place.scale, place.dataset)
    return "" if place.scale in evidence.config.scales else "not trained at this scale"


def _tally(claim: Claim, evidence: Evidence) -> str:
    """How many single steps or windows say so, where a claim is of many in one number."""
    if not isinstance(claim, PairClaim):
        return ""
    families = [f for f in FAMILIES if f.conversion in claim.conversions]
    if "validation_psnr_db" in claim.quantities:
        leads = [
            lead
            for family, scale in product(families, claim.scales)
            for each in evidence.lead(family, scale)
            for lead in each
        ]
        ahead = sum(lead > 0 for lead in leads)
        return f"Ahead at {ahead} of {counted(len(leads), 'validated step')}." if leads else ""
    if "diffusion_index" in claim.quantities:
        sets = evidence.facts.distinct("dataset", "diffusion_index")
        found = [
            evidence.difference(
                "diffusion_index", f.conversion, f.baseline, scale=scale, dataset=dataset
            )
            for f, scale, dataset in product(families, claim.scales, sets)
        ]
        pairs = [pair for pair in found if pair]
        higher, windows = sum(p.better for p in pairs), sum(p.pictures for p in pairs)
        return f"Higher in {higher} of {counted(windows, 'window')}." if pairs else ""
    return ""
