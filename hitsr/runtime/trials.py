"""Choose between ways to compute the same by trying them once on the device at hand.

Which of several sequences of kernels is fastest depends on device, dtype and sizes in ways that no
rule foretells. A choice is made at first use, holds for the process, and is named in records of
timings (`chosen`). Ways differ in low bits, so with deterministic algorithms there is no trial.
Ways of our own can be compared with PyTorch's at first use too (`agrees`).
"""

import statistics
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import Parameter

from hitsr.base.errors import in_one_line
from hitsr.runtime.graphs import is_capturing
from hitsr.runtime.precision import uses_tf32
from hitsr.runtime.remembered import remembered

Way = Callable[..., Tensor]  # the same tensors in, the same numbers out
Timer = Callable[[Callable[[], object], torch.device], float]  # any unit

_UNTIMED, _TIMED = 2, 5
# By how much results may differ, as a share of the largest: many times what rounding costs.
_BOUNDS = {torch.float16: 0.02, torch.bfloat16: 0.1}
_FLOAT32_BOUND, _TF32_BOUND = 1e-3, 0.02


class Question(NamedTuple):
    """What a choice holds for."""

    what: str
    device: torch.device
    dtype: torch.dtype
    channels: int
    rows: int  # a power of two: sizes up to twice as large are alike
    gradients: bool
    products: str  # how those of float32 tensors are computed instead, in words

    @property
    def words(self) -> str:
        """ "layer norm, 60 channels, float32, 131072 rows or more, with gradients"."""
        dtype = str(self.dtype).removeprefix("torch.")
        rows = f"{self.rows} rows or more"
        return f"{self.what}, {self.channels} channels, {dtype}, {rows}" + (
            ", with gradients" * self.gradients + self.products
        )


def question(what: str, inputs: Sequence[Tensor], parameters: Sequence[Tensor] = ()) -> Question:
    """The question for inputs, of which the first has rows of channels: (..., channels)."""
    x = inputs[0]
    rows = max(1, x.numel() // x.shape[-1])
    wanted = any(each.requires_grad for each in (*inputs, *parameters))
    gradients = torch.is_grad_enabled() and wanted
    size = 2 ** (rows.bit_length() - 1)
    return Question(what, x.device, x.dtype, x.shape[-1], size, gradients, _products(x.device))


def _products(device: torch.device) -> str:
    """What replaces float32 in products now: "", ", TF32 allowed", ", autocast to bfloat16"."""
    kind = device.type
    if torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind):
        dtype = str(torch.get_autocast_dtype(kind)).removeprefix("torch.")
        return f", autocast to {dtype}"
    return ", TF32 allowed" * uses_tf32()


def agrees(
    what: str,
    way: Way,
    reference: Way,
    inputs: Sequence[Tensor],
    parameters: Sequence[Tensor] = (),
) -> bool:
    """Whether a way gives what the reference gives, but for rounding; tried once per question.

    With gradients, those of inputs and `parameters` are compared too. If the way fails or differs,
    a RuntimeWarning says so. False, without an answer for later, while a CUDA graph is captured.
    If memory does not suffice for the comparison, the way is taken at its word.
    """
    asked = question(what, inputs, parameters)
    if asked not in _misfits:
        if is_capturing():
            return False
        _misfits[asked] = _misfit(way, reference, inputs, parameters, asked.gradients)
        if misfit := _misfits[asked]:
            message = f"{asked.words}: a kernel of hitsr is not used on {asked.device}: {misfit}"
            warnings.warn(message, RuntimeWarning, stacklevel=2)
    return _misfits[asked] is None


def fastest(
    what: str,
    ways: dict[str, Way],
    inputs: Sequence[Tensor],
    timer: Timer | None = None,
    parameters: Sequence[Tensor] = (),
    margin: float = 0.0,
    remember: bool = False,
) -> Way:
    """The way that took least time on such inputs; the first one where none can be timed.

    With gradients, those of inputs and `parameters` are computed and timed too. Another way than
    the first must be faster by more than `margin` (0.15: 15 %), so that chance does not decide
    between ways that are nearly as fast. With `remember`, what a machine chose once it chooses in
    every process (`remembered`), so that it repeats its results.

    None can be timed with deterministic algorithms, while a CUDA graph is captured, of tensors
    without values, and, unless a `timer` is given, on other devices than CUDA.
    """
    first = next(iter(ways.values()))
    device = inputs[0].device
    if len(ways) == 1 or torch.are_deterministic_algorithms_enabled():
        return first
    if type(inputs[0]) not in (Tensor, Parameter) or (timer is None and device.type != "cuda"):
        return first
    asked = question(what, inputs, parameters)
    known = _chosen.get(asked)
    if known in ways:
        return ways[known]
    if is_capturing():
        return first

    def decide() -> str:
        times = {
            name: _time(way, inputs, parameters, asked.gradients, timer or _event_ms)
            for name, way in ways.items()
        }
        best, default = min(times, key=times.__getitem__), next(iter(ways))
        return best if times[best] * (1 + margin) < times[default] else default

    _chosen[asked] = remembered(asked.words, ways, decide) if remember else decide()
    return ways[_chosen[asked]]


