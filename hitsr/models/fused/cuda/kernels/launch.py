"""Launch Triton kernels: where they can run, how exactly they multiply, and the call itself.

Triton comes with PyTorch's builds for CUDA on Linux. It compiles each kernel at its first launch
with new types or constants, which takes a second or so, and keeps the result on disk.
"""

import os
from collections.abc import Sequence
from contextlib import nullcontext
from functools import cache
from importlib.util import find_spec
from typing import Any, Literal

import torch
from torch import Tensor

from hitsr.base.errors import SpecError, shortened
from hitsr.runtime import graphs
from hitsr.runtime.precision import KERNEL_SWITCH, uses_tf32

Product = Literal["ieee", "tf32x3", "tf32"]

DTYPES = (torch.float32, torch.float16, torch.bfloat16)
_LEAST_CAPABILITY = (8, 0)  # Ampere: asynchronous copies, TF32 and bfloat16 products
_MOST_ELEMENTS = 2**31 - 1  # kernels count in 32 bits


def why_not(x: Tensor) -> str | None:
    """Why no kernel can take features x; None if kernels can.

    Raises SpecError for an unknown value of the environment variable HITSR_KERNELS.
    """
    if is_switched_off():
        return f"{KERNEL_SWITCH}=plain"
    if not has_triton():
        return "Triton is not installed"
    if x.device.type != "cuda":
        return f"the device is {x.device}"
    if type(x) not in (Tensor, torch.nn.Parameter):
        return "tensors without values"
    if x.dtype not in DTYPES:
        return f"{str(x.dtype).removeprefix('torch.')} features"
    if (found := _capability(x.device)) < _LEAST_CAPABILITY:
        return f"compute capability {found[0]}.{found[1]}, less than 8.0"
    return None


def is_switched_off() -> bool:
    """Whether HITSR_KERNELS=plain asks for PyTorch's operators alone."""
    value = os.environ.get(KERNEL_SWITCH, "auto")
    if value not in ("auto", "plain"):
        raise SpecError(f"{KERNEL_SWITCH}={shortened(value)}: must be auto or plain")
    return value == "plain"


@cache
def has_triton() -> bool:
    """Whether Triton is installed."""
    return find_spec("triton") is not None


@cache
def _capability(device: torch.device) -> tuple[int, int]:
    return torch.cuda.get_device_capability(device)


def product_of(dtype: torch.dtype) -> Product:
    """How kernels multiply matrices of a dtype.

    "tf32x3": float32 from three products in TF32, exact to about 1e-6 of the largest term. "tf32":
    where PyTorch's own products of float32 may use TF32. "ieee": what 16-bit types need.
    """
    if dtype != torch.float32:
        return "ieee"
    return "tf32" if uses_tf32() else "tf32x3"


def fits(*elements: int) -> bool:
    """Whether tensors with so many elements can be counted in 32 bits."""
    return max(elements) <= _MOST_ELEMENTS


def launch(
    kernel: Any,
    grid: tuple[int, ...],
    tensors: Sequence[Tensor | None],
    numbers: Sequence[int | float],
    *,
    warps: int = 4,
    stages: int = 2,
    **constants: object,
) -> None:
    """Run a kernel on a grid of programs: its tensors come first, then its numbers.

    None, for a tensor that a kernel does not read with these constants, becomes the first tensor.
    Kernels read contiguous tensors: of others, such as weights of a network in channels last, they
    get copies. `constants` are compiled in. A CUDA graph that is being captured keeps the tensors
    alive.
    """
    given = [tensors[0] if each is None else each for each in tensors]
    present = [x if x.is_contiguous() else x.contiguous() for x in given if x is not None]
    graphs.note(present)
    _run(kernel, grid, [*present, *numbers], warps, stages, constants)


def _run(
    kernel: Any,
    grid: tuple[int, ...],
    arguments: list[Any],
    warps: int,
    stages: int,
    constants: dict[str, object],
) -> None:
    device = arguments[0].device
    with torch.cuda.device(device) if device.type == "cuda" else nullcontext():
        kernel[grid](*arguments, num_warps=warps, num_stages=stages, **constants)
