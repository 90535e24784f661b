"""Measure how fast pictures are prepared, packed, cut into batches and scored.

`python -m benchmarks.data --out data.md` runs everything on generated pictures: enlarged packaged
photographs with grain, whose PNG files are as large as DIV2K's. They stay in the system's cache, so
disks are not measured. Loading and training steps alternate; their ratio is the median of the
ratios of neighbours.
"""

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Annotated, NamedTuple

import numpy as np
import torch
import typer
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torch.nn import functional as F

import hitsr
from benchmarks.machine import Clock, machine, quartiles, seconds
from hitsr.data.images import Picture, read_image, write_png
from hitsr.data.loader import WORKERS, prefetched
from hitsr.data.packs import packed_pairs
from hitsr.data.patches import Patches
from hitsr.data.photographs import photographs
from hitsr.data.sources import prepare
from hitsr.measure.metrics import luma
from hitsr.measure.quality import score_folders

HEIGHT, WIDTH = 1356, 2040  # the size of many pictures of DIV2K
SCALES = (2, 3, 4)
BATCH, PATCH = 16, 64
BATCHES = 100  # batches made for one sample of the loader's speed


class Figure(NamedTuple):
    """Samples of one quantity, and its target."""

    work: str
    unit: str
    values: list[float]
    target: str = ""


Repeats = Annotated[int, typer.Option(min=1, help="Samples of each figure.")]


def main(
    out: Annotated[Path, typer.Option(help="Markdown table to write.")],
    repeats: Repeats = 5,
    pictures: Annotated[int, typer.Option(min=1, help="2K pictures to make.")] = 8,
    network: Annotated[list[str] | None, typer.Option(help="Network to train; repeatable.")] = None,
    clock: Annotated[
        Clock, typer.Option(help="cpu: processor time, for a shared machine.")
    ] = Clock.wall,
) -> None:
    """Measure the data path and evaluation, and write a table."""
    threads = os.cpu_count() or 1
    torch.set_num_threads(threads)
    figures: list[Figure] = []
    with TemporaryDirectory() as name:
        folder = Path(name)
        sources = {str(n): _make_picture(folder / "HR" / f"{n}.png", n) for n in range(pictures)}
        for figure in _figures(folder, sources, network or ["hit_sir"], repeats, clock):
            figures.append(figure)
            print(_line(figure), file=sys.stderr, flush=True)
            out.write_text(_page(figures, clock, threads), encoding="utf-8")


def _figures(
    folder: Path, sources: dict[str, Path], networks: list[str], repeats: int, clock: Clock
) -> Iterator[Figure]:
    yield _prepare(folder, sources, repeats, clock)
    yield from _pack(folder, repeats, clock)
    yield from _load(folder, networks, repeats, clock)
    yield from _score(sources["0"], repeats, clock)
    yield _quality(folder / "HR", repeats, clock)