def note(what: str, value: str, device: torch.device) -> None:
    """Have `chosen` name a choice that was made by a rule, without a trial."""
    _noted[what, device] = value


def chosen(device: torch.device) -> dict[str, str]:
    """All choices made on a device in this process: what was asked, and which way is used."""
    noted = {what: value for (what, where), value in _noted.items() if where == device}
    checked = {
        asked.words: f"without this kernel, which {misfit}" if misfit else "a kernel, untimed"
        for asked, misfit in _misfits.items()
        if asked.device == device
    }
    timed = {asked.words: way for asked, way in _chosen.items() if asked.device == device}
    return noted | checked | timed


_noted: dict[tuple[str, torch.device], str] = {}
_chosen: dict[Question, str] = {}
_misfits: dict[Question, str | None] = {}  # why a way does not agree; None if it does


def _misfit(
    way: Way,
    reference: Way,
    inputs: Sequence[Tensor],
    parameters: Sequence[Tensor],
    gradients: bool,
) -> str | None:
    """Why the way's results are not the reference's; None if they are, or memory is too small."""
    try:
        with _apart(gradients):
            expected = _results(reference, inputs, parameters, gradients)
            try:
                found = _results(way, inputs, parameters, gradients)
            except torch.OutOfMemoryError:  # the way alone needs less than beside the reference
                raise
            except Exception as error:
                return f"fails: {in_one_line(error)}"
        return _difference(found, expected, _bound(inputs, found))
    except torch.OutOfMemoryError:
        return None


@contextmanager
def _apart(gradients: bool) -> Iterator[None]:
    """Keep what a trial does from the forward around it, which may note what is kept for gradients.

    Where activations are computed again, a trial is made the first time only.
    """
    with (
        torch.inference_mode(False),
        torch.set_grad_enabled(gradients),
        torch.autograd.graph.saved_tensors_hooks(_same, _same),
    ):
        yield


def _same(x: Tensor) -> Tensor:
    return x


def _bound(inputs: Sequence[Tensor], found: list[Tensor | None]) -> float:
    """By how much results may differ, as a share of the largest."""
    # Products may be those of 16-bit types although inputs and results are float32.
    types = {each.dtype for each in (*inputs, *found) if each is not None}
    autocast = torch.is_autocast_enabled(inputs[0].device.type)
    bounds = [_BOUNDS[dtype] for dtype in types if dtype in _BOUNDS]
    bounds += [_BOUNDS[torch.bfloat16]] * autocast
    bounds += [_TF32_BOUND] * uses_tf32()
    return max(bounds, default=_FLOAT32_BOUND)


def _difference(
    found: list[Tensor | None], expected: list[Tensor | None], bound: float
) -> str | None:
    for a, b in zip(found, expected, strict=True):
        if a is None or b is None:
            if a is not b:
                return "has other gradients"
            continue
        off = (a.double() - b.double()).abs().max() / b.double().abs().max().clamp(min=1e-30)
        if not off <= bound:  # nor if it is not a number
            return f"differs by {float(off):.0e} of the largest value"
    return None


def _results(
    way: Way, inputs: Sequence[Tensor], parameters: Sequence[Tensor], gradients: bool
) -> list[Tensor | None]:
    """What a way gives, and with `gradients` those of inputs and parameters."""
    given = _copies(inputs, gradients)
    out = way(*given)
    if not gradients:
        return [out]
    # Not all ones, for which gradients of norms are zero.
    weights = torch.linspace(-1, 1, out.numel(), device=out.device).view(out.shape)
    wanted = [*given, *(each for each in parameters if each.requires_grad)]
    grads = torch.autograd.grad((out.float() * weights).sum(), wanted, allow_unused=True)
    return [out.detach(), *grads]


def _copies(inputs: Sequence[Tensor], gradients: bool) -> list[Tensor]:
    """Copies, because views of what other code will change must not be written to or kept."""
    return [x.detach().clone().requires_grad_(gradients) for x in inputs]


def _time(
    way: Way,
    inputs: Sequence[Tensor],
    parameters: Sequence[Tensor],
    gradients: bool,
    timer: Timer,
) -> float:
    """Median time; infinite if memory does not suffice."""
    with _apart(gradients):
        given = _copies(inputs, gradients)
        wanted = [*given, *(each for each in parameters if each.requires_grad)]

        def run() -> None:
            out = way(*given)
            if gradients:
                torch.autograd.grad(out.float().sum(), wanted, allow_unused=True)

        try:
            times = [timer(run, inputs[0].device) for _ in range(_UNTIMED + _TIMED)]
        except torch.OutOfMemoryError:
            return float("inf")
    return statistics.median(times[_UNTIMED:])


def _event_ms(run: Callable[[], object], device: torch.device) -> float:
    """Milliseconds on the device from an empty queue to the end of all that `run` launched."""
    with torch.cuda.device(device):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        # Not the whole device, as another thread may be capturing on it.
        torch.cuda.current_stream(device).synchronize()
        start.record()
        run()
        end.record()
        end.synchronize()
    return float(start.elapsed_time(end))
