"""The costs that PSNR is drawn over: how each is measured here, and who else prints it."""

import re
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from hitsr.records import TrainingRecord
from hitsr.report.budget import Budget
from hitsr.report.gather import Results, Setup
from hitsr.report.measures import Evidence, latency_ms, setup_name
from hitsr.report.published import PAPER_TRAINING_SET, Published, Quote, Successor
from hitsr.report.scatter import Axis, Quoted
from hitsr.report.statistics import mean
from hitsr.specs.network import Scale

# Successors above this are no lightweight networks; they would stretch the axes twentyfold.
LIGHTWEIGHT_PARAMS_K = 2000

Of = Callable[[str], float | None]  # a network's cost, None if not measured


class Cost(NamedTuple):
    axis: Axis
    of: Of


class Printed(NamedTuple):
    """A cost that others print: its axis, in the paper's rows and in those of its successors."""

    axis: Axis
    of_paper: Callable[[Quote], float | None]
    of_successor: Callable[[Successor], float | None]


FLOPS, PARAMETERS = Axis("flops", "FLOPs", "G"), Axis("parameters", "Parameters", "K")
COUNTED = (
    Printed(FLOPS, lambda quote: quote.flops_g, lambda row: row.flops_g),
    Printed(PARAMETERS, lambda quote: quote.params_k, lambda row: row.params_k),
)
LATENCY = Axis("latency", "Latency, their GPU", "ms")
MEMORY = Axis("memory", "Memory, their GPU", "MB")
# The paper's run times are of six methods on another GPU: they stand in the latency table.
TIMED = (
    Printed(LATENCY, lambda _: None, lambda row: row.latency_ms),
    Printed(MEMORY, lambda _: None, lambda row: row.memory_mb),
)


def measured_costs(evidence: Evidence, budget: Budget, scale: Scale) -> list[Cost]:
    """Costs of the very networks that were scored.

    Of networks reduced in size, only parameters and training time are known.
    """
    results = evidence.results
    if budget.reduction:
        return [
            Cost(
                PARAMETERS._replace(title="Parameters, as trained"),
                partial(_trained_k, results, scale),
            ),
            Cost(Axis("seconds", "Training time", "s"), partial(_seconds, results, scale)),
        ]
    costs = [
        Cost(FLOPS, partial(_flops_g, results, scale)),
        Cost(PARAMETERS, partial(_params_k, results, scale)),
    ]
    for setup in evidence.latency_setups:
        name, key = setup_name(setup), "-".join(setup)
        latency = Axis(f"latency-{key}", f"Latency, {name}", "ms")
        memory = Axis(f"memory-{key}", f"Peak memory, {name}", "MB")
        costs += [
            Cost(latency, partial(_milliseconds, results, scale, setup)),
            Cost(memory, partial(_megabytes, results, scale, setup)),
        ]
    return costs


def quotes(published: Published, dataset: str, scale: Scale, cost: Printed) -> list[Quoted]:
    """The paper's methods, then lightweight successors trained on DIV2K that it does not have."""
    found = {
        method: Quoted(method, value, quote.psnr_db)
        for method in published.methods(scale)
        if (quote := published.quoted(method, scale, dataset))
        and quote.psnr_db is not None
        and (value := cost.of_paper(quote)) is not None
    }
    known = set(map(_key, found))
    for row in successors(published, scale):
        value, psnr_db = cost.of_successor(row), _psnr_db(row, dataset)
        if value is not None and psnr_db is not None and _key(row.method) not in known:
            found.setdefault(row.method, Quoted(row.method, value, psnr_db))
    return list(found.values())


def successors(published: Published, scale: Scale) -> list[Successor]:
    """Those of the paper's size and training set."""
    return [
        row
        for row in published.successors
        if row.scale == scale
        and row.params_k <= LIGHTWEIGHT_PARAMS_K
        and row.is_trained_on(PAPER_TRAINING_SET)
    ]


def _psnr_db(row: Successor, dataset: str) -> float | None:
    return row.score(dataset, "psnr") if dataset in ("Urban100", "Manga109") else None


def _key(method: str) -> str:
    """One key for SwinIR-L, SwinIR-lt and SwinIR-light, for Omni-SR and OmniSR."""
    return re.sub(r"-(lt|light|l)$", "", method.lower()).replace("-", "")


def _flops_g(results: Results, scale: Scale, network: str) -> float | None:
    record = results.complexity.get((network, scale))
    return record.flops / 1e9 if record else None


def _params_k(results: Results, scale: Scale, network: str) -> float | None:
    record = results.complexity.get((network, scale))
    return record.params / 1e3 if record else None


def _milliseconds(results: Results, scale: Scale, setup: Setup, network: str) -> float | None:
    median = latency_ms(results, network, scale, setup)
    return median.value if median else None


def _megabytes(results: Results, scale: Scale, setup: Setup, network: str) -> float | None:
    record = results.latency.get((network, scale, *setup))
    return record.peak_memory_bytes / 1e6 if record else None


def _trained_k(results: Results, scale: Scale, network: str) -> float | None:
    sizes = [record.params / 1e3 for record in _trainings(results, scale, network)]
    return sizes[0] if sizes else None


def _seconds(results: Results, scale: Scale, network: str) -> float | None:
    times = [record.provenance.seconds for record in _trainings(results, scale, network)]
    return mean(times).value if times else None


def _trainings(results: Results, scale: Scale, network: str) -> list[TrainingRecord]:
    """Of a network's seeds."""
    return [r for r in results.trainings if (r.run.network.name, r.run.scale) == (network, scale)]
