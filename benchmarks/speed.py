"""Compare the fused formulation with another, and attribution with a plain loop.

`python -m benchmarks.speed --out speed.md` measures everything; options select parts. The two sides
of a ratio alternate in one process, so that other load slows both; a ratio is the median of the
ratios of neighbours. Each ratio is measured in a fresh process, since an allocator keeps memory of
earlier, larger work. Memory is measured in a process for each side.

`--published FILE.py` names a file of yours with a function for each network, such as
`swinir_light(scale=2)`, that returns the published code's network: the fused formulation, with the
same weights, is then compared with it.
"""

import copy
import json
import multiprocessing
import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from enum import StrEnum
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Annotated, NamedTuple

import numpy as np
import torch
import typer
from torch import nn
from torch.nn import functional as F

import hitsr
from benchmarks.machine import Clock, machine, quartiles, seconds
from benchmarks.published import Published, check, load_published
from hitsr.measure.attribution import PUBLISHED
from hitsr.measure.attribution_batches import objective
from hitsr.measure.attribution_path import BlurPath
from hitsr.runtime.memory import watching
from hitsr.specs.network import Formulation

ATTRIBUTED = ("hit_sir", "swinir_light")
WINDOW = (120, 120, 16)  # x, y, side of the attributed window, in the middle of 256x256


class Work(StrEnum):
    """The work that is measured."""

    large = "inference, LR 320x180, x4"
    small = "inference, LR 64x64, x2"
    training = "training step, batch 4, LR 64x64, x2"
    attribution = "attribution, 50 steps, LR 64x64, x4"
    memory = "memory above rest, LR 320x180, x4"


class Other(NamedTuple):
    """What the fused formulation is compared with: another one, or the published code."""

    formulation: Formulation
    published: Path | None = None

    @property
    def title(self) -> str:
        return "published" if self.published else self.formulation

    def create(self, name: str, scale: int) -> nn.Module:
        if self.published:
            return load_published(self.published, name, scale)
        return hitsr.create(name, scale, formulation=self.formulation)


FUSED = Other("fused")


class Row(NamedTuple):
    """Samples of both sides of a ratio, measured in turns."""

    work: Work
    network: str
    before: list[float]
    after: list[float]

    @property
    def ratios(self) -> list[float]:
        return [before / after for before, after in zip(self.before, self.after, strict=True)]


Repeats = Annotated[int, typer.Option(min=1, help="Pairs per ratio, after a warm-up pair.")]


def main(
    out: Annotated[Path, typer.Option(help="Markdown table to write.")],
    repeats: Repeats = 5,
    network: Annotated[list[str] | None, typer.Option(help="Default: all six.")] = None,
    work: Annotated[list[Work] | None, typer.Option(help="Default: all.")] = None,
    clock: Annotated[
        Clock, typer.Option(help="cpu: processor time, for a shared machine.")
    ] = Clock.wall,
    threads: Annotated[int, typer.Option(min=1)] = os.cpu_count() or 1,
    before: Annotated[Formulation, typer.Option(help="What fused is compared with.")] = "paper",
    published: Published = None,
) -> None:
    """Measure ratios and write them as a table."""
    check(network or hitsr.NETWORKS, published)
    other = Other(before, published)
    rows: list[Row] = []
    for each in work or list(Work):
        for name in network or hitsr.NETWORKS:
            if each is Work.attribution and name not in ATTRIBUTED:
                continue
            with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
                row = process.submit(_measure, each, name, other, repeats, clock, threads).result()
            rows.append(row)
            print(_line(row), file=sys.stderr, flush=True)
            out.write_text(_page(rows, other, clock, threads), encoding="utf-8")


def _measure(work: Work, name: str, other: Other, repeats: int, clock: Clock, threads: int) -> Row:
    torch.set_num_threads(threads)
    if work is Work.memory:
        found = [[_peak_mb(name, side) for side in (other, FUSED)] for _ in range(repeats)]
    else:
        sides = _attributions(name) if work is Work.attribution else _steps(work, name, other)
        warm_up = (
            0 if work is Work.attribution else 1
        )  # attributions have already run once, to be compared
        found = [[seconds(side, clock) for side in sides] for _ in range(warm_up + repeats)]
        found = found[warm_up:]
    return Row(work, name, *map(list, zip(*found, strict=True)))


