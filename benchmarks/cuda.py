"""Measure all that a GPU decides: `python -m benchmarks.cuda --out cuda.md`, in under four minutes.

Of all six networks at x2: every step from the released code to one launch, at an output of 1280x720
and at LR 64x64; how far lower precisions are from float32; memory of a forward; training steps of
16 patches; and local attribution maps at x4. What is compared takes turns in one process; a ratio
is the median of the ratios of neighbours.

`--published FILE.py` names a file of yours with a function for each network, such as
`swinir_light(scale=2)`, that returns the published code's network: it then takes turns with ours.
`--weights FOLDER` has trained weights, such as `hit_srf_x2.safetensors`, for the precisions.
`--device cpu` with small sizes tries the program itself.
"""

import json
import sys
import time
import traceback
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from statistics import median
from typing import Annotated, NamedTuple

import torch
import typer
from torch import Tensor, nn
from torch.nn import functional as F

import hitsr
from benchmarks.machine import machine
from hitsr.base.errors import in_one_line
from hitsr.measure.attribution import local_attributions
from hitsr.measure.forwards import Work, conditions
from hitsr.measure.latency import WarmUp, measure_each
from hitsr.models.own import load_own
from hitsr.plan.subjects import find_weights
from hitsr.records import Timing
from hitsr.runtime.devices import pick_device
from hitsr.runtime.memory import watching
from hitsr.runtime.precision import computing, dtype_of
from hitsr.specs.recipe import Recipe, TrainingPrecision
from hitsr.specs.steps import STEPS, Precision, Step
from hitsr.training.kernels import allow_deterministic_products, kernels
from hitsr.training.step import TrainingStep

SCALE = 2
WARM_UP = WarmUp(3, 0.4)
PAIRS = {"hit_sir": "swinir_light", "hit_sng": "swinir_ng", "hit_srf": "srformer_light"}
PRECISIONS: tuple[Precision, ...] = ("tf32", "float16", "bfloat16", "autocast")


class Part(StrEnum):
    """A table of the page."""

    steps = "steps"
    small = "small"
    precision = "precision"
    training = "training"
    attribution = "attribution"


class Bench(NamedTuple):
    """What all parts measure with."""

    device: torch.device
    networks: list[str]
    samples: int
    output: tuple[int, int]  # width, height in pixels
    batch: int  # patches of a training step
    windows: int  # of attribution maps
    published: Path | None
    weights: Path | None


class Way(NamedTuple):
    """A way to take a training step."""

    title: str
    published: bool = False
    released: bool = False
    precision: TrainingPrecision = "float32"
    deterministic: bool = False
    graph: bool = False


WAYS = (
    Way("published, float32", published=True),
    Way("released, float32", released=True),
    Way("fused, float32, deterministic", deterministic=True),
    Way("fused, float32"),
    Way("fused, float32, graph", graph=True),
    Way("fused, bfloat16", precision="bfloat16"),
    Way("fused, bfloat16, graph", precision="bfloat16", graph=True),
)


