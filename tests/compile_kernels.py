"""Compile the kernels that some work launches, for GPUs that need not be there.

`compiled` has Triton launch kernels as on a GPU, but for its driver: it compiles them, and runs
nothing. What a launch writes stays as it was, so results mean nothing.

`python tests/compile_kernels.py float32 80,90 swinir_light hit_srf` prints a line of JSON for each
kernel that these networks launch with features of a type, in forwards and in training, on GPUs of
compute capability 8.0 and 9.0.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
import triton
from torch.nn import functional as F
from triton.backends.compiler import GPUTarget

import hitsr
from hitsr.models.fused.backend import forced
from hitsr.models.fused.cuda.choice import only
from hitsr.models.fused.cuda.kernels import launch
from hitsr.specs import zoo

CUOBJDUMP = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
SIDES = (64, 192)  # of pictures, in LR pixels
MOST_SHARED = 163 * 1024  # bytes that one program may have on an A100; H100 and H200 have 227 KiB


class Compiled(NamedTuple):
    """What a kernel needs on one kind of GPU."""

    file: str
    kernel: str
    capability: int  # 80: A100; 90: H100, H200
    types: tuple[str, ...]
    constants: tuple[tuple[str, object], ...]
    warps: int
    registers: int  # of a thread
    spilled: int  # bytes of a thread's stack, where it stores what registers do not hold
    shared: int  # bytes

    def __str__(self) -> str:
        size = f"{self.registers} registers, {self.spilled} B spilled, {self.shared} B shared"
        types = " ".join(self.types)
        return f"{self.kernel} sm_{self.capability} {types} {dict(self.constants)}: {size}"


class _Driver:
    """In place of Triton's driver for CUDA: launches compile, and run nothing.

    Device 80 has compute capability 8.0. Triton first makes a launcher of a kernel, then loads it.
    """

    def __init__(self) -> None:
        self.device = 80
        self.found: list[Compiled] = []
        self.utils, self.launcher_cls = self, self._launcher

    def get_current_device(self) -> int:
        return self.device

    def get_current_stream(self, _: int) -> int:
        return 0

    def get_current_target(self) -> GPUTarget:
        return GPUTarget("cuda", self.device, 32)

    def get_device_properties(self, _: int) -> dict[str, int]:
        return {"max_shared_mem": 2**30}  # more than there is, so that what is too much is listed

    def _launcher(self, source: Any, metadata: Any) -> Callable[..., None]:
        self._source, self._metadata = source, metadata
        return lambda *_: None

    def load_binary(self, _: str, binary: bytes, shared: int, device: int) -> tuple[object, ...]:
        kernel, warps = self._source.fn, self._metadata.num_warps
        constants = {kernel.arg_names[at]: value for (at,), value in self._source.constants.items()}
        types = tuple(kind for kind in self._source.signature.values() if kind.startswith("*"))
        made = types, tuple(constants.items()), warps, *_needs(binary), shared
        self.found.append(Compiled(_file(kernel), kernel.__name__, device, *made))
        return self, None, 0, 0, 1024

    def unload_module(self, _: object) -> None:
        pass


@contextmanager
def compiled(capabilities: Sequence[int] = (80, 90)) -> Iterator[list[Compiled]]:
    """Have launches compile inside the block; the list has what this process had not compiled.

    Afterwards Triton runs nothing in this process either.
    """

    def run(kernel: Any, grid: tuple[int, ...], arguments: list[Any], *rest: Any) -> None:
        assert min(grid) > 0, grid
        assert max(grid[1:], default=0) < 2**16, grid
        for parameter, value in zip(kernel.params, arguments):
            if isinstance(value, int):
                name = f"{kernel.__name__}: {parameter.name}"
                assert abs(value) < 2**31, name
                assert parameter.do_not_specialize, f"{name} compiles by size"
        for driver.device in capabilities:
            before(kernel, grid, arguments, *rest)

    assert not os.environ.get("TRITON_INTERPRET"), "the interpreter compiles nothing"
    driver = _Driver()
    triton.runtime.driver.set_active(driver)
    before, launch._run = launch._run, run
    try:
        yield driver.found
    finally:
        launch._run = before


def _needs(binary: bytes) -> tuple[int, int]:
    """Registers of a thread, and bytes of its stack."""
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(binary)
        file.flush()
        command = [CUOBJDUMP, "--dump-resource-usage", file.name]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    registers, stack = (int(re.search(rf"{name}:(\d+)", said)[1]) for name in ("REG", "STACK"))
    return registers, stack


def _file(kernel: Any) -> str:
    return str(kernel.fn.__module__).rpartition(".")[2]


def launched_by(
    networks: list[str], dtype: torch.dtype, capabilities: Sequence[int]
) -> list[Compiled]:
    """What the networks launch for features of a type, as on GPUs of these compute capabilities.

    Forwards of a small picture and of one with more pixels than any kernel's choice of tiles
    depends on; and a step of training, which is in float32, or in bfloat16 by autocast. All groups
    are alike, and so are blocks of equal windows and shift. Of conversions' windows the smallest,
    the base and the largest stand for all: compiling for each would take minutes.
    """
    with compiled(capabilities) as found, forced("cuda"), only("kernel"):
        for name in networks:
            network = zoo.find(name)
            ratios = [0.5, 1, 8] if network.mixer.kind == "correlation" else [1, 1]
            network = network.patch({"depths": [len(ratios)], "windows.ratios": ratios})
            model = hitsr.create(network, 2).to(dtype).eval()
            with torch.inference_mode():
                for side in SIDES:
                    model(torch.rand(1, 3, side, side, dtype=dtype))
            if dtype != torch.float16:
                narrow = dtype == torch.bfloat16
                model = hitsr.create(network, 2, autocast=narrow).train()
                F.l1_loss(model(torch.rand(2, 3, 64, 64)), torch.zeros(2, 3, 128, 128)).backward()
    return found


if __name__ == "__main__":
    _, dtype, capabilities, *networks = sys.argv
    wanted = [int(each) for each in capabilities.split(",")]
    for each in launched_by(networks, getattr(torch, dtype), wanted):
        print(json.dumps(each._asdict(), default=str))
