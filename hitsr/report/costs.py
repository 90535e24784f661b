"""Costs that figures show: how they are named and found, and who prints PSNR beside them."""

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from hitsr.report.comparable import PAPER_TRAINING_SET
from hitsr.report.evidence import Evidence
from hitsr.report.facts import PAPER, QUANTITIES, SUCCESSORS, Fact
from hitsr.report.names import USUAL, Setup, short_label
from hitsr.report.published import PAPER_TABLE, Successor
from hitsr.specs.claims import BestClaim
from hitsr.specs.network import Scale

# Successors above this are no lightweight networks; they would stretch the axes twentyfold.
LIGHTWEIGHT_PARAMS_K = 2000
COUNTED = ("flops", "params")
TIMED = ("latency_ms", "memory_mb")
TRAINED = ("trained_params", "training_seconds")  # known of networks reduced in size
_FILES = {
    "params": "parameters",
    "trained_params": "parameters",
    "training_seconds": "seconds",
    "latency_ms": "latency",
    "memory_mb": "memory",
}


class Cost(NamedTuple):
    """A quantity that networks cost; times and memory under one setup."""

    quantity: str
    setup: Setup | None = None

    @property
    def key(self) -> str:
        """ "latency-cpu-fused": in names of files."""
        name = _FILES.get(self.quantity, self.quantity)
        return f"{name}-{self.setup.key}" if self.setup else name

    @property
    def title(self) -> str:
        """ "Latency, CPU, fused"."""
        title = QUANTITIES[self.quantity].title
        return f"{title}, {self.setup.words}" if self.setup else title

    @property
    def unit(self) -> str:
        return QUANTITIES[self.quantity].unit

    @property
    def where(self) -> dict[str, Any]:
        """Fields of its facts."""
        return {"setup": self.setup, "load": USUAL} if self.setup else {}


class Point(NamedTuple):
    """A method's PSNR over its cost."""

    method: str  # a network, or as printed
    cost: float
    psnr_db: float
    half: float | None = None  # half the interval over seeds; None for one seed and for print

    @property
    def ends(self) -> tuple[float, float]:
        """The interval, or twice the mean where there is none."""
        return self.psnr_db - (self.half or 0), self.psnr_db + (self.half or 0)


def measured_costs(evidence: Evidence, counted: Sequence[str]) -> list[Cost]:
    """Quantities that are counted, then time and memory in each setup that was timed."""
    timed = [Cost(quantity, setup) for setup in evidence.latency_setups for quantity in TIMED]
    return [*map(Cost, counted), *timed]


def quotes(evidence: Evidence, dataset: str, scale: Scale, quantity: str) -> list[Point]:
    """The paper's methods, then lightweight successors trained on DIV2K that it does not have.

    The paper's run times are of six methods on another GPU: they stand in the latency table alone.
    Misprints that the claims name are left out: one would stretch the axis for all.
    """
    where: dict[str, Any] = {"scale": scale, "dataset": dataset}
    claims = (claim for claim in evidence.claims if isinstance(claim, BestClaim))
    misprints = {(m.method, m.scale, m.dataset) for claim in claims for m in claim.misprints}
    table = [
        row
        for row in evidence.facts.find("psnr_db", speaker=PAPER, **where)
        if PAPER_TABLE in row.source and (row.network, scale, dataset) not in misprints
    ]
    points = _points(evidence, quantity, table) if quantity in COUNTED else []
    known = {_spelling(point.method) for point in points}
    comparable = {row.method for row in successors(evidence, scale)}
    later = [
        row
        for row in evidence.facts.find("psnr_db", speaker=SUCCESSORS, **where)
        if row.network in comparable and _spelling(row.network) not in known
    ]
    return points + _points(evidence, quantity, later)


def _points(evidence: Evidence, quantity: str, scores: Sequence[Fact]) -> list[Point]:
    """Scores of which the cost is printed too; the first one of a method that has several."""
    found: dict[str, Point] = {}
    for row in scores:
        place = {"speaker": row.speaker, "scale": row.scale}
        cost = evidence.facts.value(quantity, row.network, **place)
        if cost is not None:
            name = short_label(row.network)
            found.setdefault(name, Point(name, cost, row.value))
    return list(found.values())


def successors(evidence: Evidence, scale: Scale) -> list[Successor]:
    """Networks published since, of the paper's size and training set."""
    return [
        row
        for row in evidence.published.successors
        if row.scale == scale
        and row.params_k <= LIGHTWEIGHT_PARAMS_K
        and row.is_trained_on(PAPER_TRAINING_SET)
    ]


def _spelling(method: str) -> str:
    """One for SwinIR-L, SwinIR-lt and SwinIR-light, for Omni-SR and OmniSR."""
    return re.sub(r"-(lt|light|l)$", "", method.lower()).replace("-", "")
