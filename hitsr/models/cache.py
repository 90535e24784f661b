"""Keep what depends on parameters and size alone, such as position biases, between forwards.

A value is kept only in eval mode and where no gradient is asked for, and is found again only with
the same parameters at the same version, device and dtype. Writes through `.data` do not raise a
parameter's version: they are out of reach.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn


class EvalCache:
    """One kept value per key; not in the state dict, not in deep copies or pickles."""

    def __init__(self) -> None:
        self._kept: dict[object, tuple[list[object], Tensor]] = {}

    def get(self, owner: nn.Module, key: object, compute: Callable[[], Tensor]) -> Tensor:
        """The kept value of `compute()` for `owner`'s parameters, or a fresh one."""
        parameters = list(owner.parameters())
        wanted = torch.is_grad_enabled() and any(p.requires_grad for p in parameters)
        if owner.training or wanted or any(p.is_inference() for p in parameters):
            self._kept.clear()
            return compute()
        state = [part for p in parameters for part in _identity(p)]
        if key in self._kept:
            before, value = self._kept[key]
            if before == state:
                return value
        with torch.inference_mode(False), torch.no_grad():
            value = compute()
        self._kept[key] = (state, value)
        return value

    def __deepcopy__(self, memo: dict[int, object]) -> "EvalCache":
        return EvalCache()

    def __reduce__(self) -> tuple[type["EvalCache"], tuple[()]]:
        return EvalCache, ()


def _identity(parameter: Tensor) -> tuple[object, ...]:
    return id(parameter), parameter._version, parameter.device, parameter.dtype
