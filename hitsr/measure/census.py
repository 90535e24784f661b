"""Watch every operator of a forward: what it multiplies, what it puts out, what memory it holds.

Torch hands each operator to a dispatch mode, whole where inference mode lets it arrive whole.
Shapes are enough, so the forward may run on the meta device, where samples are not computed.
"""

import math
import weakref
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

_COPIES = ("_to_copy", "_unsafe_view", "clone", "copy_", "detach_", "lift_fresh")


class Census(TorchDispatchMode):
    """Counts the operators of `model` that run inside it, by operator and by module.

    A module is charged with all that runs within its call, parts of it included; "" is the model.
    `refuse` is asked the name of every operator first, and raises for one that it will not have.
    """

    def __init__(self, model: nn.Module, refuse: Callable[[str], None]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.flops: Counter[str] = Counter()
        self.activations: Counter[str] = Counter()
        self.uncounted: Counter[str] = Counter()
        self.flops_by_module: Counter[str] = Counter()
        self.activations_by_module: Counter[str] = Counter()
        self.memory = LiveMemory()
        self._refuse = refuse
        self._running: list[str] = []
        for name, module in model.named_modules():
            module.register_forward_pre_hook(self._entering(name))
            module.register_forward_hook(self._leaving)

    def __torch_dispatch__(
        self,
        operator: Any,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        name, formula = operator._opname, _formula(operator)
        self._refuse(name)
        if formula is None:
            with self:
                parts = operator.decompose(*args, **kwargs)
            if parts is not NotImplemented:
                return parts
        result = operator(*args, **kwargs)
        if formula is not None:
            self._charge(name, formula(*args, **kwargs, out_val=result), result.numel())
        elif name == "native_layer_norm":
            self._charge("layer_norm", _layer_norm_flops(args[0], weight=args[2]), 0)
        elif not _only_arranges(operator, name, args):
            self.uncounted[name] += 1
        self.memory.take(result, self._running[-1] if self._running else "")
        return result

    def _charge(self, operator: str, flops: int, activations: int) -> None:
        self.flops[operator] += flops
        if activations:
            self.activations[operator] += activations
        for module in set(self._running):
            self.flops_by_module[module] += flops
            self.activations_by_module[module] += activations

    def _entering(self, name: str) -> Callable[[nn.Module, Any], None]:
        return lambda _module, _args: self._running.append(name)

    def _leaving(self, _module: nn.Module, _args: Any, _output: Any) -> None:
        self._running.pop()


class LiveMemory:
    """Bytes of the tensors that operators made and that are still held; views share theirs."""

    def __init__(self) -> None:
        self.peak_bytes, self.peak_at = 0, ""
        self._live_bytes = 0
        self._known: set[int] = set()

    def ignore(self, tensors: Iterator[Tensor]) -> None:
        """Leave out what was there before, such as parameters; views of them are no new memory."""
        self._known |= {tensor.untyped_storage()._cdata for tensor in tensors}

    def take(self, result: Any, where: str) -> None:
        """Note what an operator returned while the module `where` was running."""
        for tensor in _tensors(result):
            storage = tensor.untyped_storage()
            address = storage._cdata
            if address not in self._known:
                self._known.add(address)
                size = storage.nbytes()
                self._live_bytes += size
                weakref.finalize(storage, self._free, address, size)
        if self._live_bytes > self.peak_bytes:
            self.peak_bytes, self.peak_at = self._live_bytes, where

    def _free(self, address: int, size: int) -> None:
        self._known.discard(address)
        self._live_bytes -= size


def _formula(operator: Any) -> Callable[..., int] | None:
    """Multiply-accumulates of a call, for operators that multiply."""
    packet = operator._overloadpacket
    if packet is torch.ops.aten.scaled_dot_product_attention:
        return _attention_flops
    if packet not in flop_registry:
        return None
    return lambda *args, **kwargs: flop_registry[packet](*args, **kwargs) // 2


def _attention_flops(
    query: Tensor, key: Tensor, value: Tensor, *_: object, out_val: Tensor, **__: object
) -> int:
    """The two products of the textbook: (.., t, d) with (.., s, d), (.., t, s) with (.., s, e)."""
    queries = math.prod(out_val.shape[:-1])
    return queries * key.shape[-2] * (query.shape[-1] + value.shape[-1])


def _layer_norm_flops(x: Tensor, weight: Tensor | None) -> int:
    """As fvcore estimates: five per element, four without weights of its own."""
    return math.prod(x.shape) * (4 if weight is None else 5)


def _only_arranges(operator: Any, name: str, args: tuple[Any, ...]) -> bool:
    """Whether an operator computes no sample: a view, a copy, or a new tensor made of none."""
    return not _tensors(args) or name in _COPIES or cast(bool, operator.is_view)


def _tensors(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, (list, tuple)):
        return [tensor for part in value for tensor in _tensors(part)]
    return []