def _steps(
    work: Work, name: str, compared: Other
) -> tuple[Callable[[], object], Callable[[], object]]:
    """Equal work of both sides, with equal weights."""
    scale = 4 if work is Work.large else 2
    other, fused = compared.create(name, scale), hitsr.create(name, scale)
    hitsr.load_weights(fused, other.state_dict())
    if work is Work.training:
        return (lambda: _train(other)), (lambda: _train(fused))
    lr = torch.rand(1, 3, 180, 320) if work is Work.large else torch.rand(1, 3, 64, 64)
    return (lambda: _infer(other, lr)), (lambda: _infer(fused, lr))


def _infer(model: nn.Module, lr: torch.Tensor) -> None:
    model.eval()
    with torch.inference_mode():
        model(lr)


def _train(model: nn.Module) -> None:
    """Forward and backward only; the optimiser's step does not depend on the formulation."""
    model.train().zero_grad(set_to_none=True)
    F.l1_loss(model(torch.rand(4, 3, 64, 64)), torch.zeros(4, 3, 128, 128)).backward()


def _attributions(name: str) -> tuple[Callable[[], object], Callable[[], object]]:
    """The plain loop and `local_attribution` on one network, after a check that they agree.

    The check uses float64: with random weights outputs are so flat that float32 changes maps by
    1e-4.
    """
    model = hitsr.create(name, 4).eval()
    lr = F.interpolate(torch.rand(1, 3, 16, 16), size=64, mode="bicubic").clamp(0, 1)
    exact, corner, window = copy.deepcopy(model).double(), lr[..., :32, :32].double(), (48, 48, 16)
    found = hitsr.local_attribution(exact, corner, window).channels
    maps = [np.abs(each.sum(0)) for each in (_plain_loop(exact, corner, window), found)]
    difference = np.abs(maps[0] / maps[0].max() - maps[1] / maps[1].max()).max()
    if difference > 1e-5:
        raise AssertionError(f"{name}: maps differ by {difference:.1e}, more than 1e-5")
    return (
        lambda: _plain_loop(model, lr, WINDOW),
        lambda: hitsr.local_attribution(model, lr, WINDOW),
    )


def _plain_loop(model: nn.Module, lr: torch.Tensor, window: tuple[int, int, int]) -> np.ndarray:
    """Attribution one step of the path at a time, with gradients of parameters too."""
    sigmas = np.linspace(PUBLISHED.sigma, 0, PUBLISHED.steps + 1)
    pictures = BlurPath(lr[0].double().numpy(), PUBLISHED).at(sigmas)
    total = np.zeros_like(pictures[0])
    for before, after in pairwise(pictures):
        node = torch.from_numpy(after).to(lr.dtype)[None].requires_grad_()
        model.zero_grad(set_to_none=True)
        objective(model(node), window).sum().backward()
        assert node.grad is not None
        total += node.grad[0].double().numpy() * (after - before)
    return total


def _peak_mb(name: str, side: Other) -> float:
    """Peak MB above rest of a fresh process, which holds the network and the picture at rest."""
    file = str(side.published) if side.published else None
    code = f"from benchmarks.speed import peak; peak({name!r}, {side.formulation!r}, {file!r})"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        encoding="utf-8",
        check=True,
        env={**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())},
    )
    return float(json.loads(done.stdout))


def peak(name: str, formulation: Formulation, published: str | None) -> None:
    """Print the MB that two forwards of 320x180 at x4 take above rest.

    A forward of 8x8 comes first, so that PyTorch's libraries are loaded before.
    """
    model = Other(formulation, Path(published) if published else None).create(name, 4)
    _infer(model, torch.rand(1, 3, 8, 8))
    lr = torch.rand(1, 3, 180, 320)
    with watching(torch.device("cpu")) as memory:
        for _ in range(2):
            _infer(model, lr)
        print(json.dumps(memory.peak_bytes / 1e6))


def _line(row: Row) -> str:
    unit = "MB" if row.work is Work.memory else "s"
    before, after = (f"{median(side):.3g} {unit}" for side in (row.before, row.after))
    low, high = quartiles(row.ratios)
    ratio = f"{median(row.ratios):.2f}x | {low:.2f} to {high:.2f}"
    return f"| {row.work} | {row.network} | {before} | {after} | {ratio} | {len(row.before)} |"


def _page(rows: list[Row], other: Other, clock: Clock, threads: int) -> str:
    """Medians of both sides, and median and middle half of their ratios."""
    header = (
        f"| work | network | {other.title} or plain | fused or ours | ratio | middle half | pairs |"
    )
    return "\n".join(
        [
            f"float32, {clock} time, {threads} thread{'s' * (threads > 1)}; {machine()}.",
            "",
            header,
            "|---|---|---|---|---|---|---|",
            *map(_line, rows),
            "",
        ]
    )


if __name__ == "__main__":
    typer.run(main)
