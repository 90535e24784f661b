"""Every launch of a Triton kernel by itself: how long it takes, and how well it uses the memory.

A forward or a training step runs once, while its launches are noted. Each kind of launch, with its
tensors as they then are, is repeated in a CUDA graph, so that no launch waits for the CPU. Its
bytes are those of all its tensors, each once: what it must move at least. They are set beside the
speed of a copy.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import median
from typing import Any, NamedTuple
from unittest.mock import patch

import torch
from torch import Tensor

from benchmarks.cuda.bench import Bench, Measured, Result, Using, clock_ms, network, table
from benchmarks.cuda.training import batch_of, recipe_of, step_of
from hitsr.measure.forwards import Work, conditions
from hitsr.models.fused.cuda.choice import only
from hitsr.models.fused.cuda.kernels import launch
from hitsr.runtime.graphed import Graphed
from hitsr.runtime.precision import dtype_of
from hitsr.specs.steps import Precision
from hitsr.training.kernels import kernels as computing_as

REPEATS, SAMPLES = 10, 5
_COPIED = 2**28  # bytes


class Launch(NamedTuple):
    """One launch, as `kernels.launch` runs it."""

    kernel: Any
    grid: tuple[int, ...]
    arguments: list[Any]
    warps: int
    stages: int
    constants: dict[str, object]

    @property
    def tensors(self) -> list[Tensor]:
        """The tensors that it is given, each once."""
        found = {x.data_ptr(): x for x in self.arguments if isinstance(x, Tensor)}
        return list(found.values())

    @property
    def bytes(self) -> int:
        """Of all its tensors."""
        return sum(x.numel() * x.element_size() for x in self.tensors)

    @property
    def kind(self) -> tuple[object, ...]:
        """What launches that take equal time have in common."""
        shapes = [(tuple(x.shape), x.dtype) for x in self.arguments if isinstance(x, Tensor)]
        return (
            self.kernel.__name__,
            self.grid,
            str(shapes),
            self.warps,
            self.stages,
            *self.constants.items(),
        )


class Row(NamedTuple):
    """What was measured of one kind of launch."""

    launch: Launch
    calls: int
    ms: float  # of one call


def kernels(bench: Bench) -> Result:
    """Of forwards at the output size in float32 and float16, and of training steps."""
    copy_gbps = _copy_gbps(bench)
    pages, raw = [f"## Kernels\n\nA copy moves {copy_gbps:.0f} GB/s.{_LEGEND}"], dict[str, object]()
    works: list[tuple[str, Precision, _Make]] = [
        ("forward", "float32", _forward),
        ("forward", "float16", _forward),
        ("training step", "float32", _training),
        ("training step", "bfloat16", _training),
    ]
    if bench.device.type != "cuda":
        works = works[::2]
    for name in bench.networks:
        for what, precision, make in works:
            if (name, precision) in bench.broken:
                continue
            whole, noted = make(bench, name, precision)
            rows = _rows(bench, noted)
            title = f"{name}, {what}, {precision}"
            pages.append(f"### {title}\n\n{_page(rows, whole, copy_gbps)}")
            raw[title] = [
                [
                    row.launch.kernel.__name__,
                    str(row.launch.kind),
                    row.calls,
                    row.ms,
                    row.launch.bytes,
                ]
                for row in rows
            ]
    return Result("\n\n".join(pages), raw, Measured())


_LEGEND = (
    " Each row is one kind of launch: its constants, calls, milliseconds of a call and of all, "
    "megabytes of its tensors, and how fast it moved them as a share of the copy's speed. Kernels "
    "are used wherever there is one, also where the rule would choose PyTorch's operators."
)


class Noted(NamedTuple):
    """The first launch of each kind, whose tensors are kept alive, and how many there were."""

    firsts: dict[tuple[object, ...], Launch]
    calls: Counter[tuple[object, ...]]


@contextmanager
def noting() -> Iterator[Noted]:
    """Note every launch of the block."""
    noted, run = Noted({}, Counter()), launch._run

    def note_and_run(*given: Any) -> None:
        one = Launch(*given)
        noted.firsts.setdefault(one.kind, one)
        noted.calls[one.kind] += 1
        run(*given)

    with patch.object(launch, "_run", note_and_run):
        yield noted


_Work = tuple[float | None, Noted]  # milliseconds of one launch of everything, and launches
_Make = Callable[[Bench, str, Precision], _Work]


def _forward(bench: Bench, name: str, precision: Precision) -> _Work:
    work = Work(bench.lr_size, bench.device, precision=precision)
    width, height = work.input_size
    dtype = dtype_of(precision)
    model = Using(network(name).to(bench.device, dtype).eval(), "kernel")
    lr = torch.rand(1, 3, height, width, device=bench.device, dtype=dtype)
    with conditions(work):
        model(lr)  # values that are kept are made
        with noting() as noted:
            model(lr)
        whole = None
        if bench.device.type == "cuda":
            graph = Graphed(model, required=True)
            graph(lr)
            whole = _ms(bench, lambda: graph(lr))
    return whole, noted


def _training(bench: Bench, name: str, precision: Precision) -> _Work:
    narrow = precision == "bfloat16"
    recipe = recipe_of(bench, "bfloat16" if narrow else "float32")
    step = step_of(bench, network(name, autocast=narrow), recipe)
    lr, hr = batch_of(bench)
    with computing_as(recipe, bench.device), only("kernel"), noting() as noted:
        step(lr, hr)
    return None, noted


def _rows(bench: Bench, noted: Noted) -> list[Row]:
    """Kinds of launches, those that take most time in all first."""
    rows = [
        Row(one, noted.calls[kind], _of_launch(bench, one)) for kind, one in noted.firsts.items()
    ]
    return sorted(rows, key=lambda row: -row.ms * row.calls)


def _of_launch(bench: Bench, one: Launch) -> float:
    """Milliseconds of one launch."""

    def run() -> None:
        launch._run(*one)

    if bench.device.type != "cuda":
        return _ms(bench, run)
    run()
    torch.cuda.synchronize(bench.device)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for _ in range(REPEATS):
            run()
    return _ms(bench, graph.replay) / REPEATS


def _ms(bench: Bench, run: Callable[[], object]) -> float:
    """The median time of a run in milliseconds: of events on a GPU, else by the clock."""

    def by_clock() -> float:
        start = clock_ms(bench.device)
        run()
        return clock_ms(bench.device) - start

    def by_events() -> float:
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        run()
        end.record()
        end.synchronize()
        return float(start.elapsed_time(end))

    if bench.device.type != "cuda":
        return by_clock()
    with torch.cuda.device(bench.device):
        by_events()
        return median(by_events() for _ in range(SAMPLES))


def _copy_gbps(bench: Bench) -> float:
    """How fast a large tensor is copied on the device; reading and writing count."""
    size = _COPIED if bench.device.type == "cuda" else _COPIED // 64
    source = torch.ones(size // 4, device=bench.device)
    target = torch.empty_like(source)
    return 2 * size / 1e6 / _ms(bench, lambda: target.copy_(source))


def _page(rows: list[Row], whole: float | None, copy_gbps: float) -> str:
    of_all = sum(row.ms * row.calls for row in rows)
    shown = [
        [
            row.launch.kernel.__name__.lstrip("_"),
            " ".join(f"{name}={value}" for name, value in row.launch.constants.items()),
            f"{row.calls}",
            f"{row.ms:.4f}",
            f"{row.ms * row.calls:.3f}",
            f"{row.launch.bytes / 1e6:.1f}",
            f"{row.launch.bytes / 1e6 / row.ms / copy_gbps:.0%}",
        ]
        for row in rows
    ]
    shown.append(
        ["all kernels", "", f"{sum(row.calls for row in rows)}", "", f"{of_all:.3f}", "", ""]
    )
    if whole is not None:
        shown.append(["everything, one launch", "", "1", "", f"{whole:.3f}", "", ""])
    return table(["kernel", "constants", "calls", "ms", "ms of all", "MB", "of a copy"], shown)
