"""Make one forward ready to be measured: placed, checked, compiled, and with its clock.

Latency and peak memory are taken of the same forwards, in different processes.
"""

import copy
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from hitsr.base.errors import SpecError
from hitsr.runtime.compiling import check_compiler
from hitsr.specs.config import Dtype

Clock = Literal["cuda_events", "wall"]
_PROBE = 64  # pixels a side


class Work(NamedTuple):
    """What one forward is of, and how it is computed."""

    input_size: tuple[int, int]  # width, height
    device: torch.device
    batch: int = 1
    dtype: Dtype = "float32"
    channels_last: bool = False
    compiled: bool = False
    autocast: bool = False  # to bfloat16

    @property
    def pictures(self) -> str:
        """ "320x180", "4 of 320x180"."""
        width, height = self.input_size
        return f"{width}x{height}" if self.batch == 1 else f"{self.batch} of {width}x{height}"

    @property
    def words(self) -> str:
        dtype = self.dtype + ", autocast" * self.autocast
        return f"{self.pictures} in {dtype} on {self.device}"


class Forward(NamedTuple):
    """A forward that is ready: calling `run` computes it once and returns its milliseconds."""

    run: Callable[[], float]
    clock: Clock
    compile_seconds: float | None


class Autocast(nn.Module):
    """A network whose convolutions and matrix products compute in bfloat16.

    Each forward begins anew: what autocast makes of the weights is not kept for the next.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, pictures: Tensor) -> Tensor:
        """What the network gives."""
        with torch.autocast(pictures.device.type, torch.bfloat16):
            out: Tensor = self.model(pictures)
            return out


def ready(model: nn.Module, work: Work) -> Forward:
    """Move the model to the device, dtype and layout, in place, into eval mode; compile it.

    The pictures are noise that is the same every time. To be called, and run, within
    `conditions`. Raises SpecError if device, dtype or compiler cannot run the model.
    """
    if work.compiled:
        check_compiler()
    model, pictures = _placed(model, work)
    if work.autocast:
        model = Autocast(model)
    clock, timed = _CLOCKS[work.device.type]
    if work.dtype != "float32" or work.autocast or work.device.type == "mps":
        _check_runs(model, pictures, work)
    compile_seconds = _compile(model, pictures, timed) if work.compiled else None
    return Forward(partial(timed, model, pictures), clock, compile_seconds)


@contextmanager
def conditions(work: Work) -> Iterator[None]:
    """Inference mode, and a sentence where memory does not hold the work."""
    try:
        with torch.inference_mode():
            yield
    except torch.OutOfMemoryError as error:
        raise SpecError(f"{work.words}: out of memory; use a smaller batch or picture") from error


def _placed(model: nn.Module, work: Work) -> tuple[nn.Module, Tensor]:
    precision, pictures = _DTYPES[work.dtype], _noise(work.input_size, work.batch)
    model, pictures = model.to(work.device, precision).eval(), pictures.to(work.device, precision)
    if not work.channels_last:
        return model, pictures
    layout = torch.channels_last
    return model.to(memory_format=layout), pictures.to(memory_format=layout)


def _check_runs(model: nn.Module, pictures: Tensor, work: Work) -> None:
    """Try a corner of one picture, on a copy, so that what is missing is told before long work."""
    try:
        copy.deepcopy(model)(pictures[:1, :, :_PROBE, :_PROBE])
    except RuntimeError as error:  # among them NotImplementedError
        raise SpecError(f"{work.words} cannot run this network: {error}; use float32") from error


def _compile(model: nn.Module, pictures: Tensor, timed: "_Timed") -> float:
    """Compile in place, as the first forward does; how many seconds that took."""
    try:
        model.compile(dynamic=False)
        return timed(model, pictures) / 1000
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        raise SpecError(f"torch.compile cannot compile this network here: {error}") from error


def _noise(input_size: tuple[int, int], batch: int) -> Tensor:
    width, height = input_size
    return torch.rand((batch, 3, height, width), generator=torch.Generator().manual_seed(0))


def _wall_ms(model: nn.Module, pictures: Tensor) -> float:
    start = time.perf_counter()
    model(pictures)
    return (time.perf_counter() - start) * 1000


def _mps_ms(model: nn.Module, pictures: Tensor) -> float:
    """The wall clock, around all that the device's queue does."""
    torch.mps.synchronize()
    start = time.perf_counter()
    model(pictures)
    torch.mps.synchronize()
    return (time.perf_counter() - start) * 1000


def _events_ms(model: nn.Module, pictures: Tensor) -> float:
    """Between two marks in the device's queue, empty before: all kernels, and gaps between them."""
    stream = torch.cuda.current_stream(pictures.device)
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize(pictures.device)
    start.record(stream)
    model(pictures)
    end.record(stream)
    end.synchronize()
    return float(start.elapsed_time(end))


_Timed = Callable[[nn.Module, Tensor], float]
_CLOCKS: dict[str, tuple[Clock, _Timed]] = {
    "cpu": ("wall", _wall_ms),
    "cuda": ("cuda_events", _events_ms),
    "mps": ("wall", _mps_ms),
}
_DTYPES: dict[Dtype, torch.dtype] = {
    "float32": torch.float32,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
}
