"""Triton's interpreter with checks of memory, and with bfloat16 as GPUs round and multiply it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
import triton.language as tl
from triton.runtime import interpreter


class Memory:
    """The tensors of one launch, and which program touched which place."""

    def __init__(self, kernel: str, tensors: list[torch.Tensor]) -> None:
        self.kernel, self.program = kernel, 0
        self.places = [_place(tensor) for tensor in tensors]
        self.read: list[np.ndarray] = []  # pairs of address and program
        self.written: list[np.ndarray] = []

    def touch(self, addresses: np.ndarray, size: int, written: bool) -> None:
        """Check addresses of values of `size` bytes, and note them."""
        if not addresses.size:
            return
        ok = np.zeros(addresses.shape, bool)
        for first, last in self.places:
            ok |= (addresses >= first) & (addresses + size <= last)
        what = "stores to" if written else "loads from"
        assert ok.all(), f"{self.kernel} {what} memory of no tensor: {addresses[~ok][:4]}"
        assert not (addresses % size).any(), f"{self.kernel} {what} unaligned memory"
        pairs = np.unique(addresses.astype(np.uint64))
        assert not written or len(pairs) == len(addresses), f"{self.kernel} stores to a place twice"
        noted = np.stack([pairs, np.full_like(pairs, self.program)], 1)
        (self.written if written else self.read).append(noted)

    def finish(self) -> None:
        """Check that no program touched what another one wrote."""
        if not self.written:
            return
        written = np.unique(np.concatenate(self.written), axis=0)
        places = written[:, 0]
        assert len(np.unique(places)) == len(places), f"{self.kernel}: two programs store to one"
        if not self.read:
            return
        read = np.unique(np.concatenate(self.read), axis=0)
        at = np.searchsorted(places, read[:, 0]).clip(max=len(places) - 1)
        foreign = (places[at] == read[:, 0]) & (written[at, 1] != read[:, 1])
        assert not foreign.any(), f"{self.kernel}: a program reads what another one stores"


def _place(x: torch.Tensor) -> tuple[int, int]:
    """First and one past the last address of a tensor's elements."""
    extent = sum((n - 1) * stride for n, stride in zip(x.shape, x.stride())) + 1
    extent = extent if x.numel() else 0
    return x.data_ptr(), x.data_ptr() + extent * x.element_size()


@contextmanager
def checked() -> Iterator[None]:
    """Have the interpreter check memory inside the block; AssertionError names the kernel."""
    builder, executor = interpreter.InterpreterBuilder, interpreter.GridExecutor
    cast = builder.cast_impl
    load, store, dot = builder.create_masked_load, builder.create_masked_store, builder.create_dot
    call, turn = executor.__call__, builder.set_grid_idx
    now: list[Memory] = []

    def checked_load(self: Any, pointers: Any, mask: Any, *rest: Any) -> Any:
        size = pointers.get_element_ty().primitive_bitwidth // 8
        now[-1].touch(_chosen(pointers, mask), size, written=False)
        return load(self, pointers, mask, *rest)

    def checked_store(self: Any, pointers: Any, value: Any, mask: Any, *rest: Any) -> Any:
        size = pointers.get_element_ty().primitive_bitwidth // 8
        now[-1].touch(_chosen(pointers, mask), size, written=True)
        return store(self, pointers, value, mask, *rest)

    def wide_dot(self: Any, a: Any, b: Any, *rest: Any) -> Any:
        return dot(self, _wide(a), _wide(b), *rest)

    def rounding_cast(self: Any, x: Any, target: Any) -> Any:
        if x.dtype.scalar == tl.float32 and target.scalar == tl.bfloat16:
            return interpreter.TensorHandle(_rounded(x.data), tl.bfloat16)
        return cast(self, x, target)

    def next_program(self: Any, x: int, y: int, z: int) -> None:
        now[-1].program = x + 2**20 * y + 2**40 * z
        turn(self, x, y, z)

    def launched(self: Any, *arguments: Any, **constants: Any) -> None:
        tensors = [each for each in arguments if isinstance(each, torch.Tensor)]
        assert all(each.is_contiguous() for each in tensors), f"{self.fn.__name__}: strides"
        now.append(Memory(self.fn.__name__, tensors))
        try:
            call(self, *arguments, **constants)
            now[-1].finish()
        finally:
            now.pop()

    def forbidden(*_: object) -> None:
        raise AssertionError("atomics sum in any order, so results would not repeat")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(builder, "create_masked_load", checked_load)
        patch.setattr(builder, "create_masked_store", checked_store)
        patch.setattr(builder, "create_dot", wide_dot)
        patch.setattr(builder, "cast_impl", rounding_cast)
        patch.setattr(builder, "set_grid_idx", next_program)
        patch.setattr(builder, "create_atomic_rmw", forbidden)
        patch.setattr(executor, "__call__", launched)
        yield


def _chosen(pointers: Any, mask: Any) -> np.ndarray:
    addresses = np.asarray(pointers.data)
    return addresses[np.broadcast_to(np.asarray(mask.data, bool), addresses.shape)]


def _rounded(x: np.ndarray) -> np.ndarray:
    """Bits of float32 values as the nearest in bfloat16; the interpreter itself cuts bits off."""
    bits = x.astype(np.float32).view(np.uint32)
    nearest = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
    return np.where(np.isnan(x), bits >> 16, nearest).astype(np.uint16)


def _wide(x: Any) -> Any:
    """bfloat16, which numpy does not have, as float32: products have float32 sums anyway."""
    if not x.dtype.scalar.is_bf16():
        return x
    bits = x.data.astype(np.uint32) << 16
    return interpreter.TensorHandle(bits.view(np.float32), tl.float32)
