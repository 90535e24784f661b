"""Run a module's forwards as CUDA graphs, as long as this gives what plain forwards give.

A graph holds for one kind of call and for the module as it is: for where its weights lie, and for
values that were computed from them beforehand. So what the module consists of is compared before
each replay. Attributes that are no tensors, such as a number that a forward reads, are not.
"""

import warnings
from collections.abc import Callable, Iterator
from itertools import chain
from operator import attrgetter, is_, itemgetter, methodcaller
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.utils._python_dispatch import _get_current_dispatch_mode

from hitsr.base.errors import SpecError
from hitsr.runtime import graphs
from hitsr.runtime.capture_rules import CaptureError
from hitsr.runtime.free_memory import is_out_of_memory
from hitsr.runtime.graphs import ONE_AT_A_TIME, Captured, Pool, capture

_CHANGES = "a forward changes weights or buffers"
MOST = 8  # graphs of one module; torch.compile too compiles for as many sizes


class Graphed(nn.Module):
    """A module whose forwards are one launch each; takes one or more tensors by position.

    The first call of a kind (shapes, types and layouts of inputs, autocast, settings of torch that
    choose kernels) runs plainly, the second captures a graph, and from then on it is replayed. At
    most eight graphs are kept; the least recently used one goes first. Results are in memory of
    their own. Graphs are captured anew after any change of weights and buffers but through `.data`.

    What cannot be a graph runs plainly, with a warning the first time: on other devices than CUDA,
    in training mode, where gradients are wanted, with hooks inside the module, under
    `torch.func` and dispatch modes, within another capture, and if the capture fails. Compiled,
    exported and traced code consists of the plain forward. With `required`, the first call captures
    already, and where others would run plainly SpecError is raised.
    """

    def __init__(self, module: nn.Module, *, required: bool = False) -> None:
        super().__init__()
        self.module = module
        self.graphs = Graphs(required)

    def forward(self, *inputs: Tensor) -> Any:
        """What the module returns: a tensor or a tuple of tensors."""
        return self.graphs.run(self.module, self.module, *inputs)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "Graphed":
        self.graphs.clear()
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        return self


class Graphs:
    """The graphs of one module. Not in its state dict; empty in deep copies and pickles."""

    def __init__(self, required: bool = False) -> None:
        self._required = required
        self._said: set[str] = set()
        self.clear()

    def clear(self) -> None:
        """Drop all graphs and free their memory."""
        self._parts: _Parts | None = None
        self._kept: dict[_Kind, Captured[Any]] = {}  # the least recently used one first
        self._seen: set[_Kind] = set()
        self._refused: dict[_Kind, str] = {}
        self._pool: Pool | None = None

    def run(self, module: nn.Module, forward: Callable[..., Any], *inputs: Tensor) -> Any:
        """`forward(*inputs)`, which is all or a part of the module's forward; see `Graphed`."""
        if torch.compiler.is_compiling() or torch._C._get_tracing_state():
            return forward(*inputs)
        try:
            captured = self._find(module, forward, inputs)
            if captured is not None:
                return captured.replay(*inputs)
        except CaptureError as error:
            if self._required:
                raise SpecError(f"CUDA graph: {error}") from error
            self._say(str(error))
            return self._plainly(forward, inputs)
        results = self._plainly(forward, inputs)
        if self._parts is not None and not self._parts.are_current():
            self._say(_CHANGES)
        return results

    def _plainly(self, forward: Callable[..., Any], inputs: tuple[Tensor, ...]) -> Any:
        try:
            return forward(*inputs)
        except (MemoryError, RuntimeError) as error:
            if not self._kept or not is_out_of_memory(error):
                raise
        self.clear()  # and with what that frees, once more
        return forward(*inputs)

    def _say(self, problem: str) -> None:
        if problem not in self._said:
            self._said.add(problem)
            message = f"a network runs without a CUDA graph, kernel by kernel: {problem}"
            # The line that calls the module: run, forward and two functions of torch are between.
            warnings.warn(message, RuntimeWarning, stacklevel=6)

    def _find(
        self, module: nn.Module, forward: Callable[..., Any], inputs: tuple[Tensor, ...]
    ) -> Captured[Any] | None:
        """The graph for such a call; None in the first one. CaptureError if there can be none."""
        _check_inputs(inputs)
        with ONE_AT_A_TIME:
            kind = _kind(inputs)
            stale = kind in self._kept and not self._kept[kind].is_current()
            if stale or self._parts is None or not self._parts.are_current():
                self.clear()
                self._parts = _Parts(module, forward)
            self._parts.check(inputs)
            if kind in self._refused:
                raise CaptureError(self._refused[kind])
            if kind in self._kept:
                self._kept[kind] = self._kept.pop(kind)  # the last used is last
                return self._kept[kind]
            if kind not in self._seen and not self._required:
                self._seen.add(kind)
                return None
            try:
                self._kept[kind] = self._captured(forward, inputs)
            except CaptureError as error:
                self._refused[kind], self._pool = str(error), None
                raise
            return self._kept[kind]

    def _captured(self, forward: Callable[..., Any], inputs: tuple[Tensor, ...]) -> Captured[Any]:
        assert self._parts is not None
        if len(self._kept) == MOST:
            del self._kept[next(iter(self._kept))]
        self._pool = self._pool or graphs.cuda.new_pool()
        try:
            with torch.no_grad():
                captured = capture(forward, inputs, pool=self._pool)
        except (MemoryError, RuntimeError, CaptureError) as error:
            if is_out_of_memory(error) or is_out_of_memory(error.__cause__ or error):
                self._kept.clear()
                raise CaptureError("its graph needs more memory than there is") from error
            raise
        if not self._parts.are_current():
            raise CaptureError(_CHANGES)
        return captured

    def __deepcopy__(self, memo: dict[int, object]) -> "Graphs":
        return Graphs(self._required)

    def __reduce__(self) -> tuple[type["Graphs"], tuple[bool]]:
        return Graphs, (self._required,)


