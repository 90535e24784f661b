"""Measure what a training costs besides its steps, and what computing activations again costs.

`python -m benchmarks.training --out training.md` takes steps of each network as a training does, on
patches of noise. Waiting for the loader is the time from one step's end to the next one's begin.
Checkpoints are written to the disk of temporary files, and their time is compared with that of the
steps between two. A resume is timed in a fresh process, from the start of the process to the end of
its first step; opening packs of pictures (`benchmarks.data`) comes on top. Steps that keep
activations and steps that compute them again alternate; memory is that of a fresh process for each.
"""

import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Annotated, NamedTuple

import numpy as np
import psutil
import torch
import typer
from torch import Tensor, nn

import hitsr
from benchmarks.machine import Clock, machine, seconds
from hitsr.base.seeds import derive
from hitsr.data.patches import Patches
from hitsr.records.checkpoint import Identity, folder_of
from hitsr.runtime.memory import watching
from hitsr.specs.recipe import Recipe
from hitsr.specs.run import RunSpec
from hitsr.training.checkpoints import (
    last_checkpoint,
    save_checkpoint,
)
from hitsr.training.feeding import fed
from hitsr.training.journal import USUAL
from hitsr.training.kernels import kernels
from hitsr.training.loop import ToBeContinuedError, train
from hitsr.training.recomputed import recompute_activations
from hitsr.training.step import TrainingStep

BATCH, PATCH, SCALE = 4, 64, 2
CPU = torch.device("cpu")


class Row(NamedTuple):
    """Samples of one network."""

    network: str
    steps_s: list[float]
    waits_s: list[float]  # for the loader, before each step
    checkpoints_s: list[float]
    resume_s: float
    kept_s: list[float]  # steps that keep activations, and those that compute them again
    recomputed_s: list[float]
    kept_mb: float
    recomputed_mb: float


def main(
    out: Annotated[Path, typer.Option(help="Markdown table to write.")],
    steps: Annotated[int, typer.Option(min=1, help="Of each kind, after a warm-up step.")] = 5,
    network: Annotated[list[str] | None, typer.Option(help="Default: all six.")] = None,
    threads: Annotated[int, typer.Option(min=1)] = os.cpu_count() or 1,
) -> None:
    """Measure all networks and write a table."""
    torch.set_num_threads(threads)
    rows: list[Row] = []
    for name in network or hitsr.NETWORKS:
        rows.append(_measured(name, steps, threads))
        print(_line(rows[-1]), file=sys.stderr, flush=True)
        out.write_text(_page(rows, threads), encoding="utf-8")


def _measured(name: str, steps: int, threads: int) -> Row:
    with TemporaryDirectory() as folder, _fresh_process() as process:
        one_step(name, Path(folder), threads)
        resume_s = process.submit(one_step, name, Path(folder), threads).result()
        with kernels(_run(name).recipe, CPU):
            taken, waits = _fed_steps(name, steps)
            kept, recomputed = _steps_in_turns(name, steps)
            checkpoints = _checkpoints(name, Path(folder), steps)
    peaks = []
    for recomputes in (False, True):
        with _fresh_process() as process:
            peaks.append(process.submit(peak_mb, name, recomputes, threads).result())
    return Row(name, taken, waits, checkpoints, resume_s, kept, recomputed, *peaks)


@contextmanager
def _fresh_process() -> Iterator[ProcessPoolExecutor]:
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        yield process


def _run(name: str) -> RunSpec:
    recipe = Recipe(
        steps=1000, batch=BATCH, patch=PATCH, learning_rate=1e-4, log_every=1, validate_every=1
    )
    return RunSpec(
        network=hitsr.NETWORKS[name], scale=SCALE, recipe=recipe, data="noise", validation="none",
        seed=1,
    )  # fmt: skip


def _patches(run: RunSpec) -> Patches:
    hr = np.random.default_rng(0).integers(0, 256, (1024, 1024, 3), np.uint8)
    seed = derive(run.seed, "patches")
    return Patches([(hr[::2, ::2], hr)], scale=SCALE, patch=PATCH, batch=BATCH, seed=seed)


def _model(name: str) -> nn.Module:
    torch.manual_seed(0)
    return hitsr.create(name, SCALE).train()


def _step(name: str, *, recomputes: bool = False) -> TrainingStep:
    model = _model(name)
    if recomputes:
        recompute_activations(model)
    return TrainingStep(model, _run(name).recipe, CPU, graph=False, tell=print)


