"""Measure all that a GPU decides: `python -m benchmarks.cuda --out cuda.md`.

Of all six networks at x2: forwards at an output of 1280x720 and at LR 64x64, with kernels and
without, in every precision, and launched kernel by kernel or at once; their memory; how far results
and gradients are from the paper formulation; training steps of 16 patches; every kernel by itself;
and local attribution maps at x4. What is compared takes turns in one process; a ratio is the median
of the ratios of neighbours.

`--published FILE.py` names a file of yours with a function for each network, such as
`swinir_light(scale=2)`, that returns the published code's network: it then takes turns with ours,
and the table at the top says which targets were reached. `--weights FOLDER` has trained weights,
such as `hit_srf_x2.safetensors`, for the precisions. `--part` measures a part alone. `--device cpu`
with small sizes tries the program itself; with TRITON_INTERPRET=1 also its table of kernels.
"""

import json
import os
import sys
import time
import traceback
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import torch
import typer

import hitsr
from benchmarks.cuda import ready
from benchmarks.cuda.attribution import attribution
from benchmarks.cuda.bench import SCALE, Bench, Measured, Result, as_on_a_gpu, table
from benchmarks.cuda.forwards import large, small
from benchmarks.cuda.kernels import kernels
from benchmarks.cuda.precision import precision
from benchmarks.cuda.targets import compared
from benchmarks.cuda.training import training
from benchmarks.machine import machine
from benchmarks.published import Published, check
from hitsr.base.errors import in_one_line
from hitsr.runtime.devices import pick_device
from hitsr.runtime.precision import KERNEL_SWITCH
from hitsr.runtime.trials import chosen
from hitsr.training.kernels import allow_deterministic_products


class Part(StrEnum):
    """A part of the page."""

    large = "large"
    small = "small"
    precision = "precision"
    training = "training"
    kernels = "kernels"
    attribution = "attribution"


_PARTS: dict[Part, Callable[[Bench], Result]] = {
    Part.large: large,
    Part.small: small,
    Part.precision: precision,
    Part.training: training,
    Part.kernels: kernels,
    Part.attribution: attribution,
}


def main(
    out: Annotated[Path, typer.Option(help="Markdown page to write; samples go to .json beside.")],
    part: Annotated[list[Part] | None, typer.Option(help="Default: all.")] = None,
    network: Annotated[list[str] | None, typer.Option(help="Default: all six.")] = None,
    published: Published = None,
    weights: Annotated[Path | None, typer.Option(help="Your folder of trained weights.")] = None,
    device: Annotated[str, typer.Option(help="cuda, or cuda:1.")] = "cuda",
    output_size: Annotated[str, typer.Option(help="WIDTHxHEIGHT in pixels.")] = "1280x720",
    samples: Annotated[int, typer.Option(min=1, help="Forwards or steps in turns.")] = 6,
    batch: Annotated[int, typer.Option(min=1, help="Patches of a training step.")] = 16,
    windows: Annotated[int, typer.Option(min=1, help="Attribution maps per network.")] = 20,
) -> None:
    """Measure and write one page; it is written anew after each part.

    A part that fails has its error on the page, and the others are still measured.
    """
    networks = network or list(hitsr.NETWORKS)
    check(networks, published)
    allow_deterministic_products()
    width, height = map(int, output_size.split("x"))
    bench = Bench(
        pick_device(device),
        networks,
        samples,
        (width, height),
        batch,
        windows,
        published,
        weights,
        {},
    )
    started, notes = time.monotonic(), ""
    if bench.device.type == "cuda":
        bench = bench._replace(broken=ready.failures(bench))
        notes = f"Kernels were compiled in {time.monotonic() - started:.0f} s."
        if bench.broken:
            notes += f" What failed, and is left out:\n\n{ready.as_lines(bench.broken.items())}"
    pages, raw, measured, failed = list[str](), dict[str, object](), Measured(), False
    for each in part or list(Part):
        try:
            with as_on_a_gpu(bench):
                result = _PARTS[each](bench)
            raw[each] = result.raw
            measured |= result.measured
            pages.append(result.page)
        except Exception as error:
            failed = True
            traceback.print_exc()
            pages.append(f"## {each}: failed\n\n{in_one_line(error)}")
        print(f"{each}: {time.monotonic() - started:.0f} s so far", file=sys.stderr, flush=True)
        top = [_introduction(bench), notes, compared(measured, bench.networks, bool(published))]
        page = "\n\n".join(filter(None, [*top, *pages, _choices(bench)]))
        out.write_text(page + "\n", encoding="utf-8")
        out.with_suffix(".json").write_text(json.dumps(raw, indent=1), encoding="utf-8")
    if failed or bench.broken:
        raise typer.Exit(1)


def _introduction(bench: Bench) -> str:
    name = "a CPU"
    if bench.device.type == "cuda":
        capability = ".".join(map(str, torch.cuda.get_device_capability(bench.device)))
        name = f"{torch.cuda.get_device_name(bench.device)}, compute capability {capability}"
    size = "x".join(map(str, bench.output))
    switch = f"{KERNEL_SWITCH}={os.environ.get(KERNEL_SWITCH, 'auto')}"
    return (
        f"# On a GPU\n\n`python -m benchmarks.cuda`, x{SCALE}, output {size}, batch 1 unless said, "
        f"on {name}; {machine()}, CUDA {torch.version.cuda}, {switch}. Milliseconds are medians of "
        f"{bench.samples}."
    )


def _choices(bench: Bench) -> str:
    """What the rule chose by trial, and why kernels were refused."""
    rows = [[asked, way] for asked, way in sorted(chosen(bench.device).items())]
    return f"## What was chosen by trial\n\n{table(['', ''], rows)}" if rows else ""


if __name__ == "__main__":
    typer.run(main)
