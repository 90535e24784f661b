"""Keep tensors that depend on parameters alone, such as position biases, between forwards.

A value is kept only in eval mode and where no gradient is wanted. It is used again only while the
parameters are the same objects with the same version, device and dtype, under the same autocast
dtype. Writing through `.data` does not raise a parameter's version, so it goes unnoticed. A CUDA
graph that reads a value keeps it alive; nothing is kept that a capture only seems to compute.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple, TypeVar

import torch
from torch import nn

from hitsr.models.precision import autocast_dtype
from hitsr.runtime.graphs import hold, is_capturing

_T = TypeVar("_T")  # a tensor, or a tuple of them


class EvalCache:
    """One value per key. Not in the state dict; empty in deep copies and pickles."""

    def __init__(self) -> None:
        # Replaced when values are given up: a graph knows the one that it was captured with.
        self._kept: dict[str, tuple[_State, Any]] = {}

    def get(self, owner: nn.Module, key: str, compute: Callable[[], _T]) -> _T:
        """`compute()`, which depends on parameters of `owner` alone: kept, or computed anew."""
        if owner.training:
            self._kept = {}
            return compute()
        if not torch.compiler.is_compiling():  # importing the compiler takes 1 s and 160 MB
            return self._find(owner, key, compute)
        # Compiled code must look the value up on every call, not hold the one of its first call.
        value: _T = torch.compiler.disable(self._find)(owner, key, compute)
        return value

    def clear(self) -> None:
        """Give up all values: torch does not count it as a change when weights are converted."""
        self._kept = {}

    def _find(self, owner: nn.Module, key: str, compute: Callable[[], _T]) -> _T:
        parameters = list(_parameters(owner))
        wanted = torch.is_grad_enabled() and any(p.requires_grad for p in parameters)
        if wanted or any(p.is_inference() for p in parameters):
            self._kept = {}
            return compute()
        versions = [(p._version, p.device, p.dtype) for p in parameters]
        state = _State(parameters, versions, autocast_dtype(parameters[0].device.type))
        if key in self._kept:
            before, kept = self._kept[key]
            if before.same(state):
                hold(kept, partial(self._is, self._kept))
                found: _T = kept
                return found
        with torch.inference_mode(False), torch.no_grad():
            value = compute()
        if not is_capturing():
            self._kept[key] = (state, value)
        return value

    def _is(self, kept: dict[str, tuple["_State", Any]]) -> bool:
        """Whether nothing was given up since: optimizers may not raise parameters' versions."""
        return self._kept is kept

    def __deepcopy__(self, memo: dict[int, object]) -> "EvalCache":
        return EvalCache()

    def __reduce__(self) -> tuple[type["EvalCache"], tuple[()]]:
        return EvalCache, ()


def _parameters(module: nn.Module) -> Iterator[nn.Parameter]:
    """`module.parameters()`, several times faster: it is called for every strip of every block."""
    yield from (each for each in module._parameters.values() if each is not None)
    for child in module._modules.values():
        if child is not None:
            yield from _parameters(child)


class _State(NamedTuple):
    """Everything that a value was computed from."""

    parameters: list[nn.Parameter]  # not their ids, which Python gives to new objects again
    versions: list[tuple[int, torch.device, torch.dtype]]
    autocast: torch.dtype | None

    def same(self, other: "_State") -> bool:
        """Whether a value computed from one is that computed from the other."""
        if (self.versions, self.autocast) != (other.versions, other.autocast):
            return False
        return all(a is b for a, b in zip(self.parameters, other.parameters, strict=True))
