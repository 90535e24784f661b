"""Find work that torch's dispatcher never sees: Triton kernels, CUDA graphs, foreign libraries.

Launches of Triton kernels and replays of CUDA graphs are intercepted. Any other code betrays itself
by what it leaves: a tensor that no operator made, or one that `empty` made and no operator wrote.
"""

import gc
import sys
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor

Note = Callable[[str, tuple[Any, ...]], None]  # a kernel, and what it was given

FOREIGN = "code outside PyTorch"
KERNEL = "Triton kernel "  # before its name


class Origins:
    """What is known of the memory of tensors: that it is there, and whether anything wrote it."""

    def __init__(self) -> None:
        self._known: set[int] = set()
        self._unwritten: set[int] = set()

    def know_all_alive(self) -> None:
        """Take the tensors that exist now, such as constants of a model, as made by operators."""
        for each in gc.get_objects():
            if issubclass(type(each), Tensor):
                self.made([each])

    def read(self, tensors: Iterable[Tensor]) -> int:
        """How many of these, which an operator reads, no operator has written; told once."""
        found = 0
        for address, storage in storages(tensors):
            if address in self._unwritten or address not in self._known:
                found += 1
                self._unwritten.discard(address)
                self._know(address, storage)
        return found

    def made(self, tensors: Iterable[Tensor], *, are_written: bool = True) -> None:
        """An operator made these, and wrote their elements unless it only allocates memory."""
        for address, storage in storages(tensors):
            if address not in self._known and not are_written:
                self._unwritten.add(address)
            self._know(address, storage)

    def wrote(self, tensors: Iterable[Tensor]) -> None:
        """An operator wrote into these."""
        for address, storage in storages(tensors):
            self._unwritten.discard(address)
            self._know(address, storage)

    def _know(self, address: int, storage: torch.UntypedStorage) -> None:
        if address not in self._known:
            self._known.add(address)
            weakref.finalize(storage, self._forget, address)

    def _forget(self, address: int) -> None:
        self._known.discard(address)
        self._unwritten.discard(address)


@contextmanager
def intercepting(note: Note) -> Iterator[None]:
    """Call `note` for each Triton kernel launched and CUDA graph replayed."""
    with ExitStack() as stack:
        depth = [0]  # an autotuner runs kernels, which are then told as one
        for launcher in _launchers():
            stack.enter_context(_told(launcher, "run", _kernel_name, note, depth))
        stack.enter_context(
            _told(torch.cuda.CUDAGraph, "replay", lambda _: "CUDA graph", note, depth)
        )
        yield


@contextmanager
def _told(
    owner: type, method: str, name_of: Callable[[Any], str], note: Note, depth: list[int]
) -> Iterator[None]:
    """Replace a method by one that also calls `note`."""
    original = owner.__dict__[method]

    def telling(self: Any, *args: Any, **kwargs: Any) -> Any:
        if not depth[0] and not kwargs.get("warmup"):  # a Triton warm-up only compiles
            note(name_of(self), (*args, *kwargs.values()))
        depth[0] += 1
        try:
            return original(self, *args, **kwargs)
        finally:
            depth[0] -= 1

    setattr(owner, method, telling)
    try:
        yield
    finally:
        setattr(owner, method, original)


def _launchers() -> list[type]:
    """Triton's classes that launch kernels: compiled, interpreted, autotuned; none without it."""
    jit = sys.modules.get("triton.runtime.jit")
    waiting, found = [jit.KernelInterface] if jit else [], []
    while waiting:
        each = waiting.pop()
        waiting += each.__subclasses__()
        if "run" in each.__dict__:
            found.append(each)
    return found


def _kernel_name(kernel: Any) -> str:
    while not hasattr(kernel, "__name__") and hasattr(kernel, "fn"):  # an autotuner's kernel
        kernel = kernel.fn
    return KERNEL + str(getattr(kernel, "__name__", type(kernel).__name__))


def storages(tensors: Iterable[Tensor]) -> Iterator[tuple[int, torch.UntypedStorage]]:
    """Address and storage of each tensor that has one; sparse and nested ones have several."""
    for tensor in tensors:
        try:
            storage = tensor.untyped_storage()
        except (NotImplementedError, RuntimeError):
            continue
        yield storage._cdata, storage