def one_step(name: str, folder: Path, threads: int) -> float:
    """Train in a folder for one step, from its checkpoint if there is one, and stop.

    Returns the seconds from the start of the process to the end of the step.
    """
    torch.set_num_threads(threads)
    run, ends = _run(name), []

    def validate(_: nn.Module) -> float:
        ends.append(time.time())
        os.kill(os.getpid(), signal.SIGUSR1)
        return 30.0

    try:
        train(
            _model(name), run, _patches(run), validate, folder, CPU, job_hash="0",
            tell=lambda _: None, quiet=True,
        )  # fmt: skip
    except ToBeContinuedError:
        return ends[0] - psutil.Process().create_time()
    raise AssertionError("the training did not stop")


def _fed_steps(name: str, steps: int) -> tuple[list[float], list[float]]:
    """Seconds of steps, and of the waits for their batches."""
    step, taken, waits = _step(name), [], []
    with fed(_patches(_run(name)), range(1, steps + 2), CPU) as batches:
        for _ in range(steps + 1):
            start = time.perf_counter()
            batch = next(batches)
            fetched = time.perf_counter()
            step(*batch)
            waits.append(fetched - start)
            taken.append(time.perf_counter() - fetched)
    return taken[1:], waits[1:]


def _steps_in_turns(name: str, steps: int) -> tuple[list[float], list[float]]:
    """Processor seconds of steps that keep activations, and of steps that do not."""
    batch = _batch(PATCH)
    sides = [_step(name, recomputes=recomputes) for recomputes in (False, True)]
    works = [partial(side, *batch) for side in sides]
    times = [[seconds(work, Clock.cpu) for work in works] for _ in range(steps + 1)]
    kept, recomputed = map(list, zip(*times[1:], strict=True))
    return kept, recomputed


def _checkpoints(name: str, folder: Path, count: int) -> list[float]:
    """Seconds to write the state after a step."""
    run = _run(name)
    identity = Identity(job_hash="0", run=run, pictures=_patches(run).digest)
    found = last_checkpoint(folder_of(folder), identity, print)
    assert found is not None
    step = _step(name)
    step.load(found.tensors, found.position.step)

    def save() -> None:
        save_checkpoint(folder_of(folder), identity, found._replace(tensors=step.state()))

    return [seconds(save, Clock.wall) for _ in range(count)]


def peak_mb(name: str, recomputes: bool, threads: int) -> float:
    """Peak MB of the second step, above rest; the first one is on patches of 8x8."""
    torch.set_num_threads(threads)
    step = _step(name, recomputes=recomputes)
    with kernels(_run(name).recipe, CPU):
        step(*_batch(8))
        batch = _batch(PATCH)
        with watching(CPU) as memory:
            step(*batch)
            return memory.peak_bytes / 1e6


def _batch(side: int) -> tuple[Tensor, Tensor]:
    return torch.rand(BATCH, 3, side, side), torch.rand(BATCH, 3, side * SCALE, side * SCALE)


def _line(row: Row) -> str:
    waits = median(w / (w + s) for w, s in zip(row.waits_s, row.steps_s, strict=True))
    overhead = median(row.checkpoints_s) / (USUAL.checkpoint_every * median(row.steps_s))
    again = median(b / a for a, b in zip(row.kept_s, row.recomputed_s, strict=True))
    return (
        f"| {row.network} | {median(row.steps_s):.2f} s | {waits:.2%} "
        f"| {median(row.checkpoints_s) * 1000:.0f} ms | {overhead:.3%} | {row.resume_s:.1f} s "
        f"| {row.kept_mb:.0f} to {row.recomputed_mb:.0f} MB | {again:.2f}x |"
    )


def _page(rows: list[Row], threads: int) -> str:
    what = f"Batch {BATCH}, LR {PATCH}x{PATCH}, x{SCALE}, float32, {threads} threads; {machine()}."
    every = f"share of {USUAL.checkpoint_every} steps"
    head = (
        f"| network | step | waits for the loader | checkpoint | {every} | resume "
        "| memory, activations computed again | their time |"
    )
    return "\n".join([what, "", head, "|---|---|---|---|---|---|---|---|", *map(_line, rows), ""])


if __name__ == "__main__":
    typer.run(main)
