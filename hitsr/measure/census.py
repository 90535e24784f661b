"""Count the FLOPs, activations and memory of a forward, operator by operator.

A torch dispatch mode sees every operator that runs. In inference mode composite operators (such as
attention) arrive whole, else in parts. Only shapes matter: the forward may run on the meta device,
which computes no values. Work that is no operator, such as a Triton kernel, is named.
"""

import weakref
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch._ops import HigherOrderOperator
from torch.utils._python_dispatch import TorchDispatchMode

from hitsr.measure.operators import (
    ALLOCATIONS,
    COPIES,
    adds_nothing,
    formula,
    is_product,
    shown_name,
)
from hitsr.measure.unseen import FOREIGN, Origins, intercepting, storages


class Census(TorchDispatchMode):
    """Counts of all operators that run in a forward, by operator and by module.

    The counts of a module include those of its submodules; the name of the whole model is "".
    `seen` has every operator. `uncounted` has those that add nothing, and `unknown` operators and
    kernels whose products, if any, the count lacks.
    """

    supports_higher_order_operators = True

    def __init__(self, model: nn.Module, picture: Tensor) -> None:
        """Count a forward in inference mode, computed as if nothing were compiled."""
        super().__init__()  # type: ignore[no-untyped-call]
        self.flops: Counter[str] = Counter()
        self.activations: Counter[str] = Counter()
        self.seen: Counter[str] = Counter()
        self.uncounted: Counter[str] = Counter()
        self.unknown: Counter[str] = Counter()
        self.flops_by_module: Counter[str] = Counter()
        self.activations_by_module: Counter[str] = Counter()
        self.convolutions = self.convolved = 0  # calls of modules, and elements that they return
        self.memory = LiveMemory()
        self._origins = Origins()
        self._running: list[str] = []
        self._is_inside = False  # an operator, to which the kernels that it launches belong
        for name, module in model.named_modules():
            module.register_forward_pre_hook(self._enter_hook(name))
            module.register_forward_hook(self._leave)
        held = [picture, *model.parameters(), *model.buffers()]
        self.memory.ignore(held)
        self._origins.know_all_alive()
        self._origins.made(held)
        with (
            torch.compiler.set_stance("force_eager"),
            torch.inference_mode(),
            intercepting(self._launched),
            self,
        ):
            out = model(picture)
        self._read(_tensors(out))

    def __torch_dispatch__(
        self,
        operator: Any,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        name, flops_of = shown_name(operator), formula(operator)
        self.seen[name] += 1
        if isinstance(operator, HigherOrderOperator):
            read, written = _tensors((args, kwargs)), list[Tensor]()
        else:
            if flops_of is None:
                with self:
                    parts = operator.decompose(*args, **kwargs)
                if parts is not NotImplemented:
                    return parts
            read, written = _read_and_written(operator, args, kwargs)
        self._read(read)
        result = self._run(operator, args, kwargs)
        made = _tensors(result)
        self._origins.made(made, are_written=name not in ALLOCATIONS)
        self._origins.wrote(written)
        if flops_of is not None:
            activations = made[0].numel() if is_product(operator) else 0
            self._count(name, flops_of(*args, **kwargs, out_val=result), activations)
        elif not adds_nothing(operator, has_input=bool(read or written)):
            self.unknown[name] += 1
        elif (read or written) and name not in COPIES:
            self.uncounted[name] += 1
        self.memory.add(made, self._running[-1] if self._running else "")
        return result

    def _run(self, operator: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        before, self._is_inside = self._is_inside, True
        try:
            return operator(*args, **kwargs)
        finally:
            self._is_inside = before

    def _launched(self, kernel: str, given: tuple[Any, ...]) -> None:
        """A kernel was launched, which may have written any of the tensors that it was given."""
        if not self._is_inside:
            self.unknown[kernel] += 1
            self._origins.wrote(_tensors(given))

    def _read(self, tensors: Sequence[Tensor]) -> None:
        if unwritten := self._origins.read(tensors):
            self.unknown[FOREIGN] += unwritten

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

    def _leave(self, module: nn.Module, _args: Any, output: Any) -> None:
        self._running.pop()
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            self.convolutions += 1
            self.convolved += output.numel()


class LiveMemory:
    """Bytes of the live tensors that operators returned; views share the memory of their base."""

    def __init__(self) -> None:
        self.peak_bytes, self.peak_at = 0, ""  # peak_at: the module that was running
        self._live_bytes = 0
        self._known: set[int] = set()

    def ignore(self, tensors: Iterable[Tensor]) -> None:
        """Do not count tensors that existed before, such as parameters, nor views of them."""
        self._known |= {address for address, _ in storages(tensors)}

    def add(self, tensors: Iterable[Tensor], where: str) -> None:
        """Add what an operator returned while the module `where` was running."""
        for address, storage in storages(tensors):
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


def _read_and_written(
    operator: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[list[Tensor], list[Tensor]]:
    """The tensors whose elements an operator reads, and those that it writes, of its arguments.

    A view reads nothing. Neither does `lift_fresh`, which `torch.tensor` calls on a new tensor,
    unless the memory is another library's, as `torch.from_numpy` calls it too.
    """
    read, written = list[Tensor](), list[Tensor]()
    for place, argument in enumerate(operator._schema.arguments):
        given = args[place] if place < len(args) else kwargs.get(argument.name)
        is_written = argument.alias_info is not None and argument.alias_info.is_write
        (written if is_written else read).extend(_tensors(given))
    if operator._opname == "lift_fresh":
        return [each for each in read if not each.untyped_storage().resizable()], written
    return [] if operator.is_view or operator._opname in ALLOCATIONS else read, written


def _tensors(value: Any) -> list[Tensor]:
    """All tensors in nested lists, tuples and dicts."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        return [tensor for part in value for tensor in _tensors(part)]
    return []
