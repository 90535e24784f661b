"""Every figure that docs quote, in one run: `python -m benchmarks --out benchmarks.md`.

Each part is a program of its own (`python -m benchmarks.speed --help`) and runs in a fresh process.
The page is written after each; half an hour to an hour on two cores that are otherwise idle.
"""

import subprocess
import sys
from enum import StrEnum
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, NamedTuple

import typer


class Part(StrEnum):
    """A module of this package."""

    speed = "speed"
    modes = "modes"
    data = "data"
    large = "large"


class _Section(NamedTuple):
    title: str
    repeats: str  # the option that takes their number


SECTIONS = {
    Part.speed: _Section("Paper formulation beside fused", "--repeats"),
    Part.modes: _Section("torch.compile, and autocast to bfloat16", "--samples"),
    Part.data: _Section("Preparing, loading and scoring", "--repeats"),
    Part.large: _Section("Large pictures", "--tiles"),
}
INTRODUCTION = """# Benchmarks

Written by `python -m benchmarks`; a figure is a median, beside the middle
half of its samples. What two things have to do with each other is taken from runs in turns.
"""


def main(
    out: Annotated[Path, typer.Option(help="Markdown page to write.")],
    part: Annotated[list[Part] | None, typer.Option(help="Default: all.")] = None,
    repeats: Annotated[int, typer.Option(min=1, help="Samples of each figure.")] = 5,
) -> None:
    """Run every benchmark and write one page."""
    pages = [INTRODUCTION]
    with TemporaryDirectory() as folder:
        for each in part or list(Part):
            title, option = SECTIONS[each]
            page = Path(folder) / f"{each}.md"
            count = 1 if each is Part.large else repeats
            command = [sys.executable, "-m", f"benchmarks.{each}", "--out", str(page)]
            subprocess.run([*command, option, str(count)], check=True)
            pages.append(f"## {title}\n\n`python -m benchmarks.{each}`. {page.read_text()}")
            out.write_text("\n".join(pages))


if __name__ == "__main__":
    typer.run(main)
