"""The rule that chooses a backend: what computes the fused formulation on which device."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch
from torch import Tensor

Backend = Literal["cpu", "cuda", "torch"]


def backend_of(x: Tensor) -> Backend:
    """The backend for features x.

    "cpu": strips, tiles and work in place (`cpu/`), which keep features in a core's cache. For
    float32 and float64 on a CPU, outside autocast and torch.compile.
    "cuda": Triton kernels or few of PyTorch's (`cuda/`), for CUDA devices outside torch.compile.
    "torch": PyTorch's own operators, for everything else, and for tracing by torch.jit, which
    cannot follow gradients of our own.
    """
    if _forced is not None:
        return _forced
    if torch.compiler.is_compiling() or torch._C._get_tracing_state():
        return "torch"
    plain = x.dtype in (torch.float32, torch.float64) and not torch.is_autocast_enabled("cpu")
    if x.device.type == "cpu" and plain:
        return "cpu"
    return "cuda" if x.device.type == "cuda" else "torch"


@contextmanager
def forced(backend: Backend) -> Iterator[None]:
    """Have features on any device computed by one backend; for tests. Not for several threads."""
    global _forced
    before, _forced = _forced, backend
    try:
        yield
    finally:
        _forced = before


_forced: Backend | None = None
