"""Time forwards one by one, and watch the memory that they take. Every sample is kept."""

import time
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

from hitsr.measure.memory import MemoryKind, watching
from hitsr.progress import Progress
from hitsr.values import Value

Clock = Literal["cuda_events", "wall"]


class Latency(Value):
    """Forward times of one batch of one picture, and their memory above the resting process."""

    clock: Clock
    samples_ms: tuple[float, ...]
    peak_memory_bytes: int
    memory_kind: MemoryKind


def measure(
    model: nn.Module,
    input_size: tuple[int, int],
    device: torch.device,
    *,
    warmup: int,
    samples: int,
    quiet: bool = False,
) -> Latency:
    """Time `samples` forwards of a (width, height) picture, after `warmup` untimed ones.

    In eval and inference mode, float32, on noise that is the same every time; the model is moved to
    `device` and left there, in eval mode. CUDA is timed by its events, the CPU by the wall clock.
    At rest the process holds model and picture; all forwards count to the peak, the warm-up too,
    since what the first one allocates for good (workspaces, cached biases) the others need.
    Raises ValueError if no sample is asked for.
    """
    if samples < 1 or warmup < 0:
        raise ValueError(f"want 1 sample or more, no negative warm-up; got {samples}, {warmup}")
    model = model.to(device).eval()
    picture = _noise(input_size).to(device)
    clock, timed = _CLOCKS[device.type]
    times_ms = []
    width, height = input_size
    with (
        Progress(f"latency at {width}x{height}", warmup + samples, "forward", quiet) as progress,
        torch.inference_mode(),
        watching(device) as memory,
    ):
        for _ in range(warmup + samples):
            times_ms.append(timed(model, picture))
            progress.advance()
        peak_bytes = memory.peak_bytes
    return Latency(
        clock=clock,
        samples_ms=tuple(times_ms[warmup:]),
        peak_memory_bytes=peak_bytes,
        memory_kind=memory.kind,
    )


def _noise(input_size: tuple[int, int]) -> Tensor:
    width, height = input_size
    return torch.rand((1, 3, height, width), generator=torch.Generator().manual_seed(0))


def _wall_ms(model: nn.Module, picture: Tensor) -> float:
    start = time.perf_counter()
    model(picture)
    return (time.perf_counter() - start) * 1000


def _events_ms(model: nn.Module, picture: Tensor) -> float:
    """Between two marks in the device's queue, empty before: all kernels, and gaps between them."""
    stream = torch.cuda.current_stream(picture.device)
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize(picture.device)
    start.record(stream)
    model(picture)
    end.record(stream)
    end.synchronize()
    return float(start.elapsed_time(end))


_CLOCKS: dict[str, tuple[Clock, Callable[[nn.Module, Tensor], float]]] = {
    "cpu": ("wall", _wall_ms),
    "cuda": ("cuda_events", _events_ms),
}
