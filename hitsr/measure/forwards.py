"""Prepare a forward for measurement: move, check and compile the model, and choose the clock.

Latency and peak memory are both measured on these forwards, in different processes.
"""

import copy
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from hitsr.base.errors import HitsrError, SpecError
from hitsr.measure.unseen import KERNEL, intercepting
from hitsr.runtime.compiling import check_compiler
from hitsr.runtime.free_memory import is_out_of_memory
from hitsr.runtime.graphed import Graphed
from hitsr.runtime.precision import computing, dtype_of
from hitsr.specs.steps import Launch, Precision

Clock = Literal["cuda_events", "wall"]
_PROBE = 64  # pixels a side


class Work(NamedTuple):
    """The input of one forward, and how it is computed."""

    input_size: tuple[int, int]  # width, height
    device: torch.device
    batch: int = 1
    precision: Precision = "float32"
    launch: Launch = "eager"
    channels_last: bool = False

    @property
    def pictures(self) -> str:
        """ "320x180", "4 of 320x180"."""
        width, height = self.input_size
        return f"{width}x{height}" if self.batch == 1 else f"{self.batch} of {width}x{height}"

    @property
    def words(self) -> str:
        """For error messages: "320x180 in float32 on cpu"."""
        return f"{self.pictures} in {self.precision} on {self.device}"


class Forward(NamedTuple):
    """A prepared forward: `run` computes it once and returns its time in milliseconds.

    `kernels` computes it once, without a graph, and names the Triton kernels that it launches; None
    on devices that have none, and for compiled models, whose kernels are the compiler's.
    """

    run: Callable[[], float]
    clock: Clock
    preparation_seconds: float | None
    kernels: Callable[[], tuple[str, ...]] | None


def ready(model: nn.Module, work: Work) -> Forward:
    """Move the model to device, dtype and layout in place, set eval mode; compile it, or capture
    its forward as a CUDA graph, if asked to.

    The pictures are noise with a fixed seed. Call `ready`, and the result's `run`, within
    `conditions`. Raises SpecError if device, precision, compiler or graph cannot run the model.
    """
    if work.launch == "compiled":
        check_compiler()
    model, pictures = _placed(model, work)
    clock, timed = clock_of(work.device)
    if work.precision != "float32" or work.device.type == "mps":
        _check_runs(model, pictures, work)
    kernels = None
    if _has_triton_kernels(work.device) and work.launch != "compiled":
        kernels = partial(_kernels, model, pictures)
    match work.launch:
        case "eager":
            seconds = None
        case "compiled":
            seconds = _compile(model, pictures, timed)
        case "graph":
            model = Graphed(model, required=True)
            seconds = timed(model, pictures) / 1000  # captures
    return Forward(partial(timed, model, pictures), clock, seconds, kernels)


@contextmanager
def conditions(work: Work) -> Iterator[None]:
    """Inference mode in the work's precision; errors become SpecErrors as in `explaining`.

    Convolutions on a GPU use the fastest of cuDNN's algorithms, as the field's test code does.
    """
    with (
        explaining(work),
        torch.inference_mode(),
        computing(work.precision, work.device, by_trial=True),
    ):
        yield


@contextmanager
def explaining(work: Work) -> Iterator[None]:
    """Turn any error of the model into a SpecError that says what cannot run."""
    try:
        yield
    except HitsrError:
        raise
    except Exception as error:
        if is_out_of_memory(error):
            reason = "out of memory; use a smaller batch or picture"
        else:
            reason = f"cannot run this network: {type(error).__name__}: {error}"
        raise SpecError(f"{work.words}: {reason}") from error


def _placed(model: nn.Module, work: Work) -> tuple[nn.Module, Tensor]:
    dtype, pictures = dtype_of(work.precision), _noise(work.input_size, work.batch)
    # Weights that inference mode moves are tensors of that mode: torch counts no changes of them,
    # so that networks keep nothing that they compute from them.
    with torch.inference_mode(False), torch.no_grad():
        model, pictures = model.to(work.device, dtype).eval(), pictures.to(work.device, dtype)
        if not work.channels_last:
            return model, pictures
        layout = torch.channels_last
        return model.to(memory_format=layout), pictures.to(memory_format=layout)


def _check_runs(model: nn.Module, pictures: Tensor, work: Work) -> None:
    """Run a copy on a corner of one picture, so that missing operators fail before long work."""
    try:
        copy.deepcopy(model)(pictures[:1, :, :_PROBE, :_PROBE])
    except RuntimeError as error:  # among them NotImplementedError
        if is_out_of_memory(error):
            raise
        raise SpecError(f"{work.words}: cannot run this network: {error}; use float32") from error


def _compile(model: nn.Module, pictures: Tensor, timed: "_Timed") -> float:
    """Compile in place by a first forward; returns how many seconds it took."""
    try:
        model.compile(dynamic=False)
        return timed(model, pictures) / 1000
    except RuntimeError as error:
        if is_out_of_memory(error):
            raise
        raise SpecError(f"torch.compile cannot compile this network here: {error}") from error


def _has_triton_kernels(device: torch.device) -> bool:
    return device.type == "cuda"


def _kernels(model: nn.Module, pictures: Tensor) -> tuple[str, ...]:
    """Names of the Triton kernels that one forward launches, in alphabetical order."""
    names: set[str] = set()
    with intercepting(lambda name, _: names.add(name)):
        model(pictures)
    return tuple(sorted(each.removeprefix(KERNEL) for each in names if each.startswith(KERNEL)))


def _noise(input_size: tuple[int, int], batch: int) -> Tensor:
    width, height = input_size
    return torch.rand((batch, 3, height, width), generator=torch.Generator().manual_seed(0))


def _wall_ms(model: nn.Module, pictures: Tensor) -> float:
    start = time.perf_counter()
    model(pictures)
    return (time.perf_counter() - start) * 1000


def _mps_ms(model: nn.Module, pictures: Tensor) -> float:
    """Wall time until the device's queue is empty."""
    torch.mps.synchronize()
    start = time.perf_counter()
    model(pictures)
    torch.mps.synchronize()
    return (time.perf_counter() - start) * 1000


def _events_ms(model: nn.Module, pictures: Tensor) -> float:
    """Time between two events in an empty queue: all kernels, and the gaps between them."""
    stream = torch.cuda.current_stream(pictures.device)
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize(pictures.device)
    start.record(stream)
    model(pictures)
    end.record(stream)
    end.synchronize()
    return float(start.elapsed_time(end))


def clock_of(device: torch.device) -> tuple[Clock, "_Timed"]:
    """The clock of a device, and a function that runs a model once and gives milliseconds."""
    return _CLOCKS[device.type]


_Timed = Callable[[nn.Module, Tensor], float]
_CLOCKS: dict[str, tuple[Clock, _Timed]] = {
    "cpu": ("wall", _wall_ms),
    "cuda": ("cuda_events", _events_ms),
    "mps": ("wall", _mps_ms),
}
