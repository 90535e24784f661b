"""Tests that need an NVIDIA GPU, some minutes of them; elsewhere each is skipped."""

import os
from collections.abc import Callable, Iterator

import pytest
import torch

import hitsr
from hitsr.models.backbone import SuperResolver
from hitsr.runtime.precision import computing
from hitsr.training.kernels import allow_deterministic_products


@pytest.fixture(scope="session", autouse=True)
def gpu() -> torch.device:
    """The first GPU; without one, tests are skipped."""
    if not torch.cuda.is_available():
        pytest.skip("needs an NVIDIA GPU")
    allow_deterministic_products()
    return torch.device("cuda", 0)


@pytest.fixture(autouse=True)
def _exact_products(gpu: torch.device) -> Iterator[None]:
    """Without TF32, which torch uses in convolutions unless told otherwise.

    And with all cores, as references of the size of a GPU's work take the CPU long.
    """
    processes = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // processes))
    with computing("float32", gpu):
        yield


@pytest.fixture
def network(golden: Callable, gpu: torch.device) -> Callable[..., SuperResolver]:
    """Makes a network at x2 on the GPU, with the golden weights, in eval mode."""

    def make(name: str, **options: object) -> SuperResolver:
        model = hitsr.create(name, 2, **options)
        hitsr.load_weights(model, golden(name).state)
        return model.to(gpu).eval()

    return make


@pytest.fixture
def picture() -> Callable[..., torch.Tensor]:
    """Makes a batch of smooth pictures with some noise, on the CPU: (b, 3, h, w) in [0, 1]."""

    def make(height: int, width: int, batch: int = 1) -> torch.Tensor:
        noise = torch.Generator().manual_seed(0)
        coarse = torch.rand(batch, 3, 6, 6, generator=noise)
        smooth = torch.nn.functional.interpolate(coarse, (height, width), mode="bicubic")
        grain = torch.rand(batch, 3, height, width, generator=noise)
        return (0.9 * smooth + 0.1 * grain).clamp(0, 1)

    return make
