"""Keep what depends on parameters and size alone, such as position biases, between forwards.

A value is kept only in eval mode and where no gradient is asked for, and is found again only with
the same parameters at the same version, device and dtype, for the same size, computed in the same
dtype: autocast changes it. Writes through `.data` do not raise a parameter's version: they are out
of reach.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn


class EvalCache:
    """One kept value per key; not in the state dict, not in deep copies or pickles."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[_State, Tensor]] = {}

    def get(
        self,
        owner: nn.Module,
        key: str,
        compute: Callable[[], Tensor],
        size: tuple[int, ...] = (),
    ) -> Tensor:
        """The kept value of `compute()` for `owner`'s parameters and `size`, or a fresh one.

        Only the last size is kept: a folder of pictures must not fill the memory with masks.
        """
        if owner.training:
            self._kept.clear()
            return compute()
        if not torch.compiler.is_compiling():  # most never need the compiler: 1 s and 160 MB
            return self._find(owner, key, compute, size)
        # What is kept may change between forwards: it is no part of a compiled graph.
        value: Tensor = torch.compiler.disable(self._find)(owner, key, compute, size)
        return value

    def _find(
        self,
        owner: nn.Module,
        key: str,
        compute: Callable[[], Tensor],
        size: tuple[int, ...],
    ) -> Tensor:
        parameters = list(_parameters(owner))
        wanted = torch.is_grad_enabled() and any(p.requires_grad for p in parameters)
        if wanted or any(p.is_inference() for p in parameters):
            self._kept.clear()
            return compute()
        versions = [(p._version, p.device, p.dtype) for p in parameters]
        state = _State(parameters, versions, size, _autocast_dtype(parameters[0].device.type))
        if key in self._kept:
            before, value = self._kept[key]
            if before.same(state):
                return value
        with torch.inference_mode(False), torch.no_grad():
            value = compute()
        self._kept[key] = (state, value)
        return value

    def __deepcopy__(self, memo: dict[int, object]) -> "EvalCache":
        return EvalCache()

    def __reduce__(self) -> tuple[type["EvalCache"], tuple[()]]:
        return EvalCache, ()


def _parameters(module: nn.Module) -> Iterator[nn.Parameter]:
    """As `module.parameters()` in a fraction of its time, for blocks ask for every strip."""
    yield from (each for each in module._parameters.values() if each is not None)
    for child in module._modules.values():
        if child is not None:
            yield from _parameters(child)


class _State(NamedTuple):
    """What a value was computed from."""

    parameters: list[nn.Parameter]  # themselves: the id of one that is gone may name another
    versions: list[tuple[int, torch.device, torch.dtype]]
    size: tuple[int, ...]
    autocast: torch.dtype | None

    def same(self, other: "_State") -> bool:
        """Whether a value of the one is a value of the other."""
        if (self.versions, *self[2:]) != (other.versions, *other[2:]):
            return False
        return all(a is b for a, b in zip(self.parameters, other.parameters, strict=True))


def _autocast_dtype(device: str) -> torch.dtype | None:
    """What matrix products compute in on that kind of device now, where autocast decides it."""
    if not (torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)):
        return None
    return torch.get_autocast_dtype(device)
