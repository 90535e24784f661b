"""Measure every figure that docs quote: `python -m benchmarks --out benchmarks.md`.

Each part is a separate program (`python -m benchmarks.speed --help`) and runs in a fresh process.
The page is updated after each part. All parts take up to an hour on two idle cores.
With `--published FILE.py`, speed is compared with the published code's (`benchmarks.published`).
"""

import subprocess
import sys
from enum import StrEnum
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, NamedTuple

import typer

from benchmarks.published import Published


class Part(StrEnum):
    """A module of this package."""

    speed = "speed"
    modes = "modes"
    data = "data"
    training = "training"
    large = "large"
    pipeline = "pipeline"


class _Section(NamedTuple):
    title: str
    repeats: str  # the part's option for the number of samples


SECTIONS = {
    Part.speed: _Section("Paper and fused formulation", "--repeats"),
    Part.modes: _Section("torch.compile, and autocast to bfloat16", "--samples"),
    Part.data: _Section("Preparing, loading and scoring", "--repeats"),
    Part.training: _Section("What a training costs besides its steps", "--steps"),
    Part.large: _Section("Large pictures", "--tiles"),
    Part.pipeline: _Section("What the pipeline costs besides its jobs", "--repeats"),
}
INTRODUCTION = """# Benchmarks

Written by `python -m benchmarks`; each figure is a median, shown with
the middle half of its samples. Ratios come from runs that took turns.
"""


def main(
    out: Annotated[Path, typer.Option(help="Markdown page to write.")],
    part: Annotated[list[Part] | None, typer.Option(help="Default: all.")] = None,
    repeats: Annotated[int, typer.Option(min=1, help="Samples of each figure.")] = 5,
    published: Published = None,
) -> None:
    """Run every benchmark and write one page."""
    pages = [INTRODUCTION]
    with TemporaryDirectory() as folder:
        for each in part or list(Part):
            title, option = SECTIONS[each]
            page = Path(folder) / f"{each}.md"
            count = 1 if each is Part.large else repeats
            command = [sys.executable, "-m", f"benchmarks.{each}", "--out", str(page)]
            if each is Part.speed and published:
                command += ["--published", str(published)]
            subprocess.run([*command, option, str(count)], check=True)
            pages.append(
                f"## {title}\n\n`python -m benchmarks.{each}`. {page.read_text(encoding='utf-8')}"
            )
            out.write_text("\n".join(pages), encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
