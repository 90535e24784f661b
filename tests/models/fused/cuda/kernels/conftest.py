"""Kernels in Triton's interpreter on the CPU, or for real where there is an NVIDIA GPU.

In the interpreter, each load and store is checked: it must lie within a tensor of the launch, and
no two programs of a launch may touch one place, if one of them writes to it. New tensors are filled
with NaN, so that what a kernel did not write shows.
"""

from collections.abc import Iterator
from pathlib import Path
from runpy import run_path

import pytest
import torch

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
