"""Choose between ways to compute the same by trying them once on the device at hand.

Which of several sequences of kernels is fastest depends on device, dtype and sizes in ways that no
rule foretells. A choice is made at first use, holds for the process, and is named in records of
timings (`chosen`). Ways differ in low bits, so with deterministic algorithms there is no trial.
"""

import statistics
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import Parameter

from hitsr.runtime.graphs import is_capturing

Way = Callable[..., Tensor]  # the same tensors in, the same numbers out
Timer = Callable[[Callable[[], object], torch.device], float]  # any unit

_UNTIMED, _TIMED = 2, 5


class Question(NamedTuple):
    """What a choice holds for."""

    what: str
    device: torch.device
    dtype: torch.dtype
    channels: int
    rows: int  # a power of two: sizes up to twice as large are alike
    gradients: bool

    @property
    def words(self) -> str:
        """ "layer norm, 60 channels, float32, 131072 rows or more, with gradients"."""
        dtype = str(self.dtype).removeprefix("torch.")
        rows = f"{self.rows} rows or more"
        return f"{self.what}, {self.channels} channels, {dtype}, {rows}" + (
            ", with gradients" * self.gradients
        )


def question(what: str, inputs: Sequence[Tensor]) -> Question:
    """The question for inputs, of which the first has rows of channels: (..., channels)."""
    x = inputs[0]
    rows = max(1, x.numel() // x.shape[-1])
    gradients = torch.is_grad_enabled() and any(each.requires_grad for each in inputs)
    size = 2 ** (rows.bit_length() - 1)
    return Question(what, x.device, x.dtype, x.shape[-1], size, gradients)


def fastest(
    what: str, ways: dict[str, Way], inputs: Sequence[Tensor], timer: Timer | None = None
) -> Way:
    """The way that took least time on such inputs; the first one where none can be timed.

    That is: with deterministic algorithms, while a CUDA graph is captured, of tensors without
    values, and, unless a `timer` is given, on other devices than CUDA.
    """
    first = next(iter(ways.values()))
    device = inputs[0].device
    if len(ways) == 1 or torch.are_deterministic_algorithms_enabled():
        return first
    if type(inputs[0]) not in (Tensor, Parameter) or (timer is None and device.type != "cuda"):
        return first
    asked = question(what, inputs)
    known = _chosen.get(asked)
    if known in ways:
        return ways[known]
    if is_capturing():
        return first
    times = {
        name: _time(way, inputs, asked.gradients, timer or _event_ms) for name, way in ways.items()
    }
    _chosen[asked] = min(times, key=times.__getitem__)
    return ways[_chosen[asked]]


def chosen(device: torch.device) -> dict[str, str]:
    """All choices made on a device in this process: what was asked, and which way is used."""
    return {asked.words: way for asked, way in _chosen.items() if asked.device == device}


_chosen: dict[Question, str] = {}


def _time(way: Way, inputs: Sequence[Tensor], gradients: bool, timer: Timer) -> float:
    """Median time; infinite if memory does not suffice."""
    with torch.inference_mode(False), torch.set_grad_enabled(gradients):
        # Copies, because views of what other code will change must not be written to or kept.
        given = [x.detach().clone().requires_grad_(gradients) for x in inputs]

        def run() -> None:
            out = way(*given)
            if gradients:
                torch.autograd.grad(out.float().sum(), given, allow_unused=True)

        try:
            times = [timer(run, inputs[0].device) for _ in range(_UNTIMED + _TIMED)]
        except torch.OutOfMemoryError:
            return float("inf")
    return statistics.median(times[_UNTIMED:])


def _event_ms(run: Callable[[], object], device: torch.device) -> float:
    """Milliseconds on the device from an empty queue to the end of all that `run` launched."""
    with torch.cuda.device(device):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        torch.cuda.synchronize(device)
        start.record()
        run()
        end.record()
        end.synchronize()
    return float(start.elapsed_time(end))
