"""One thread for every test and what it starts: tiny networks gain nothing from more.

Here too: weights and outputs of the published networks (tests/golden/README.md).
"""

import json
import os
import signal
import tempfile
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from runpy import run_path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple
from zlib import crc32

import numpy as np
import pytest

if TYPE_CHECKING:
    from torch import Tensor

os.environ["OMP_NUM_THREADS"] = "1"
if "HITSR_CACHE" not in os.environ:  # workers of xdist have it from the first process
    _CACHE = tempfile.TemporaryDirectory(prefix="hitsr-tests-")
    os.environ["HITSR_CACHE"] = _CACHE.name
if not Path("/dev/nvidiactl").exists():
    os.environ["TRITON_INTERPRET"] = "1"  # kernels run on the CPU; read as Triton is imported
FOLDER = Path(__file__).parent / "golden"


class Golden(NamedTuple):
    """What a published network made of one picture, and the weights that it had."""

    state: "Mapping[str, Tensor]"  # published names
    input: "Tensor"
    output: "Tensor"  # sampled
    stride: tuple[int, int]
    full_shape: tuple[int, ...]


@pytest.fixture(scope="session")
def golden() -> Callable[[str], Golden]:
    @cache
    def read(name: str) -> Golden:
        import torch

        with np.load(FOLDER / f"{name}_x2.npz") as file:
            shapes = json.loads(str(file["state"]))
            salt = int(file["salt"])
            return Golden(
                state=MappingProxyType(
                    {key: _weights(salt, key, tuple(shape)) for key, shape in shapes}
                ),
                input=torch.from_numpy(file["input"]),
                output=torch.from_numpy(file["output"]),
                stride=tuple(file["stride"].tolist()),
                full_shape=tuple(file["full_shape"].tolist()),
            )

    return read


def _weights(salt: int, key: str, shape: tuple[int, ...]) -> "Tensor":
    import torch

    u = _noise(salt, key, int(np.prod(shape)))
    if len(shape) > 1:
        values = 2 * u / np.sqrt(np.prod(shape[1:]))
    elif key.endswith("weight"):
        values = 1 + 0.4 * u
    else:
        values = 0.2 * u
    return torch.from_numpy(values.astype(np.float32).reshape(shape))


def _noise(salt: int, key: str, n: int) -> np.ndarray:
    """Numbers in [-0.5, 0.5) that anyone can make again: an integer hash of a counter."""
    x = np.arange(n, dtype=np.uint32) + np.uint32(crc32(f"{salt}/{key}".encode()))
    x ^= x >> 16
    x *= np.uint32(0x7FEB352D)
    x ^= x >> 15
    x *= np.uint32(0x846CA68B)
    x ^= x >> 16
    return x / 2**32 - 0.5


@pytest.fixture
def graphs_on_cpu(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Captures CUDA graphs on the CPU: the stand-in of `tests/graph_stand_in.py`."""
    from hitsr.runtime import graphs

    stand_in = run_path(str(Path(__file__).with_name("graph_stand_in.py")))["StandIn"]()
    monkeypatch.setattr(graphs, "cuda", stand_in)
    return stand_in


@pytest.fixture(scope="module")
def _heard_signals() -> Iterator[None]:
    """Tests of a module, and what they start, get signals that the shell ignores (nohup)."""
    usual = {"SIGINT": signal.default_int_handler, "SIGHUP": signal.SIG_DFL}
    numbers = {getattr(signal, name): usual[name] for name in usual if hasattr(signal, name)}
    before = {number: signal.signal(number, handler) for number, handler in numbers.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