class _Parts:
    """All modules, parameters and buffers of a module, and what a replay depends on in them."""

    def __init__(self, module: nn.Module, forward: Callable[..., Any]) -> None:
        modules = list(module.modules())
        own = [(x._parameters, x._buffers, x._modules) for x in modules]
        # A change is compared with in C: networks have some thousand parts.
        self._holders = [holder for holders in own for holder in holders if holder]
        self._parts = list(self._now())
        self._tensors = [part for part in self._parts if isinstance(part, Tensor)]
        self._attributes = [vars(each) for each in modules]
        # torch calls hooks of the whole module itself, unless it is called within the graph.
        self._inner = self._attributes if forward is module else self._attributes[1:]
        self._tracked = not any(tensor.is_inference() for tensor in self._tensors)
        self._state = self._values() if self._tracked else []

    def are_current(self) -> bool:
        """Whether all parts are the same objects in the same memory, with unchanged values."""
        same = all(map(is_, self._now(), self._parts))
        return same and self._tracked and self._values() == self._state

    def check(self, inputs: tuple[Tensor, ...]) -> None:
        """CaptureError if the module cannot be replayed as it is now."""
        tensors = (*self._tensors, *inputs)
        if any(map(itemgetter("training"), self._attributes)):
            raise CaptureError("it is in training mode; call .eval()")
        if torch.is_grad_enabled() and any(map(attrgetter("requires_grad"), tensors)):
            raise CaptureError("gradients are wanted; use torch.inference_mode() if they are not")
        if any(map(itemgetter("_forward_hooks"), self._inner)) or any(
            map(itemgetter("_forward_pre_hooks"), self._inner)
        ):
            raise CaptureError("its modules have hooks, which a replay does not call; remove them")
        if not self._tracked:
            raise CaptureError(
                "weights were made in inference mode, where torch does not count their changes; "
                "make the network outside"
            )

    def _now(self) -> Iterator[object]:
        # The end is a part too, so that lists of different length differ.
        return chain(chain.from_iterable(map(methodcaller("values"), self._holders)), (_END,))

    def _values(self) -> list[int]:
        versions = map(attrgetter("_version"), self._tensors)
        return [*versions, *map(Tensor.data_ptr, self._tensors)]


_END = object()
_Kind = tuple[object, ...]


def _check_inputs(inputs: tuple[Tensor, ...]) -> None:
    """CaptureError for a call that no graph can stand for."""
    if not inputs or any(type(x) not in (Tensor, nn.Parameter) for x in inputs):
        raise CaptureError("its inputs are not plain tensors")
    graphs.check_graphs(inputs[0].device)
    if graphs.is_capturing():
        raise CaptureError("it is captured as a part of another graph")
    if _get_current_dispatch_mode() is not None:
        raise CaptureError("a dispatch mode, such as a counter of FLOPs, watches its operators")
    if torch._C._functorch.peek_interpreter_stack() is not None or forward_ad._current_level >= 0:
        raise CaptureError("it is called under torch.func or forward-mode gradients")


def _kind(inputs: tuple[Tensor, ...]) -> _Kind:
    """What one graph is for: all but weights that chooses kernels."""
    device = inputs[0].device.type
    autocast = torch.is_autocast_enabled(device) and torch.get_autocast_dtype(device)
    layouts = ((x.shape, x.dtype, x.device, graphs.layout_of(x)) for x in inputs)
    return (*chain.from_iterable(layouts), autocast, *_settings())


def _settings() -> tuple[object, ...]:
    """Settings of torch that choose among kernels, or how exactly they compute."""
    backends: Any = torch.backends  # its types lack names that are there
    cuda, cudnn = backends.cuda, backends.cudnn
    return (
        backends.fp32_precision,
        cuda.matmul.fp32_precision,
        cuda.matmul.allow_fp16_reduced_precision_reduction,
        cuda.matmul.allow_bf16_reduced_precision_reduction,
        cudnn.fp32_precision,
        cudnn.conv.fp32_precision,
        cudnn.enabled,
        cudnn.benchmark,
        cudnn.deterministic,
        cuda.flash_sdp_enabled(),
        cuda.mem_efficient_sdp_enabled(),
        cuda.math_sdp_enabled(),
        cuda.cudnn_sdp_enabled(),
        torch.are_deterministic_algorithms_enabled(),
    )
