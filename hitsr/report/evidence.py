"""What the page is written from: facts, and the estimates that are made of them, each made once."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple, TypeVar

import numpy as np

from hitsr.plan.planning import Plan
from hitsr.report.estimates import (
    Estimate,
    PairedDifference,
    Quartiles,
    Scores,
    difference,
    mean,
    median,
    ratio_of_neighbours,
)
from hitsr.report.facts import QUANTITIES, Fact, Facts, place_of
from hitsr.report.gather import Results
from hitsr.report.names import BICUBIC, FAMILIES, FORMULATIONS, USUAL, Family, Load, Setup
from hitsr.report.published import Published
from hitsr.specs.ablation import Ablation, AblationRow
from hitsr.specs.claims import Claim
from hitsr.specs.config import Config
from hitsr.specs.network import Scale

T = TypeVar("T")
_TIMED = ("latency_ms", "pictures_per_second")  # whose samples have medians


class Resolved(NamedTuple):
    """An ablation and its rows under one config."""

    ablation: Ablation
    rows: tuple[AblationRow, ...]


class Curve(NamedTuple):
    """A logged quantity over training: its mean and range over seeds at each common step."""

    steps: tuple[int, ...]
    seconds: tuple[float, ...]  # of training in all sessions, mean over seeds
    device_hours: tuple[float, ...] | None  # mean over seeds; None: logged before these were
    mean: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    validated: str = ""  # of validation PSNR: which weights it is of

    @property
    def device_seconds(self) -> tuple[float, ...] | None:
        """Device-hours in seconds."""
        hours = self.device_hours
        return None if hours is None else tuple(each * 3600 for each in hours)

    def reached_at(self, target: float) -> int | None:
        """Position where the mean first reaches `target`."""
        return next((i for i, value in enumerate(self.mean) if value >= target), None)


@dataclass(frozen=True, kw_only=True)
class Estimates:
    """Results and facts, with the estimates that are made of them."""

    results: Results
    facts: Facts
    _memo: dict[object, Any] = field(default_factory=dict)

    def level(self, quantity: str, network: str, **where: Any) -> Estimate | None:
        """A network's number: the median of its times; else the mean over seeds of each mean.

        Half its interval: for times half the interquartile range, else over seeds. Counts are
        exact. None where nothing was measured.
        """

        def make() -> Estimate | None:
            found = self.facts.find(quantity, network, **where)
            if not found:
                return None
            if quantity in _TIMED:
                return median(found[0].samples)
            return mean([row.value for row in found])

        return self._once(("level", quantity, network, *sorted(where.items())), make)

    def doubts(self, quantity: str, network: str, **where: Any) -> list[str]:
        """Why a number that was measured is doubtful; empty where it is not, or is absent."""
        rows = self.facts.find(quantity, network, **where)
        return list(dict.fromkeys(doubt for row in rows for doubt in row.doubts))

    def why_absent(self, quantity: str, network: str, **where: Any) -> str:
        """Why a number was not measured, as a sentence; empty where nothing but "not run" is known.

        `where` are fields that its fact would have.
        """
        known = QUANTITIES.get(quantity)
        kind, place = known.kind if known else "scaling", {"network": network, **where}
        reasons = (
            self.results.why(job)
            for job in self.results.missing
            if job.kind == kind and place == {key: place_of(job).get(key) for key in place}
        )
        return next(filter(None, reasons), "")

    def over_items(self, quantity: str, network: str, **where: Any) -> Estimate | None:
        """The mean over pictures of each picture's mean over seeds, with its interval over them."""
        found = self.facts.find(quantity, network, **where)
        return mean(list(_scores(found).mean(axis=0))) if found else None

    def over_bicubic(self, quantity: str, network: str, **where: Any) -> Estimate | None:
        """By how much a network is above the control on the same pictures, over seeds."""
        found = self.facts.find(quantity, network, **where)
        control = self.facts.value(quantity, BICUBIC, **where)
        if not found or control is None:
            return None
        return mean([row.value - control for row in found])

    def difference(
        self, quantity: str, first: str, second: str, **where: Any
    ) -> PairedDifference | None:
        """`first` less `second` on the same pictures; None where one of them was not scored."""

        def make() -> PairedDifference | None:
            rows = [self.facts.find(quantity, name, **where) for name in (first, second)]
            return difference_of(*rows) if all(rows) else None

        key = ("difference", quantity, first, second, *sorted(where.items()))
        return self._once(key, make)

    def ratio(self, first: Fact, second: Fact) -> Quartiles:
        """How many times as long `first` took as `second`.

        The quartiles of neighbouring samples where they took turns. Else the quotient of medians,
        with the widest ends that the quartiles of both allow.
        """
        if took_turns(first, second):
            return ratio_of_neighbours(first.samples, second.samples)
        low, middle, high = np.percentile(first.samples, [25, 50, 75])
        other_low, other_middle, other_high = np.percentile(second.samples, [25, 50, 75])
        ratios = (low / other_high, middle / other_middle, high / other_low)
        return Quartiles(*map(float, ratios))

    def time_of(self, network: str, scale: Scale, setup: Setup, load: Load = USUAL) -> Fact | None:
        """The forward times of a network; None where it was not timed so."""
        found = self.facts.find("latency_ms", network, scale=scale, setup=setup, load=load)
        return found[0] if found else None

    def speedup(
        self, family: Family, scale: Scale, setup: Setup, load: Load = USUAL
    ) -> Quartiles | None:
        """How many times as fast the conversion runs as its baseline."""
        before, after = (self.time_of(name, scale, setup, load) for name in family.networks)
        return self.ratio(before, after) if before and after else None

    def gain(self, network: str, scale: Scale, setup: Setup) -> Quartiles | None:
        """How many times as fast a formulation runs as the one before it that was timed.

        From the released formulation to the fastest; None unless both took turns.
        """
        forms = list(FORMULATIONS)
        slower = forms[: forms.index(setup.formulation)]
        earlier = [self.time_of(network, scale, setup._replace(formulation=f)) for f in slower]
        before = next((time for time in reversed(earlier) if time), None)
        after = self.time_of(network, scale, setup)
        if before is None or after is None or not took_turns(before, after):
            return None
        return self.ratio(before, after)

    def printed_speedup(self, family: Family) -> float | None:
        """Of the paper's run times."""
        before, after = (
            self.facts.value("latency_ms", network, speaker="paper") for network in family.networks
        )
        return before / after if before and after else None

    def curve(self, quantity: str, network: str, scale: Scale) -> Curve | None:
        """What the seeds of a network logged; None where no step has the quantity in all logs."""

        def make() -> Curve | None:
            rows, seconds, device_hours = (
                self.facts.find(f"{quantity}{clock}", network, scale=scale)
                for clock in ("", "_seconds", "_device_hours")
            )
            return _aligned(rows, seconds, device_hours)

        return self._once(("curve", quantity, network, scale), make)

    def lead(self, family: Family, scale: Scale) -> list[list[float]]:
        """For each seed of both: the conversion's lead in validation PSNR at each common step.

        Empty where weights of one of them are averaged.
        """
        before, after = (
            self.facts.find("validation_psnr_db", network, scale=scale)
            for network in family.networks
        )
        return seed_leads(before, after) if are_alike(before, after) else []

    def leads_at_equal_time(self, family: Family, scale: Scale) -> list[float]:
        """For each seed of both: the conversion's lead when the shorter training ends.

        By device time; PSNR between two validations is interpolated. Empty where weights of one of
        them are averaged, or device time was not logged.
        """
        sides = [self._by_device_time(network, scale) for network in family.networks]
        rows = [row for side in sides for row in side.values()]
        if not are_alike([psnr for psnr, _ in rows], []):
            return []
        leads = []
        for seed in sorted(sides[0].keys() & sides[1].keys(), key=str):
            (before, clock_before), (after, clock_after) = sides[0][seed], sides[1][seed]
            end = min(clock_before.samples[-1], clock_after.samples[-1])
            leads.append(_at(end, after, clock_after) - _at(end, before, clock_before))
        return leads

    def _by_device_time(self, network: str, scale: Scale) -> dict[int | None, tuple[Fact, Fact]]:
        """Validation PSNR and the device-hours at its steps, by seed."""
        psnr, clocks = (
            {row.seed: row for row in self.facts.find(quantity, network, scale=scale)}
            for quantity in ("validation_psnr_db", "validation_psnr_db_device_hours")
        )
        return {seed: (psnr[seed], clocks[seed]) for seed in psnr if seed in clocks}

    def _once(self, key: object, make: Callable[[], T]) -> T:
        if key not in self._memo:
            self._memo[key] = make()
        found: T = self._memo[key]
        return found


