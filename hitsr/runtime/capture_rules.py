"""What a CUDA graph cannot hold: copies between host and device, and results that depend on data.

A graph repeats kernels. It cannot wait for a value, choose a size by one, or copy anew from memory
of the host that has changed since. CUDA refuses some of this during a capture and accepts the rest,
which then repeats old values. Here all of it is refused, by the name of the operator.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from hitsr.base.errors import HitsrError

_aten = torch.ops.aten
_INDEXING = (_aten.index.Tensor, _aten.index_put.default, _aten.index_put_.default)
_COPIES = (_aten.copy_.default, _aten.copy.default, _aten._to_copy.default)
_MASKS = (torch.bool, torch.uint8)


class CaptureError(HitsrError):
    """Work that cannot be captured as a CUDA graph; the message names the operator or error."""


class CaptureRules(TorchDispatchMode):
    """Inside the block, an operator that no graph on `device_type` can hold raises CaptureError."""

    def __init__(self, device_type: str = "cuda") -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.device_type = device_type

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Check the operator, then run it."""
        kwargs = kwargs or {}
        given = _tensors((args, kwargs))
        if any(tensor.device.type == self.device_type for tensor in given):
            _check_results(func, args)
        self.before(given, _written(func, args, kwargs))
        made = func(*args, **kwargs)
        results = _tensors(made)
        self._check_devices(func, given, results)
        self.after(results)
        return made

    def before(self, given: Sequence[Tensor], written: Sequence[Tensor]) -> None:
        """Called before an operator runs, with all tensors given to it and those it will change."""

    def after(self, made: Sequence[Tensor]) -> None:
        """Called with the tensors that an operator returned."""

    def _check_devices(self, func: Any, given: list[Tensor], made: list[Tensor]) -> None:
        """Refuse copies to and from the device, and tensors made there from values of the host."""
        elsewhere = [x for x in (*given, *made) if x.device.type != self.device_type]
        if not elsewhere or len(elsewhere) == len(given) + len(made):
            if func is _aten.lift_fresh.default and not elsewhere and self.device_type != "cpu":
                raise CaptureError(f"{func} makes a tensor of the host's values in each run")
            return
        is_copy = func in _COPIES or (
            bool(made) and all(x.device.type != self.device_type for x in made)
        )
        # A single value of the host is passed to a kernel, as a number is; and attention returns
        # such values, its unused random state, beside its results.
        if is_copy or any(x.ndim for x in elsewhere):
            raise CaptureError(f"{func} copies between host and device")


def _check_results(func: Any, args: tuple[Any, ...]) -> None:
    """Refuse operators whose result, or its size, the host must wait for."""
    if func in _INDEXING:
        values = args[2:3]  # of index_put: one value for all is a fill, which needs no sizes
        fills = bool(values) and values[0].numel() == 1
        if fills or not any(index.dtype in _MASKS for index in _tensors(args[1])):
            return
    elif torch.Tag.data_dependent_output not in func.tags and (
        torch.Tag.dynamic_output_shape not in func.tags
    ):
        return
    raise CaptureError(f"{func} gives a result, or a size of one, that the host must wait for")


def _written(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Tensor]:
    """Tensors that an operator changes in place; some, as Adam's, do not raise their versions."""
    names = [argument.name for argument in func._schema.arguments]
    by_name = {**dict(zip(names, args, strict=False)), **kwargs}
    infos = {argument.name: argument.alias_info for argument in func._schema.arguments}
    written = [value for name, value in by_name.items() if infos[name] and infos[name].is_write]
    return _tensors(written)


def _tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]
