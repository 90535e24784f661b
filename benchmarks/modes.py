"""Measure the gain from torch.compile and from autocast to bfloat16, and how much outputs change.

`python -m benchmarks.modes --out modes.md` measures all six networks at LR 64x64, x2. The plain
network and both modes have equal weights and take turns; a gain is the median of the ratios of
neighbours. The time to compile is that of the first forward.
"""

import os
import sys
from pathlib import Path
from statistics import median
from typing import Annotated, NamedTuple

import torch
import typer

import hitsr
from benchmarks.machine import machine, quartiles
from hitsr.measure.forwards import Work
from hitsr.measure.latency import measure
from hitsr.models.backbone import SuperResolver
from hitsr.records import Timing

LR = (64, 64)  # pixels
WARMUP = 3  # forwards; the first one compiles


class Row(NamedTuple):
    """Times of a plain network, and of the network in one mode."""

    network: str
    mode: str
    plain: Timing
    other: Timing
    difference: float  # largest difference of an output sample, in [0, 1]

    @property
    def gains(self) -> list[float]:
        """How many times as fast the mode is, per pair of neighbouring forwards."""
        pairs = zip(self.plain.samples_ms, self.other.samples_ms, strict=True)
        return [plain / other for plain, other in pairs]


def main(
    out: Annotated[Path, typer.Option(help="Markdown table to write.")],
    samples: Annotated[int, typer.Option(min=1, help="Forwards in turns.")] = 10,
    network: Annotated[list[str] | None, typer.Option(help="Default: all six.")] = None,
    threads: Annotated[int, typer.Option(min=1)] = os.cpu_count() or 1,
) -> None:
    """Measure both modes and write them as a table."""
    torch.set_num_threads(threads)
    rows: list[Row] = []
    for name in network or hitsr.NETWORKS:
        rows += _measure(name, samples)
        print("\n".join(map(_line, rows[-2:])), file=sys.stderr, flush=True)
        out.write_text(_page(rows, threads), encoding="utf-8")


def _measure(name: str, samples: int) -> list[Row]:
    torch.manual_seed(0)
    plain = hitsr.create(name, 2).eval()
    modes = {
        "compiled": hitsr.create(name, 2, compile=True).eval(),
        "autocast": hitsr.create(name, 2, autocast=True).eval(),
    }
    for model in modes.values():
        model.load_state_dict(plain.state_dict())
    work = Work(LR, torch.device("cpu"))
    first, *others = measure([plain, *modes.values()], work, warmup=WARMUP, samples=samples)
    expected = _output(plain)
    return [
        Row(name, mode, first, timing, float((_output(model) - expected).abs().max()))
        for (mode, model), timing in zip(modes.items(), others, strict=True)
    ]


def _output(model: SuperResolver) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    with torch.inference_mode():
        out: torch.Tensor = model(torch.rand(1, 3, *LR, generator=generator))
    return out


def _line(row: Row) -> str:
    plain_ms, other_ms = (median(timing.samples_ms) for timing in (row.plain, row.other))
    low, high = quartiles(row.gains)
    first = f"{row.other.warmup_ms[0] / 1000:.0f} s" if row.other.warmup_ms else ""
    return (
        f"| {row.network} | {row.mode} | {plain_ms:.0f} ms | {other_ms:.0f} ms "
        f"| {median(row.gains):.2f}x | {low:.2f} to {high:.2f} "
        f"| {first if row.mode == 'compiled' else ''} | {row.difference:.1e} |"
    )


def _page(rows: list[Row], threads: int) -> str:
    return "\n".join(
        [
            f"LR {LR[0]}x{LR[1]}, x2, float32 weights, {threads} threads; {machine()}.",
            "",
            "| network | mode | plain | mode | gain | middle half | first forward | change |",
            "|---|---|---|---|---|---|---|---|",
            *map(_line, rows),
            "",
        ]
    )


if __name__ == "__main__":
    typer.run(main)
