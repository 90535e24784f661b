"""What all parts share: what to measure with, what they return, and the page's tables."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from statistics import median
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import hitsr
from benchmarks.published import load_published
from hitsr.models.backbone import SuperResolver
from hitsr.models.fused.backend import forced
from hitsr.models.fused.cuda.choice import Kind, only
from hitsr.plan.subjects import find_weights
from hitsr.specs.network import Formulation

SCALE = 2
PATCH = 64  # LR pixels: the side of a small picture, and of a patch of training
Measured = dict[tuple[str, str], float]  # by network and quantity (`targets`)


class Bench(NamedTuple):
    """What all parts measure with."""

    device: torch.device
    networks: list[str]
    samples: int
    output: tuple[int, int]  # width, height in pixels
    batch: int  # patches of a training step
    windows: int  # of attribution maps
    published: Path | None
    weights: Path | None
    # Networks whose kernels failed, by name and precision: what fails once may stop the GPU.
    broken: Mapping[tuple[str, str], str]

    @property
    def lr_size(self) -> tuple[int, int]:
        """Width and height of the LR picture for the output."""
        width, height = self.output
        return round(width / SCALE), round(height / SCALE)

    @property
    def patch(self) -> int:
        """Side of small pictures in LR pixels; less than 64 where the output is."""
        return min(PATCH, *self.output)

    def weights_of(self, name: str) -> Path | None:
        """The user's trained weights of a network."""
        return find_weights(self.weights, name, SCALE) if self.weights else None


class Result(NamedTuple):
    """A part of the page, raw samples for the JSON file, and what the targets speak of."""

    page: str
    raw: object
    measured: Measured


def network(
    name: str, formulation: Formulation = "fused", autocast: bool | torch.dtype = False
) -> SuperResolver:
    """A network with the same weights in every call."""
    torch.manual_seed(0)
    return hitsr.create(name, SCALE, formulation=formulation, autocast=autocast)


def published(bench: Bench, name: str) -> nn.Module:
    """The network of the published code, from the user's file."""
    assert bench.published is not None
    return load_published(bench.published, name, SCALE)


class Using(nn.Module):
    """A network that uses kernels wherever there are some, or never, whatever the rule says."""

    def __init__(self, module: nn.Module, kind: Kind) -> None:
        super().__init__()
        self.module, self.kind = module, kind

    def forward(self, lr: Tensor) -> Tensor:
        """What the network gives."""
        with only(self.kind):
            hr: Tensor = self.module(lr)
            return hr


@contextmanager
def as_on_a_gpu(bench: Bench) -> Iterator[None]:
    """The backend for CUDA devices also on a CPU, for trials of this program."""
    with forced("cuda") if bench.device.type == "cpu" else nullcontext():
        yield


def photograph(height: int, width: int) -> Tensor:
    """(1, 3, h, w) in [0, 1], of a photograph that scikit-image carries."""
    from skimage import data

    picture = torch.from_numpy(data.astronaut()).permute(2, 0, 1)[None] / 255
    return F.interpolate(picture, (height, width), mode="bicubic", antialias=True).clamp(0, 1)


def wait(device: torch.device) -> None:
    """Until the device has done all that was asked."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def clock_ms(device: torch.device) -> float:
    """A time in milliseconds, when the device has done all that was asked."""
    wait(device)
    return time.perf_counter() * 1000


def ratio(slow: Sequence[float], fast: Sequence[float]) -> float:
    """The median of the ratios of neighbours."""
    return median(a / b for a, b in zip(slow, fast, strict=True))


def table(head: list[str], rows: list[list[str]]) -> str:
    """In Markdown."""
    lines = (f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *rows])
    return "\n".join(lines)
