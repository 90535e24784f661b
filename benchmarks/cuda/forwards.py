"""Forwards of every network in every way, in turns, and the memory that they take."""

from collections.abc import Mapping
from statistics import median
from typing import NamedTuple

import torch
from torch import nn

from benchmarks.cuda.bench import (
    Bench,
    Measured,
    Result,
    Using,
    network,
    published,
    ratio,
    table,
)
from hitsr.measure.forwards import Work, conditions
from hitsr.measure.latency import WarmUp, measure_each
from hitsr.models.fused.cuda.choice import Kind
from hitsr.records import Timing
from hitsr.runtime.memory import watching
from hitsr.runtime.precision import dtype_of
from hitsr.specs.network import Formulation
from hitsr.specs.steps import Launch, Precision

WARM_UP = WarmUp(3, 0.4)
PAIRS = {"hit_sir": "swinir_light", "hit_sng": "swinir_ng", "hit_srf": "srformer_light"}


class Way(NamedTuple):
    """A way to compute a forward; without a formulation, that of the published code."""

    title: str
    formulation: Formulation | None = "fused"
    precision: Precision = "float32"
    launch: Launch = "eager"
    kind: Kind | None = None  # of what computes it; None: as the rule chooses


PUBLISHED, RELEASED = Way("published", None), Way("released", "released")
WAYS = (
    Way("paper", "paper"),
    Way("float32, plain", kind="plain"),
    Way("float32"),
    Way("float32, graph", launch="graph"),
    Way("tf32", precision="tf32"),
    Way("float16, plain, graph", precision="float16", launch="graph", kind="plain"),
    Way("float16", precision="float16"),
    Way("float16, graph", precision="float16", launch="graph"),
)


def large(bench: Bench) -> Result:
    """At the output size."""
    result, times, peaks = _timed(bench, bench.lr_size)
    for name in bench.networks:
        first = times.get((name, "published"))
        for title, key in (("float32", "float32"), ("float16, graph", "half")):
            if first and (found := times.get((name, title))):
                result.measured[name, key] = ratio(first, found)
        most, least = (peaks.get((name, title)) for title in ("published", "float32"))
        if most and least is not None:
            result.measured[name, "memory"] = least / most
    return result


def small(bench: Bench) -> Result:
    """At LR 64x64."""
    result, times, _ = _timed(bench, (bench.patch, bench.patch))
    for name in bench.networks:
        if found := times.get((name, "float16, graph")):
            result.measured[name, "small"] = median(found)
    return result


_Times = dict[tuple[str, str], tuple[float, ...]]


def _timed(
    bench: Bench, lr_size: tuple[int, int]
) -> tuple[Result, _Times, dict[tuple[str, str], float]]:
    ways = _ways(bench)
    works: dict[tuple[str, str], tuple[nn.Module, Work]] = {
        (name, way.title): _work(bench, name, way, lr_size)
        for name in bench.networks
        for way in ways
        if way.formulation != "fused"
        or way.kind == "plain"
        or (name, way.precision) not in bench.broken
    }
    peaks = {key: _peak_mb(*work) for key, work in works.items() if work[1].launch == "eager"}
    found = measure_each(list(works.values()), warmup=WARM_UP, samples=bench.samples)
    timings = dict(zip(works, found, strict=True))
    times = {key: each.samples_ms for key, each in timings.items() if isinstance(each, Timing)}
    lr = "x".join(map(str, lr_size))
    page = (
        f"## Forwards, LR {lr}, ms\n\n{_page(bench, ways, times, peaks)}\n\n"
        f"Triton kernels of each, with the rule's choices: {_kernels(timings)}"
    )
    raw = {
        ", ".join(key): {"ms": each.samples_ms, "settings": each.settings}
        if isinstance(each, Timing)
        else str(each)
        for key, each in timings.items()
    }
    return Result(page, raw, Measured()), times, peaks


def _ways(bench: Bench) -> list[Way]:
    """Those that the device can run; the released formulation stands in for the published code."""
    first = PUBLISHED if bench.published else RELEASED
    ways = [first, *WAYS]
    if bench.device.type != "cuda":
        ways = [way for way in ways if (way.precision, way.launch) == ("float32", "eager")]
    return ways


def _work(bench: Bench, name: str, way: Way, lr_size: tuple[int, int]) -> tuple[nn.Module, Work]:
    work = Work(lr_size, bench.device, precision=way.precision, launch=way.launch)
    if way.formulation is None:
        return published(bench, name), work
    model = network(name, way.formulation)
    return (Using(model, way.kind) if way.kind else model), work


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


def _page(bench: Bench, ways: list[Way], times: _Times, peaks: dict[tuple[str, str], float]) -> str:
    """Times; how many times as fast as the first way; conversions beside baselines; memory."""
    titles = [way.title for way in ways]
    nothing = dict.fromkeys(titles, "failed")
    rows = []
    for name in bench.networks:
        shown = {t: f"{median(times[name, t]):.2f}" for t in titles if (name, t) in times}
        rows.append([name, *(nothing | shown).values()])
    for name in bench.networks:
        rows.append(
            [f"gain, {name}", *(_ratio(times, (name, titles[0]), (name, t)) for t in titles)]
        )
    for conversion, baseline in PAIRS.items():
        if {conversion, baseline} <= {*bench.networks}:
            ratios = (_ratio(times, (baseline, t), (conversion, t)) for t in titles)
            rows.append([f"{baseline} / {conversion}", *ratios])
    for name in bench.networks:
        shown = {t: f"{peaks[name, t]:.0f}" for t in titles if (name, t) in peaks}
        rows.append([f"peak MB, {name}", *(dict.fromkeys(titles, "") | shown).values()])
    return table(["", *titles], rows)


def _ratio(times: _Times, slow: tuple[str, str], fast: tuple[str, str]) -> str:
    return f"{ratio(times[slow], times[fast]):.2f}x" if {slow, fast} <= times.keys() else ""


def _kernels(timings: Mapping[tuple[str, str], Timing | Exception]) -> str:
    """Which networks and ways launched which kernels, ways with equal ones together."""
    ways: dict[str, list[str]] = {}
    for (name, title), timing in timings.items():
        if isinstance(timing, Timing) and "triton_kernels" in timing.settings:
            ways.setdefault(timing.settings["triton_kernels"], []).append(f"{name} {title}")
    if not ways:
        return "this device has none."
    return "\n\n" + "\n".join(f"- {kernels}: {'; '.join(of)}" for kernels, of in ways.items())
