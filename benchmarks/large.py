"""Measure memory and time of upscaling a picture of 4096x2528 at x2.

`python -m benchmarks.large --out large.md` runs all six networks, each in its own process, on the
first tiles of the picture; the whole picture takes more than half an hour per network (`--whole`).
Time for the whole picture is extrapolated by the LR pixels in all tiles, memory by the samples of
both pictures and the floats of one row of tiles.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import torch
import typer

import hitsr
from benchmarks.machine import machine
from hitsr.runtime.memory import watching
from hitsr.upscaling.inference import upscale
from hitsr.upscaling.tile_size import tile_side_for_memory
from hitsr.upscaling.tiling import Tiling, largest_tiling, spans

SIZE, SCALE = (2528, 4096), 2  # height and width of the LR picture
CPU = torch.device("cpu")


class Cost(NamedTuple):
    """Measured cost of upscaling a picture, or its first tiles."""

    network: str
    step: int  # LR pixels, as in `Tiling`
    overlap: int
    height: int  # LR pixels
    width: int
    seconds: float
    peak_bytes: int  # peak resident set of the process

    @property
    def tiling(self) -> Tiling:
        return Tiling(self.step, self.overlap)


def main(
    out: Annotated[Path, typer.Option(help="Markdown table to write.")],
    network: Annotated[list[str] | None, typer.Option(help="Default: all six.")] = None,
    tiles: Annotated[int, typer.Option(min=1, help="Number of tiles, from the top left.")] = 2,
    whole: Annotated[bool, typer.Option(help="All tiles.")] = False,
    threads: Annotated[int, typer.Option(min=1)] = os.cpu_count() or 1,
) -> None:
    """Measure each network and write a table."""
    rows: list[Cost] = []
    for name in network or hitsr.NETWORKS:
        rows.append(_in_a_process(name, 0 if whole else tiles, threads))
        print(_line(rows[-1]), file=sys.stderr, flush=True)
        out.write_text(_page(rows, threads), encoding="utf-8")


def _in_a_process(name: str, tiles: int, threads: int) -> Cost:
    code = f"from benchmarks.large import measure; measure({name!r}, {tiles}, {threads})"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, stdout=subprocess.PIPE, encoding="utf-8", check=True)
    return Cost(**json.loads(done.stdout))


def measure(name: str, tiles: int, threads: int) -> None:
    """Print the cost of the first `tiles` tiles of a row; 0: of the whole picture."""
    torch.set_num_threads(threads)
    model = hitsr.create(name, SCALE)
    side = tile_side_for_memory(model, model, SIZE, CPU)
    tiling = largest_tiling(model, side or max(SIZE))
    height, width = (tiling.side, spans(SIZE[1], tiling)[:tiles][-1].stop) if tiles else SIZE
    lr = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    with watching(CPU) as memory:
        start = time.perf_counter()
        upscale(model, lr, tile=tiling.side)
        seconds = time.perf_counter() - start
        cost = Cost(name, *tiling, height, width, seconds, memory.highest())
    print(json.dumps(cost._asdict()))


def _in_tiles(cost: Cost, height: int, width: int) -> int:
    """LR pixels that the network processes; overlaps count more than once."""
    down, right = (
        sum(place.stop - place.start for place in spans(length, cost.tiling))
        for length in (height, width)
    )
    return down * right


def _around(cost: Cost, height: int, width: int) -> int:
    """Bytes besides the network's: samples of both pictures, and floats of two rows of tiles."""
    floats = 2 * 4 * min(height, cost.tiling.side) * width * SCALE**2
    return 3 * (height * width * (1 + SCALE**2) + floats)


def _line(cost: Cost) -> str:
    measured = cost.height, cost.width
    share = _in_tiles(cost, *SIZE) / _in_tiles(cost, *measured)
    per_megapixel = cost.seconds * share / (SIZE[0] * SIZE[1] * SCALE**2 / 1e6)
    whole_gb = (cost.peak_bytes + _around(cost, *SIZE) - _around(cost, *measured)) / 1e9
    count = len(spans(SIZE[0], cost.tiling)) * len(spans(SIZE[1], cost.tiling))
    return (
        f"| {cost.network} | {cost.tiling.side} ({cost.overlap}) | {count} "
        f"| {cost.width}x{cost.height} | {cost.seconds:.0f} s | {cost.peak_bytes / 1e9:.2f} GB "
        f"| {whole_gb:.2f} GB | {per_megapixel:.1f} s |"
    )


def _page(rows: list[Cost], threads: int) -> str:
    header = (
        "| network | tile (overlap) | tiles of the whole | measured on | took | peak, measured "
        "| peak, whole | per output megapixel, whole |"
    )
    return "\n".join(
        [
            f"LR {SIZE[1]}x{SIZE[0]} at x{SCALE}, float32, {threads} threads; {machine()}. Peaks "
            "are of the resident set of a process; values for the whole picture are extrapolated "
            "if only some tiles were measured. Encoding the file is not included.",
            "",
            header,
            "|" + "---|" * 8,
            *map(_line, rows),
            "",
        ]
    )


if __name__ == "__main__":
    typer.run(main)
