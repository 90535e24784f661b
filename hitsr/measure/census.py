"""Count the FLOPs, activations and memory of a forward, operator by operator.

A torch dispatch mode sees every operator that runs. In inference mode composite operators (such as
attention) arrive whole, else in parts. Only shapes matter: the forward may run on the meta device,
which computes no values.

Shapes of attention: t queries, s keys, d width of queries and keys, e width of values.
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
    """Counts of all operators that run while the mode is active, by operator and by module.

    The counts of a module include those of its submodules; the name of the whole model is "".
    `refuse` is called with the name of every operator, and raises for those not allowed.
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
            module.register_forward_pre_hook(self._enter_hook(name))
            module.register_forward_hook(self._leave)

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
            self._count(name, formula(*args, **kwargs, out_val=result), result.numel())
        elif name == "native_layer_norm":
            self._count("layer_norm", _layer_norm_flops(args[0], weight=args[2]), 0)
        elif not _computes_nothing(operator, name, args):
            self.uncounted[name] += 1
        self.memory.add(result, self._running[-1] if self._running else "")
        return result

    def _count(self, operator: str, flops: int, activations: int) -> None:
        """Add to the operator's counts and to those of all modules that are running."""
        self.flops[operator] += flops
        if activations:
            self.activations[operator] += activations
        for module in set(self._running):
            self.flops_by_module[module] += flops
            self.activations_by_module[module] += activations

    def _enter_hook(self, name: str) -> Callable[[nn.Module, Any], None]:
        return lambda _module, _args: self._running.append(name)

    def _leave(self, _module: nn.Module, _args: Any, _output: Any) -> None:
        self._running.pop()


class LiveMemory:
    """Bytes of the live tensors that operators returned; views share the memory of their base."""

    def __init__(self) -> None:
        self.peak_bytes, self.peak_at = 0, ""  # peak_at: the module that was running
        self._live_bytes = 0
        self._known: set[int] = set()

    def ignore(self, tensors: Iterator[Tensor]) -> None:
        """Do not count tensors that existed before, such as parameters, nor views of them."""
        self._known |= {tensor.untyped_storage()._cdata for tensor in tensors}

    def add(self, result: Any, where: str) -> None:
        """Add what an operator returned while the module `where` was running."""
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
    """A function that gives the multiply-accumulates of a call; None for other operators."""
    packet = operator._overloadpacket
    if packet is torch.ops.aten.scaled_dot_product_attention:
        return _attention_flops
    if packet not in flop_registry:
        return None
    return lambda *args, **kwargs: flop_registry[packet](*args, **kwargs) // 2


def _attention_flops(
    query: Tensor, key: Tensor, value: Tensor, *_: object, out_val: Tensor, **__: object
) -> int:
    """The two products of attention: (.., t, d) x (.., d, s) and (.., t, s) x (.., s, e)."""
    queries = math.prod(out_val.shape[:-1])
    return queries * key.shape[-2] * (query.shape[-1] + value.shape[-1])


def _layer_norm_flops(x: Tensor, weight: Tensor | None) -> int:
    """fvcore's estimate: five per element, or four without learned weights."""
    return math.prod(x.shape) * (4 if weight is None else 5)


def _computes_nothing(operator: Any, name: str, args: tuple[Any, ...]) -> bool:
    """Whether an operator is a view, a copy, or creates a tensor without any input tensor."""
    return not _tensors(args) or name in _COPIES or cast(bool, operator.is_view)


def _tensors(value: Any) -> list[Tensor]:
    """All tensors in nested lists and tuples."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, (list, tuple)):
        return [tensor for part in value for tensor in _tensors(part)]
    return []