@dataclass(frozen=True, kw_only=True)
class Evidence(Estimates):
    """All that a report is written from."""

    plan: Plan
    published: Published
    ablations: Mapping[str, Resolved] = field(default_factory=dict)
    claims: tuple[Claim, ...] = ()

    @property
    def config(self) -> Config:
        return self.plan.config

    @cached_property
    def networks(self) -> list[str]:
        """Each baseline followed by its conversion, then networks of one's own."""
        networks = [name for family in FAMILIES for name in family.networks]
        return [name for name in networks if name in self.config.networks] + list(self.config.own)

    @cached_property
    def families(self) -> list[Family]:
        """Families of which the config names both members."""
        return [f for f in FAMILIES if set(f.networks) <= set(self.config.networks)]

    @cached_property
    def latency_setups(self) -> list[Setup]:
        """Setups in which one picture of 32-bit floats was timed."""
        setups = self.facts.distinct("setup", "latency_ms", load=USUAL)
        return sorted(setups, key=lambda setup: setup.order)

    @cached_property
    def latency_scales(self) -> list[Scale]:
        """Scales at which one of the config's networks was timed."""
        rows = self.facts.find("latency_ms", load=USUAL)
        return sorted({row.scale for row in rows if row.network in self.networks})

    @cached_property
    def scaling_setups(self) -> list[Setup]:
        setups = self.facts.distinct("setup", "growth_time")
        return sorted(setups, key=lambda setup: setup.order)

    @cached_property
    def paper_sets(self) -> set[str]:
        """Test sets of which the paper prints scores."""
        return {quote.dataset for quote in self.published.quotes}

    def set_name(self, dataset: str) -> str:
        """One of the paper's test sets by its name, any other in quotes."""
        return dataset if dataset in self.paper_sets else f"“{dataset}”"