def _make_picture(path: Path, seed: int) -> Path:
    """A corner of a photograph, enlarged four times, with grain; small photographs are repeated."""
    photos = photographs("test")
    photo = read_image(photos[seed % len(photos)].locate())
    corner = np.tile(photo, (2, 2, 1))[: HEIGHT // 4 + 1, : WIDTH // 4]
    large = hitsr.imresize(corner, 4)[:HEIGHT, :WIDTH]
    grain = np.random.default_rng(seed).normal(0, 2, large.shape)
    write_png(path, _bytes(large + grain))
    return path


def _bytes(samples: np.ndarray) -> Picture:
    return np.rint(samples.clip(0, 255)).astype(np.uint8)


def _prepare(folder: Path, sources: dict[str, Path], repeats: int, clock: Clock) -> Figure:
    """Make LR pictures on all cores; HR pictures are already in place."""

    def run() -> None:
        prepare(sources, folder, SCALES, lambda _: None)

    rates = []
    for _ in range(repeats):
        shutil.rmtree(folder / "LR_bicubic", ignore_errors=True)
        rates.append(len(sources) / seconds(run, clock))
    return Figure("prepare: HR to x2, x3 and x4", "pictures/s", rates, "2 or more of two cores")


def _pack(folder: Path, repeats: int, clock: Clock) -> Iterator[Figure]:
    """Decode pairs at x2 into packs; then check and open the existing packs."""

    def run() -> None:
        packed_pairs(folder, 2, folder / "packs", quiet=True)

    made, found = [], []
    count = len(list((folder / "HR").iterdir()))
    for _ in range(repeats):
        shutil.rmtree(folder / "packs", ignore_errors=True)
        made.append(count / seconds(run, clock))
        found.append(count / seconds(run, clock))
    yield Figure("pack: pairs at x2, decoded", "pairs/s", made)
    yield Figure("pack: pairs at x2, checked by hash and opened", "pairs/s", found)


def _load(folder: Path, networks: list[str], repeats: int, clock: Clock) -> Iterator[Figure]:
    """Make batches of 16 at 64x64, x2, alternating with a training step on one batch."""
    patches = Patches.from_folder(
        folder, scale=2, patch=PATCH, batch=BATCH, seed=1, packs=folder / "packs", quiet=True
    )

    def load() -> None:
        with prefetched(patches.at, range(BATCHES)) as batches:
            for _ in batches:
                pass

    what = f"batch {BATCH}, LR {PATCH}x{PATCH}, x2"
    rates: list[float] = []
    for name in networks:
        step = _training(name, patches)
        step()  # warms up
        pairs = [(seconds(step, clock), seconds(load, clock) / BATCHES) for _ in range(repeats)]
        rates += [1 / batch for _, batch in pairs]
        yield Figure(f"{name}: training step, {what}", "steps/s", [1 / each for each, _ in pairs])
        ratios = [each / batch for each, batch in pairs]
        yield Figure(f"{name}: batches made in the time of a step", "batches", ratios, "5 or more")
    yield Figure(f"loader, {WORKERS} threads, {what}", "batches/s", rates)


def _training(name: str, patches: Patches) -> Callable[[], None]:
    model = hitsr.create(name, 2).train()
    optimizer = torch.optim.Adam(model.parameters(), fused=True)
    lr, hr = map(torch.from_numpy, patches.at(0))

    def step() -> None:
        loss = F.l1_loss(model(lr), hr)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def _score(path: Path, repeats: int, clock: Clock) -> Iterator[Figure]:
    """Score one pair on luma in one thread, and compare the scores with scikit-image."""
    hr = read_image(path)
    sr = _bytes(hr + np.random.default_rng(0).normal(0, 5, hr.shape))

    def run() -> tuple[float, float]:
        return hitsr.psnr(sr, hr, border=2), hitsr.ssim(sr, hr, border=2)

    difference = max(abs(a - b) for a, b in zip(run(), _reference(sr, hr), strict=True))
    if difference > 1e-6:
        raise AssertionError(f"scores differ by {difference:.1e} from scikit-image's: above 1e-6")
    times = [seconds(run, clock) for _ in range(repeats)]
    yield Figure(f"PSNR and SSIM of {WIDTH}x{HEIGHT}, luma", "s", times, "0.3 or less")
    yield Figure("largest difference from scikit-image", "dB, or 1", [difference], "1e-6")


def _reference(sr: Picture, hr: Picture) -> tuple[float, float]:
    ours, true = (luma(image)[2:-2, 2:-2] for image in (sr, hr))
    _, similarity = structural_similarity(
        ours,
        true,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        data_range=255,
        full=True,
    )
    return (
        float(peak_signal_noise_ratio(true, ours, data_range=255)),
        float(similarity[5:-5, 5:-5].mean()),
    )


def _quality(hr: Path, repeats: int, clock: Clock) -> Figure:
    """Read and score pairs on luma and RGB on all cores, as `hitsr quality` does."""

    def run() -> None:
        score_folders(hr, hr, 2, quiet=True)

    count = len(list(hr.iterdir()))
    rates = [count / seconds(run, clock) for _ in range(repeats)]
    return Figure("quality: read and score, luma and RGB", "pictures/s", rates)


def _line(figure: Figure) -> str:
    low, high = quartiles(figure.values)
    middle, count = f"{median(figure.values):.3g} {figure.unit}", len(figure.values)
    return f"| {figure.work} | {middle} | {low:.3g} to {high:.3g} | {count} | {figure.target} |"


def _page(figures: list[Figure], clock: Clock, threads: int) -> str:
    """The table; rates are per second of wall time, or of processor time."""
    return "\n".join(
        [
            f"Pictures of {WIDTH}x{HEIGHT}, {clock} time, {threads} threads; {machine()}.",
            "",
            "| work | median | middle half | samples | target |",
            "|---|---|---|---|---|",
            *map(_line, figures),
            "",
        ]
    )


if __name__ == "__main__":
    typer.run(main)
