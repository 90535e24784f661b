"""Training steps of every network in every way, in turns, and the memory that they take."""

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from statistics import median
from typing import NamedTuple

import torch
from torch import Tensor, nn

from benchmarks.cuda.bench import (
    SCALE,
    Bench,
    Measured,
    Result,
    clock_ms,
    network,
    published,
    ratio,
    table,
)
from hitsr.models.fused.cuda.choice import Kind, only
from hitsr.runtime.memory import watching
from hitsr.specs.network import Formulation
from hitsr.specs.recipe import Recipe, TrainingPrecision
from hitsr.training.kernels import autocast_of, kernels
from hitsr.training.step import TrainingStep

WARM_UP = 6  # steps; the third is captured where there is a graph
LITE_STEPS = 10_000


class Way(NamedTuple):
    """A way to take a step; without a formulation, that of the published code."""

    title: str
    formulation: Formulation | None = "fused"
    precision: TrainingPrecision = "float32"
    graph: bool = False
    deterministic: bool = False
    kind: Kind | None = None  # of what computes it; None: as the rule chooses


PUBLISHED, RELEASED = Way("published", None), Way("released", "released")
WAYS = (
    Way("float32, plain", kind="plain"),
    Way("float32, deterministic", deterministic=True),
    Way("float32"),
    Way("float32, graph", graph=True),
    Way("float32, deterministic, graph", graph=True, deterministic=True),
    Way("bfloat16, plain, graph", precision="bfloat16", graph=True, kind="plain"),
    Way("bfloat16", precision="bfloat16"),
    Way("bfloat16, graph", precision="bfloat16", graph=True),
    Way("bfloat16, deterministic, graph", precision="bfloat16", graph=True, deterministic=True),
    Way("float16", precision="float16"),
    Way("float16, graph", precision="float16", graph=True),
    Way("float16, deterministic, graph", precision="float16", graph=True, deterministic=True),
)


def training(bench: Bench) -> Result:
    """Steps of one network in every way take turns, network by network."""
    ways = [PUBLISHED if bench.published else RELEASED, *WAYS]
    if bench.device.type != "cuda":
        ways = [way for way in ways if not way.graph]
    rows, memory, raw, measured = [], [], dict[str, object](), Measured()
    for name in bench.networks:
        runs = {
            way.title: _Run(bench, name, way)
            for way in ways
            if way.formulation != "fused"
            or way.kind == "plain"
            or (name, way.precision) not in bench.broken
        }
        times = _in_turns(list(runs.values()), bench.samples)
        found = dict(zip(runs, times, strict=True))
        peaks = {title: run.peak_mb() for title, run in runs.items() if not run.way.graph}
        first = found[ways[0].title]
        cells = {
            title: f"{median(each):.1f} ({ratio(first, each):.2f}x)"
            for title, each in found.items()
        }
        nothing = {way.title: "failed" for way in ways}
        rows.append([name, *(nothing | cells).values()])
        shown = {title: f"{peak:.0f}" for title, peak in peaks.items()}
        memory.append([f"peak MB, {name}", *(dict.fromkeys(nothing, "") | shown).values()])
        raw[name] = found
        measured |= _measured(bench, name, found, peaks)
    head = ["", *(way.title for way in ways)]
    title = f"## Training steps, {bench.batch} patches of {bench.patch}x{bench.patch}, ms"
    page = f"{title}, and gain over the first\n\n{table(head, [*rows, *memory])}"
    return Result(page, raw, measured)


def _measured(
    bench: Bench, name: str, times: dict[str, list[float]], peaks: dict[str, float]
) -> Measured:
    """Gains are those of the faster launch, with or without a graph."""
    measured = Measured()
    for precision in ("float32", "bfloat16"):
        launches = [times[t] for t in (precision, f"{precision}, graph") if t in times]
        if not launches:
            continue
        best = min(launches, key=median)
        if bench.published:
            measured[name, f"training {precision}"] = ratio(times["published"], best)
        if precision == "bfloat16":
            measured[name, "lite"] = median(best) * LITE_STEPS / 60_000
    if bench.published and "bfloat16" in peaks:
        measured[name, "training memory"] = peaks["bfloat16"] / peaks["published"]
    return measured


class _Run:
    """Steps in one way, on the same batch."""

    def __init__(self, bench: Bench, name: str, way: Way) -> None:
        self.way, self.device = way, bench.device
        self.recipe = recipe_of(bench, way.precision, way.deterministic)
        self.batch = batch_of(bench)
        if way.formulation is None:
            model: nn.Module = published(bench, name)
        else:
            model = network(name, way.formulation, autocast=autocast_of(self.recipe))
        self.step = step_of(bench, model, self.recipe, way.graph)

    def _conditions(self) -> AbstractContextManager[None]:
        return only(self.way.kind) if self.way.kind else nullcontext()

    def take(self) -> float:
        """Milliseconds of one step."""
        with kernels(self.recipe, self.device), self._conditions():
            start = clock_ms(self.device)
            self.step(*self.batch)
            return clock_ms(self.device) - start

    def peak_mb(self) -> float:
        """MB that a step takes above network, optimizer and batch."""
        with watching(self.device) as memory:
            self.take()
            return memory.peak_bytes / 1e6


def _in_turns(runs: list[_Run], samples: int) -> list[list[float]]:
    """Milliseconds of steps in each way, after warm-up steps."""
    times = [[run.take() for run in runs] for _ in range(WARM_UP + samples)][WARM_UP:]
    return [list(each) for each in zip(*times, strict=True)]


def recipe_of(bench: Bench, precision: TrainingPrecision, deterministic: bool = False) -> Recipe:
    """Of a training with the bench's batches."""
    return Recipe(
        steps=1000,
        batch=bench.batch,
        patch=bench.patch,
        learning_rate=1e-4,
        precision=precision,
        deterministic=deterministic,
    )


def batch_of(bench: Bench) -> tuple[Tensor, Tensor]:
    """LR and HR patches of noise."""
    generator = torch.Generator().manual_seed(0)
    lr, hr = (
        torch.rand(bench.batch, 3, side, side, generator=generator).to(bench.device)
        for side in (bench.patch, bench.patch * SCALE)
    )
    return lr, hr


def step_of(
    bench: Bench, model: nn.Module, recipe: Recipe, graph: bool = False
) -> Callable[[Tensor, Tensor], Tensor]:
    """Steps of a network, which is moved to the device."""
    return TrainingStep(model.to(bench.device).train(), recipe, bench.device, graph, _complain)


def _complain(problem: str) -> None:
    print(problem, file=sys.stderr, flush=True)