def took_turns(first: Fact, second: Fact) -> bool:
    """Whether two networks or formulations were timed sample by sample in one process."""
    return first.session is not None and first.session == second.session


def are_alike(before: Sequence[Fact], after: Sequence[Fact]) -> bool:
    """Whether both are of weights, or both of averaged weights."""
    return len({row.validated for row in (*before, *after)}) <= 1


def seed_leads(before: Sequence[Fact], after: Sequence[Fact]) -> list[list[float]]:
    """For each seed that both sides logged: the second's lead at each step that both logged."""
    logs = [dict(zip([row.seed for row in rows], _by_step(rows))) for rows in (before, after)]
    pairs = [(logs[0][seed], logs[1][seed]) for seed in logs[0] if seed in logs[1]]
    leads = [[b[step] - a[step] for step in sorted(a.keys() & b.keys())] for a, b in pairs]
    return [lead for lead in leads if lead]


def difference_of(first: Sequence[Fact], second: Sequence[Fact]) -> PairedDifference:
    """Of two methods' facts of one quantity on one set; each method's facts are its seeds'."""
    first, second = (sorted(rows, key=lambda row: row.seed or 0) for rows in (first, second))
    seeds = [[row.seed for row in rows] for rows in (first, second)]
    is_fixed = [each == [None] for each in seeds]
    return difference(
        _scores(first),
        _scores(second),
        same_seeds=seeds[0] == seeds[1] and not any(is_fixed),
        fixed_first=is_fixed[0],
        fixed_second=is_fixed[1],
    )


def percent_change(before: Fact, after: Fact) -> float:
    """Of two numbers, rounded as print rounds them if they may be held against it.

    Others are not rounded: those of tiny pictures would become zero.
    """
    values = [before.value, after.value]
    if not (before.hindrance or after.hindrance):
        values = [round(value, QUANTITIES[before.quantity].digits) for value in values]
    return (values[1] / values[0] - 1) * 100


def _at(hours: float, psnr: Fact, clock: Fact) -> float:
    """PSNR at a device time, on straight lines between validations."""
    return float(np.interp(hours, clock.samples, psnr.samples))


def _scores(rows: Sequence[Fact]) -> Scores:
    """(seeds, pictures)."""
    return np.array([row.samples for row in rows], dtype=np.float64)


def _aligned(
    rows: Sequence[Fact], seconds: Sequence[Fact], device_hours: Sequence[Fact]
) -> Curve | None:
    """Logs of several seeds as one curve, by step."""
    logs = _by_step(rows)
    steps = sorted(set.intersection(*map(set, logs))) if logs else []
    if not steps:
        return None
    values = [[log[step] for log in logs] for step in steps]
    return Curve(
        steps=tuple(int(step) for step in steps),
        seconds=_clock(seconds, steps),
        device_hours=_clock(device_hours, steps) if len(device_hours) == len(rows) else None,
        mean=tuple(mean(row).value for row in values),
        low=tuple(min(row) for row in values),
        high=tuple(max(row) for row in values),
        validated=rows[0].validated,
    )


def _clock(rows: Sequence[Fact], steps: Sequence[int]) -> tuple[float, ...]:
    clocks = _by_step(rows)
    return tuple(mean([clock[step] for clock in clocks]).value for step in steps)


def _by_step(rows: Sequence[Fact]) -> list[dict[int, float]]:
    return [dict(zip(row.items, row.samples)) for row in rows]
