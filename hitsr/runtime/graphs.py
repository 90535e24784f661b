"""Capture work of fixed shapes as a CUDA graph, and repeat it with one launch.

A graph repeats the kernels of one run on the memory of that run. So inputs are copied into buffers
of the graph, results are copied out of it, and whatever else the kernels read must stay where it
is. `cuda` makes all calls of CUDA; tests put a stand-in for CPUs in its place.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Generic, TypeVar, cast

import torch
from torch import Tensor

from hitsr.base.errors import in_one_line
from hitsr.runtime.capture_rules import CaptureError, CaptureRules

T = TypeVar("T", bound=Tensor | tuple[Tensor, ...])
Replay = Callable[[], None]
Pool = Any  # what torch.cuda.graph_pool_handle returns

WARM_UPS = 3  # cuBLAS, cuDNN and autotuners choose kernels and allocate workspaces in first runs
# One capture may be under way in a process; and graphs of one pool share memory.
ONE_AT_A_TIME = threading.RLock()


class Cuda:
    """The calls of CUDA that capturing and replaying consist of."""

    def __init__(self) -> None:
        self._last: dict[torch.device, torch.cuda.Event] = {}  # end of the last replay
        # By device: for warm-ups, and for captures. cuBLAS keeps a workspace for every stream.
        self._sides: dict[torch.device, torch.cuda.Stream] = {}
        self._streams: dict[int, torch.cuda.Stream] = {}

    def has_graphs(self, device: torch.device) -> bool:
        """Whether work on this device can be captured."""
        return device.type == "cuda"

    def is_capturing(self) -> bool:
        """Whether this thread's work is being captured, by whomever."""
        return torch.cuda.is_initialized() and torch.cuda.is_current_stream_capturing()

    def new_pool(self) -> Pool:
        """Memory for graphs that are never replayed at the same time."""
        return torch.cuda.graph_pool_handle()

    @contextmanager
    def side_stream(self, device: torch.device) -> Iterator[None]:
        """Put the block's work on a stream of its own; work before and after it stays in order."""
        with torch.cuda.device(device):
            current = torch.cuda.current_stream()
            if device not in self._sides:
                self._sides[device] = torch.cuda.Stream()
            side = self._sides[device]
            side.wait_stream(current)
            try:
                # Leaves the stream too where a failed capture does not.
                with torch.cuda.stream(side):
                    yield
            finally:
                current.wait_stream(side)

    def record(self, function: Callable[[], T], pool: Pool | None) -> tuple[Replay, T]:
        """Capture on the current device: a function that replays, and results not yet computed.

        Other threads may go on using the device. Its default generator takes part by itself: random
        numbers go on from replay to replay as they do without a graph.
        """
        # A stream for captures alone: cuBLAS has a workspace for each stream. One that a warm-up
        # made is ordinary memory, which torch may free; one that a capture made is in its pool.
        # Torch's own stream for captures is on one device only.
        device = torch.cuda.current_device()
        if device not in self._streams:
            self._streams[device] = torch.cuda.Stream()
        graph, stream = torch.cuda.CUDAGraph(), self._streams[device]
        with torch.cuda.graph(graph, pool, stream, capture_error_mode="thread_local"):
            results = function()
        return lambda: graph.replay(), results  # looked up then, as who counts FLOPs replaces it

    @contextmanager
    def in_turn(self, device: torch.device) -> Iterator[None]:
        """Start the block's work after that of earlier such blocks, on whatever streams."""
        stream = torch.cuda.current_stream(device)
        if device in self._last:
            stream.wait_event(self._last[device])
        yield
        with torch.cuda.device(device):
            self._last.setdefault(device, torch.cuda.Event()).record(stream)


cuda = Cuda()


class Captured(Generic[T]):
    """A captured function; made by `capture`.

    `inputs` are the graph's buffers: who writes into them may pass them to `replay`, which then
    copies nothing.
    """

    def __init__(
        self, inputs: tuple[Tensor, ...], results: T, replay: Replay, seen: "_Capturing"
    ) -> None:
        self.inputs = inputs
        self._results, self._replay = results, replay
        self._kept_alive = [*seen.outside.values(), *seen.held]
        self._changed, self._checks = list(seen.changed.values()), seen.checks

    def is_current(self) -> bool:
        """Whether no value that was computed beforehand (`hold`) has been given up since."""
        return all(check() for check in self._checks)

    def replay(self, *inputs: Tensor) -> T:
        """The function's results for other inputs of the same shapes and types, in new memory.

        Inputs may lie on another device. Later replays do not touch the results. Whatever the
        function changes in place, such as weights in a training step, counts as changed anew.
        Raises ValueError for other inputs than those that were captured.
        """
        if _kinds(inputs) != _kinds(self.inputs):
            raise ValueError(
                f"captured for {_kinds(self.inputs)}, called with {_kinds(inputs)}; "
                "capture a graph for these"
            )
        with ONE_AT_A_TIME, torch.no_grad(), cuda.in_turn(self.inputs[0].device):
            for buffer, given in zip(self.inputs, inputs, strict=True):
                if given is not buffer:
                    buffer.copy_(given, non_blocking=True)
            self._replay()
            results = _each(self._results, Tensor.clone)
        if self._changed:
            torch.autograd.graph.increment_version(self._changed)
        return results


