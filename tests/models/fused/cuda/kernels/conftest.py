"""Kernels in Triton's interpreter on the CPU, or for real where there is an NVIDIA GPU.

In the interpreter, each load and store is checked: it must lie within a tensor of the launch, and
no two programs of a launch may touch one place, if one of them writes to it. New tensors are filled
with NaN, so that what a kernel did not write shows.
"""

from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path
from runpy import run_path

import pytest
import torch
from torch import Tensor, nn

from hitsr.runtime.precision import computing
from hitsr.training.kernels import allow_deterministic_products

triton = pytest.importorskip("triton", reason="needs Triton, of PyTorch's builds for CUDA")

CHECKS = Path(__file__).parents[4] / "triton_checks.py"


@pytest.fixture
def device() -> torch.device:
    """A GPU, or the CPU for the interpreter."""
    if torch.cuda.is_available():
        return torch.device("cuda", 0)
    if not triton.knobs.runtime.interpret:
        pytest.skip("needs TRITON_INTERPRET=1, set before Triton is imported")
    return torch.device("cpu")


@pytest.fixture(autouse=True)
def _checked(device: torch.device) -> Iterator[None]:
    allow_deterministic_products()
    torch.use_deterministic_algorithms(True)  # fills new tensors with NaN
    try:
        if device.type == "cuda":
            with computing("float32", device):  # references too: convolutions would use TF32
                yield
        else:
            with run_path(str(CHECKS))["checked"]():
                yield
    finally:
        torch.use_deterministic_algorithms(False)


Pairs = Iterator[tuple[Tensor, Tensor]]


@pytest.fixture
def with_exact_gradients() -> Callable[..., Pairs]:
    """Pairs of a gradient and the exact one, of x and of all parameters of its layers.

    Exact ones are those of `branch(x, *layers)` in float64, by PyTorch's operators.
    """

    def pairs(
        branch: Callable[..., Tensor], x: Tensor, layers: list[nn.Module], grad: Tensor
    ) -> Pairs:
        wide = [deepcopy(each).double() for each in layers]
        exact = x.detach().double().requires_grad_()
        for layer in wide:
            layer.zero_grad()
        branch(exact, *wide).backward(grad.double())
        yield x.grad, exact.grad
        for layer, other in zip(layers, wide, strict=True):
            for found, its in zip(layer.parameters(), other.parameters(), strict=True):
                yield found.grad, its.grad

    return pairs