def main(
    out: Annotated[Path, typer.Option(help="Markdown page to write; samples go to .json beside.")],
    part: Annotated[list[Part] | None, typer.Option(help="Default: all.")] = None,
    network: Annotated[list[str] | None, typer.Option(help="Default: all six.")] = None,
    published: Annotated[Path | None, typer.Option(help="Your file of published networks.")] = None,
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
    allow_deterministic_products()
    width, height = map(int, output_size.split("x"))
    bench = Bench(
        pick_device(device),
        network or list(hitsr.NETWORKS),
        samples,
        (width, height),
        batch,
        windows,
        published,
        weights,
    )
    pages, raw, started = [_introduction(bench)], dict[str, object](), time.monotonic()
    failed = False
    for each in part or list(Part):
        try:
            table, raw[each] = _PARTS[each](bench)
        except Exception as error:
            failed = True
            traceback.print_exc()
            table = f"## {each}: failed\n\n{in_one_line(error)}"
        pages.append(table)
        print(f"{each}: {time.monotonic() - started:.0f} s so far", file=sys.stderr, flush=True)
        out.write_text("\n\n".join(pages) + "\n", encoding="utf-8")
        out.with_suffix(".json").write_text(json.dumps(raw, indent=1), encoding="utf-8")
    if failed:
        raise typer.Exit(1)


def _introduction(bench: Bench) -> str:
    name = "a CPU"
    if bench.device.type == "cuda":
        capability = ".".join(map(str, torch.cuda.get_device_capability(bench.device)))
        name = f"{torch.cuda.get_device_name(bench.device)}, compute capability {capability}"
    return (
        f"# On a GPU\n\n`python -m benchmarks.cuda`, x{SCALE}, batch 1 unless said, on {name}; "
        f"{machine()}, CUDA {torch.version.cuda}. Milliseconds are medians of {bench.samples}."
    )


def _steps(bench: Bench) -> tuple[str, object]:
    width, height = bench.output
    return _timed(bench, (round(width / SCALE), round(height / SCALE)))


def _small(bench: Bench) -> tuple[str, object]:
    side = min(64, *bench.output)
    return _timed(bench, (side, side))


def _timed(bench: Bench, lr_size: tuple[int, int]) -> tuple[str, object]:
    """Every network in every step of the device, in turns."""
    works: dict[tuple[str, str], tuple[nn.Module, Work]] = {}
    steps = STEPS[bench.device.type]
    for name in bench.networks:
        plain = Work(lr_size, bench.device)
        if bench.published:
            works[name, "published"] = load_own(f"{bench.published}:{name}", SCALE), plain
        for step in steps:
            torch.manual_seed(0)
            model = hitsr.create(name, SCALE, formulation=step.formulation)
            work = plain._replace(precision=step.precision, launch=step.launch)
            works[name, _title(step)] = model, work
    peaks = {key: _peak_mb(*work) for key, work in works.items()}
    found = dict(
        zip(works, measure_each(list(works.values()), warmup=WARM_UP, samples=bench.samples))
    )
    titles = ["published"] * bool(bench.published) + [_title(step) for step in steps]
    rows = [[name, *(_cell(found[name, title]) for title in titles)] for name in bench.networks]
    for conversion, baseline in PAIRS.items():
        if {conversion, baseline} <= {*bench.networks}:
            ratios = (_ratio(found[baseline, t], found[conversion, t]) for t in titles)
            rows.append([f"{baseline} / {conversion}", *ratios])
    first = titles[0]
    for name in bench.networks:
        gains = (_ratio(found[name, first], found[name, title]) for title in titles)
        rows.append([f"{first} / each step, {name}", *gains])
    for name in bench.networks:
        rows.append([f"peak MB, {name}", *(f"{peaks[name, title]:.0f}" for title in titles)])
    lr = f"{lr_size[0]}x{lr_size[1]}"
    raw = {
        f"{name}, {title}": getattr(timing, "samples_ms", str(timing))
        for (name, title), timing in found.items()
    }
    return f"## Forwards, LR {lr}, ms\n\n{_table(['', *titles], rows)}", raw


def _title(step: Step) -> str:
    return ", ".join([step.formulation, *{step.precision, step.launch} - {"float32", "eager"}])


def _peak_mb(model: nn.Module, work: Work) -> float:
    """MB that an eager forward takes above the network and the picture, libraries loaded before."""
    dtype = dtype_of(work.precision)
    model = model.to(work.device, dtype).eval()
    width, height = work.input_size
    lr = torch.rand(1, 3, height, width, device=work.device, dtype=dtype)
    with conditions(work):
        model(lr)
        with watching(work.device) as memory:
            model(lr)
            return memory.peak_bytes / 1e6


def _precision(bench: Bench) -> tuple[str, object]:
    """PSNR of each precision to float32 of the paper formulation, and float32 differences."""
    lr = _photograph(96, 128).to(bench.device)
    precisions = [p for p in PRECISIONS if bench.device.type == "cuda" or p != "tf32"]
    rows = []
    for name in bench.networks:
        exact = _output(bench, name, lr, "paper", "float32")
        row = [name + ("" if _weights(bench, name) else ", random weights")]
        for formulation in ("released", "fused"):
            found = _output(bench, name, lr, formulation, "float32")
            row.append(f"{float((found - exact).abs().max()):.1e}")
        for precision in precisions:
            found = _output(bench, name, lr, "fused", precision)
            finite = bool(found.isfinite().all())
            error = float((found - exact).square().mean())
            row.append(f"{-10 * torch.tensor(error).log10():.1f} dB" if finite else "not finite")
        rows.append(row)
    head = ["", "released, largest difference", "fused, largest difference", *precisions]
    table = _table(head, rows)
    return f"## Against the paper formulation in float32, LR 128x96\n\n{table}", rows


def _output(bench: Bench, name: str, lr: Tensor, formulation: str, precision: Precision) -> Tensor:
    torch.manual_seed(0)
    model = hitsr.create(name, SCALE, formulation=formulation)
    if file := _weights(bench, name):
        hitsr.load_weights(model, file)
    dtype = dtype_of(precision)
    model = model.to(bench.device, dtype).eval()
    with torch.inference_mode(), computing(precision, bench.device):
        out: Tensor = model(lr.to(dtype)).double()
    return out


def _weights(bench: Bench, name: str) -> Path | None:
    return find_weights(bench.weights, name, SCALE) if bench.weights else None


def _photograph(height: int, width: int) -> Tensor:
    """(1, 3, h, w) in [0, 1], of a photograph that scikit-image carries."""
    from skimage import data

    picture = torch.from_numpy(data.astronaut()).permute(2, 0, 1)[None] / 255
    return F.interpolate(picture, (height, width), mode="bicubic", antialias=True).clamp(0, 1)


def _training(bench: Bench) -> tuple[str, object]:
    """Steps of one network in every way take turns, network by network."""
    rows, raw = [], dict[str, object]()
    ways = [way for way in WAYS if bench.published or not way.published]
    if bench.device.type != "cuda":
        ways = [way for way in ways if not way.graph]
    for name in bench.networks:
        found = _steps_in_turns(bench, name, ways)
        first = found[0]
        row = [name]
        for times in found:
            ratio = median(a / b for a, b in zip(first, times, strict=True))
            row.append(f"{median(times):.1f} ({ratio:.2f}x)")
        rows.append(row)
        raw[name] = {way.title: times for way, times in zip(ways, found, strict=True)}
    head = ["", *(way.title for way in ways)]
    title = f"## Training steps, {bench.batch} patches of 64x64, ms, and gain over the first"
    return f"{title}\n\n{_table(head, rows)}", raw


def _steps_in_turns(bench: Bench, name: str, ways: list[Way]) -> list[list[float]]:
    """Milliseconds of steps in each way, after warm-up steps."""
    side = min(64, *bench.output)
    generator = torch.Generator().manual_seed(0)
    lr, hr = (
        torch.rand(bench.batch, 3, s, s, generator=generator).to(bench.device)
        for s in (side, side * SCALE)
    )
    runs: list[Callable[[], float]] = []
    for way in ways:
        torch.manual_seed(0)
        if way.published:
            model: nn.Module = load_own(f"{bench.published}:{name}", SCALE)
        else:
            model = hitsr.create(
                name,
                SCALE,
                formulation="released" if way.released else "fused",
                autocast=way.precision == "bfloat16",
            )
        recipe = Recipe(
            steps=1000,
            batch=bench.batch,
            patch=side,
            learning_rate=1e-4,
            precision=way.precision,
            deterministic=way.deterministic,
        )
        step = TrainingStep(
            model.to(bench.device).train(), recipe, bench.device, way.graph, _complain
        )
        step.set_learning_rate(1e-4)
        runs.append(_timer(step, recipe, lr, hr))
    times = [[run() for run in runs] for _ in range(6 + bench.samples)][6:]
    return [list(each) for each in zip(*times, strict=True)]


def _timer(step: TrainingStep, recipe: Recipe, lr: Tensor, hr: Tensor) -> Callable[[], float]:
    def run() -> float:
        with kernels(recipe, lr.device):
            _wait(lr.device)
            start = time.perf_counter()
            step(lr, hr)
            _wait(lr.device)
            return (time.perf_counter() - start) * 1000

    return run


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _complain(problem: str) -> None:
    print(problem, file=sys.stderr, flush=True)


def _attribution(bench: Bench) -> tuple[str, object]:
    """Seconds of maps at x4 of windows in parts of 64x64."""
    rows = []
    lr = _photograph(64, 64)
    window = (120, 120, 16)
    for name in bench.networks:
        model = hitsr.create(name, 4).eval().to(bench.device)
        _wait(bench.device)
        start = time.perf_counter()
        maps = list(local_attributions(model, ((lr, window) for _ in range(bench.windows))))
        seconds = time.perf_counter() - start
        assert len(maps) == bench.windows
        rows.append([name, f"{seconds:.1f} s", f"{seconds / bench.windows * 1000:.0f} ms"])
    title = f"## Local attribution, {bench.windows} windows at x4, LR 64x64, 50 steps"
    return f"{title}\n\n{_table(['', 'all', 'per window'], rows)}", rows


def _cell(timing: Timing | Exception) -> str:
    return f"{median(timing.samples_ms):.2f}" if isinstance(timing, Timing) else "failed"


def _ratio(slow: Timing | Exception, fast: Timing | Exception) -> str:
    if not (isinstance(slow, Timing) and isinstance(fast, Timing)):
        return ""
    pairs = zip(slow.samples_ms, fast.samples_ms, strict=True)
    return f"{median(a / b for a, b in pairs):.2f}x"


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = (f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *rows])
    return "\n".join(lines)


_PARTS: dict[Part, Callable[[Bench], tuple[str, object]]] = {
    Part.steps: _steps,
    Part.small: _small,
    Part.precision: _precision,
    Part.training: _training,
    Part.attribution: _attribution,
}

if __name__ == "__main__":
    typer.run(main)