def capture(
    function: Callable[..., T],
    inputs: Sequence[Tensor],
    *,
    warm_ups: int = WARM_UPS,
    pool: Pool | None = None,
) -> Captured[T]:
    """Capture `function(*inputs)`, which returns a tensor or a tuple of tensors.

    Inputs are one or more tensors on a CUDA device; copies of them become the graph's buffers.
    Before the capture, `function` runs `warm_ups` times for real: what it changes in place, such as
    weights, it changes then, and must be put back by the caller, in place. The capture itself
    computes nothing. All tensors that it reads are kept alive with the graph. Parameters must stay
    where they are: a graph goes on with the memory that they had. `pool`: memory shared with other
    graphs. The mode of gradients is the caller's; the cache of autocast is off, as what it holds
    would be lost.

    Errors of `function` in a warm-up pass through. Raises CaptureError, which names the operator or
    error, for what cannot be captured.
    """
    device, grad = inputs[0].device, torch.is_grad_enabled()
    check_graphs(device)
    # Torch keeps its random state's buffers from the first capture on: they must not be tensors of
    # inference mode, which other captures could not write to.
    with (
        ONE_AT_A_TIME,
        torch.inference_mode(False),
        torch.set_grad_enabled(grad),
        _without_autocast_cache(),
    ):
        buffers = tuple(map(_buffer, inputs))
        with cuda.side_stream(device):
            for _ in range(warm_ups - 1):
                function(*buffers)
            with CaptureRules(device.type):
                _check_type(function(*buffers))
            return _captured(function, buffers, pool)


def check_graphs(device: torch.device) -> None:
    """Raise CaptureError if the device has no CUDA graphs."""
    if not cuda.has_graphs(device):
        raise CaptureError(f"the device is {device}; CUDA graphs need a CUDA device")


def is_capturing() -> bool:
    """Whether what now runs computes nothing, but is captured for later."""
    return _capturing.now is not None or cuda.is_capturing()


def hold(value: object, is_current: Callable[[], bool]) -> None:
    """If a graph is being captured, have it keep a value that was computed beforehand.

    The value is a tensor, or a tuple that has some. `is_current` says whether a forward without a
    graph would still use it.
    """
    if _capturing.now is not None:
        _capturing.now.held.append(value)
        _capturing.now.checks.append(is_current)


def note(tensors: Sequence[Tensor]) -> None:
    """If a graph is being captured, have it keep tensors that a kernel of our own reads.

    PyTorch's operators are seen without this.
    """
    if _capturing.now is not None:
        _capturing.now.before(tensors, ())


def layout_of(x: Tensor) -> torch.memory_format:
    """Layout of the buffer for an input: channels last if x is, else contiguous."""
    last = torch.channels_last
    is_last = x.ndim == 4 and not x.is_contiguous() and x.is_contiguous(memory_format=last)
    return last if is_last else torch.contiguous_format


class _Capturing(CaptureRules):
    """Notes tensors from outside that operators read, and which of them they change."""

    def __init__(self, device_type: str) -> None:
        super().__init__(device_type)
        self.held: list[object] = []
        self.checks: list[Callable[[], bool]] = []
        self.outside: dict[int, Tensor] = {}  # by address
        self.changed: dict[int, Tensor] = {}
        self._made: set[int] = set()

    def before(self, given: Sequence[Tensor], written: Sequence[Tensor]) -> None:
        """Note tensors that no operator of this block has made."""
        for tensors, known in ((given, self.outside), (written, self.changed)):
            for tensor in tensors:
                if _address(tensor) not in self._made:
                    known.setdefault(_address(tensor), tensor)

    def after(self, made: Sequence[Tensor]) -> None:
        """Note tensors that an operator made."""
        self._made |= set(map(_address, made)) - self.outside.keys()


def _address(x: Tensor) -> int:
    return x.untyped_storage().data_ptr()


class _Now(threading.local):
    now: _Capturing | None = None


_capturing = _Now()


def _captured(
    function: Callable[..., T], buffers: tuple[Tensor, ...], pool: Pool | None
) -> Captured[T]:
    seen = _Capturing(buffers[0].device.type)
    failures: list[Exception] = []

    def run() -> T:
        try:
            with seen:
                return function(*buffers)
        except Exception as error:
            failures.append(error)
            raise

    _capturing.now = seen
    try:
        replay, results = cuda.record(run, pool)
    except Exception as error:
        # Once a capture has failed, its end fails too, with an error that tells nothing.
        first = next(iter(failures), error)
        raise CaptureError(in_one_line(first)) from first
    finally:
        _capturing.now = None
    return Captured(buffers, _each(results, Tensor.detach), replay, seen)


@contextmanager
def _without_autocast_cache() -> Iterator[None]:
    before = torch.is_autocast_cache_enabled()
    torch.set_autocast_cache_enabled(False)
    try:
        yield
    finally:
        torch.set_autocast_cache_enabled(before)


def _buffer(x: Tensor) -> Tensor:
    return x.detach().clone(memory_format=layout_of(x))


def _kinds(tensors: Sequence[Tensor]) -> list[tuple[tuple[int, ...], torch.dtype]]:
    return [(tuple(x.shape), x.dtype) for x in tensors]


def _check_type(results: object) -> None:
    parts = results if isinstance(results, tuple) else (results,)
    if not all(isinstance(part, Tensor) for part in parts):
        raise CaptureError(f"returns {type(results).__name__}; only tensors can be captured")


def _each(results: T, change: Callable[[Tensor], Tensor]) -> T:
    if isinstance(results, Tensor):
        return cast(T, change(results))
    return cast(T, tuple(change(each) for each in results))
