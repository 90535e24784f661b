"""The rule that chooses a backend: what computes the fused formulation on which device."""

from typing import Literal

import torch
from torch import Tensor

Backend = Literal["cpu", "torch"]


def backend_of(x: Tensor) -> Backend:
    """The backend for features x.

    "cpu": strips, tiles and work in place (`cpu/`), which keep features in a core's cache. For
    float32 and float64 on a CPU, outside autocast and torch.compile.
    "torch": PyTorch's own operators, for everything else.
    """
    plain = x.dtype in (torch.float32, torch.float64) and not torch.is_autocast_enabled("cpu")
    if x.device.type == "cpu" and plain and not torch.compiler.is_compiling():
        return "cpu"
    return "torch"
