"""Have every kernel compiled before anything is timed, in several processes at once.

Triton compiles a kernel in a second or so, and keeps it on disk for other processes. A kernel that
fails may stop the GPU for its whole process: so each network runs in a process of its own first, in
each precision, and the parts leave out what failed.
"""

import os
import subprocess
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import nn

from benchmarks.cuda.bench import Bench, Using, network
from benchmarks.cuda.training import batch_of, recipe_of, step_of
from hitsr.measure.forwards import Work, conditions
from hitsr.models.fused.cuda.choice import only
from hitsr.runtime.precision import dtype_of
from hitsr.specs.steps import Precision
from hitsr.training.kernels import kernels

_PROCESSES, _TIMEOUT_S = 12, 240
_PRECISIONS: tuple[Precision, ...] = ("float32", "tf32", "float16", "bfloat16", "autocast")


def failures(bench: Bench) -> dict[tuple[str, str], str]:
    """Networks and precisions whose kernels fail, each with its reason."""
    works = [(name, each) for name in bench.networks for each in _PRECISIONS]
    with ThreadPoolExecutor(max(1, min(_PROCESSES, os.cpu_count() or 1))) as pool:
        reasons = pool.map(lambda work: _failure(bench, *work), works)
        return {work: reason for work, reason in zip(works, reasons, strict=True) if reason}


def _failure(bench: Bench, name: str, precision: Precision) -> str | None:
    values = [bench.device.type, *bench.output, bench.batch]
    code = f"from benchmarks.cuda.ready import run; run({name!r}, {precision!r}, *{values!r})"
    command = [sys.executable, "-W", "ignore", "-c", code]
    try:
        done = subprocess.run(
            command, capture_output=True, encoding="utf-8", timeout=_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        return f"took more than {_TIMEOUT_S} s"
    if done.returncode == 0:
        return None
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    return lines[-1] if lines else f"ended with status {done.returncode}"


def run(name: str, precision: Precision, device: str, width: int, height: int, batch: int) -> None:
    """Run one network's kernels once at all sizes; raises where one fails."""
    bench = Bench(torch.device(device), [name], 1, (width, height), batch, 1, None, None, {})
    for size in (bench.lr_size, (bench.patch, bench.patch)):
        _forward(Work(size, bench.device, precision=precision), Using(network(name), "kernel"))
    if precision in ("float32", "bfloat16"):
        autocast = precision == "bfloat16"
        recipe = recipe_of(bench, "bfloat16" if autocast else "float32")
        step = step_of(bench, network(name, autocast=autocast), recipe)
        with kernels(recipe, bench.device), only("kernel"):
            print(float(step(*batch_of(bench))))


def _forward(work: Work, model: nn.Module) -> None:
    dtype, (width, height) = dtype_of(work.precision), work.input_size
    model = model.to(work.device, dtype).eval()
    with conditions(work):
        out = model(torch.rand(1, 3, height, width, device=work.device, dtype=dtype))
        print(float(out.sum()))  # waits for the device, whose errors show then


def as_lines(failed: Iterable[tuple[tuple[str, str], str]]) -> str:
    """For the page."""
    return "\n".join(f"- {name}, {precision}: {reason}" for (name, precision), reason in failed)
