"""Time forwards one by one, and watch the memory that they take. Every sample is kept."""

import copy
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn

from hitsr.config import Dtype
from hitsr.errors import SpecError
from hitsr.measure.energy import start_meter
from hitsr.measure.machine import machine_state
from hitsr.measure.memory import watching
from hitsr.progress import Progress
from hitsr.records import Energy, Timing

Clock = Literal["cuda_events", "wall"]

# The warm-up ends early when its last five times lie within 5 % of each other.
STABLE_FORWARDS, STABLE_SPREAD = 5, 0.05
_PROBE = 64  # pixels a side


def measure(
    model: nn.Module,
    input_size: tuple[int, int],
    device: torch.device,
    *,
    warmup: int,
    samples: int,
    batch: int = 1,
    dtype: Dtype = "float32",
    channels_last: bool = False,
    compiled: bool = False,
    quiet: bool = False,
) -> Timing:
    """Time `samples` forwards of a batch of (width, height) pictures, after at most `warmup` ones.

    In eval and inference mode, on noise that is the same every time. The model is moved to
    `device`, `dtype` and, if `channels_last`, that layout, and left there, in eval mode. CUDA is
    timed by its events, other devices by the wall clock. Warming up ends when times agree.

    At rest the process holds model and pictures, and what compiling left; all forwards count to
    the peak, the warm-up too, since what the first one allocates for good (workspaces, cached
    biases) the others need. Raises ValueError if no sample is asked for, SpecError if device,
    dtype or compiler cannot run the model, or the memory does not hold the batch.
    """
    if samples < 1 or warmup < 0 or batch < 1:
        raise ValueError(
            f"want 1 sample or more of 1 picture or more, no negative warm-up; "
            f"got {samples}, {batch}, {warmup}"
        )
    model, pictures = _placed(model, _noise(input_size, batch), device, dtype, channels_last)
    clock, timed = _CLOCKS[device.type]
    width, height = input_size
    label = f"{width}x{height}" if batch == 1 else f"{batch} of {width}x{height}"
    before = machine_state(device)
    with torch.inference_mode(), _told_if_too_large(f"{label} in {dtype} on {device}"):
        if dtype != "float32" or device.type == "mps":
            _check_runs(model, pictures, f"{dtype} on {device}")
        compile_seconds = _compile(model, pictures, timed) if compiled else None
        with watching(device) as memory:
            forward = partial(timed, model, pictures)
            warmup_ms, stable = _warm_up(forward, warmup, label, quiet)
            samples_ms, energy = _sample(forward, samples, device, label, quiet)
            peak_bytes = memory.peak_bytes
    return Timing(
        dtype=dtype,
        batch=batch,
        channels_last=channels_last,
        compiled=compiled,
        compile_seconds=compile_seconds,
        clock=clock,
        warmup=len(warmup_ms),
        warmup_ms=tuple(warmup_ms),
        warmup_stable=stable,
        samples_ms=tuple(samples_ms),
        peak_memory_bytes=peak_bytes,
        memory_kind=memory.kind,
        energy=energy,
        settings=_settings(device),
        before=before,
        after=machine_state(device),
    )


def _placed(
    model: nn.Module, pictures: Tensor, device: torch.device, dtype: Dtype, channels_last: bool
) -> tuple[nn.Module, Tensor]:
    precision = _DTYPES[dtype]
    model, pictures = model.to(device, precision).eval(), pictures.to(device, precision)
    if not channels_last:
        return model, pictures
    layout = torch.channels_last
    return model.to(memory_format=layout), pictures.to(memory_format=layout)


@contextmanager
def _told_if_too_large(what: str) -> Iterator[None]:
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise SpecError(f"{what}: out of memory; use a smaller batch or picture") from error


def _check_runs(model: nn.Module, pictures: Tensor, what: str) -> None:
    """Try a corner of one picture, on a copy, so that what is missing is told before long work."""
    try:
        copy.deepcopy(model)(pictures[:1, :, :_PROBE, :_PROBE])
    except RuntimeError as error:  # among them NotImplementedError
        raise SpecError(f"{what} cannot run this network: {error}; use float32") from error


def _compile(model: nn.Module, pictures: Tensor, timed: "_Timed") -> float:
    """Compile in place, as the first forward does; how many seconds that took."""
    try:
        model.compile(dynamic=False)
        return timed(model, pictures) / 1000
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        raise SpecError(f"torch.compile cannot compile this network here: {error}") from error


def _warm_up(
    forward: Callable[[], float], limit: int, label: str, quiet: bool
) -> tuple[list[float], bool]:
    """Times of forwards until the last ones agree, at most `limit`; whether they did."""
    times: list[float] = []
    with Progress(f"warm-up at {label}", limit, "forward", quiet) as progress:
        while len(times) < limit and not _agree(times):
            times.append(forward())
            progress.advance()
    return times, _agree(times)


def _agree(times: list[float]) -> bool:
    last = times[-STABLE_FORWARDS:]
    return len(last) == STABLE_FORWARDS and max(last) <= (1 + STABLE_SPREAD) * min(last)


def _sample(
    forward: Callable[[], float], samples: int, device: torch.device, label: str, quiet: bool
) -> tuple[list[float], Energy | None]:
    """Times of forwards, and what the device consumed meanwhile."""
    times = []
    with Progress(f"latency at {label}", samples, "forward", quiet) as progress:
        consumed = start_meter(device)
        for _ in range(samples):
            times.append(forward())
            progress.advance()
        return times, consumed()


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


def _settings(device: torch.device) -> dict[str, str]:
    """Switches of torch that trade exactness for speed, or try kernels before they choose."""
    found = {"float32_matmul_precision": torch.get_float32_matmul_precision()}
    if device.type == "cuda":
        found["cudnn.allow_tf32"] = str(torch.backends.cudnn.allow_tf32)
        found["cudnn.benchmark"] = str(torch.backends.cudnn.benchmark)
    return found


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
