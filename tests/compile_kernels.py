"""Compile the kernels that some work launches, for GPUs that need not be there.

`compiled` has kernels compiled as their launches would be, and not run. What a launch writes stays
as it was, so results mean nothing.

`python tests/compile_kernels.py float32 swinir_light hit_srf` prints a line of JSON for each kernel
that these networks launch with features of a type, in forwards and in training.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
import triton
from torch.nn import functional as F
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

import hitsr
from hitsr.models.fused.backend import forced
from hitsr.models.fused.cuda.choice import only
from hitsr.models.fused.cuda.kernels import launch
from hitsr.specs import zoo

CUOBJDUMP = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
SIDES = (64, 192)  # of pictures, in LR pixels
MOST_SHARED = {80: 163 * 1024, 90: 227 * 1024}  # bytes that one program may have
_POINTERS = {
    torch.float32: "*fp32",
    torch.float16: "*fp16",
    torch.bfloat16: "*bf16",
    torch.int32: "*i32",
    torch.int64: "*i64",
}


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


@contextmanager
def compiled(capabilities: tuple[int, ...] = (80, 90)) -> Iterator[list[Compiled]]:
    """Have launches compile inside the block; the list has each kind of launch once."""
    found: dict[object, list[Compiled]] = {}

    def run(
        kernel: Any,
        grid: tuple[int, ...],
        arguments: list[Any],
        warps: int,
        stages: int,
        constants: dict[str, object],
    ) -> None:
        assert min(grid) > 0, grid
        assert max(grid[1:], default=0) < 2**16, grid
        types, attributes = _signature(kernel, arguments, constants)
        key = (
            _file(kernel),
            kernel.__name__,
            *types.items(),
            *constants.items(),
            str(attributes),
            warps,
            stages,
        )
        if key in found:
            return
        source = ASTSource(kernel, types, constants, attributes)
        options = {"num_warps": warps, "num_stages": stages}
        found[key] = [_compiled(kernel, source, types, constants, options, c) for c in capabilities]
        everything.extend(found[key])

    everything: list[Compiled] = []
    assert not os.environ.get("TRITON_INTERPRET"), "the interpreter compiles nothing"
    before, launch._run = launch._run, run
    try:
        yield everything
    finally:
        launch._run = before


def _signature(
    kernel: Any, arguments: list[Any], constants: dict[str, object]
) -> tuple[dict[str, str], dict[tuple[int], list[list[object]]]]:
    """Types of a kernel's arguments as Triton's launcher finds them, and which 16 divides."""
    types, attributes = {}, {}
    given = dict(zip(kernel.arg_names, arguments))
    for place, parameter in enumerate(kernel.params):
        name = parameter.name
        if name in constants:
            types[name] = "constexpr"
            continue
        value = given[name]
        divides = False
        if isinstance(value, torch.Tensor):
            types[name], divides = _POINTERS[value.dtype], value.data_ptr() % 16 == 0
        elif isinstance(value, int):
            types[name] = "i32"
            assert abs(value) < 2**31, name
            assert parameter.do_not_specialize, f"{kernel.__name__}: {name} compiles by size"
        else:
            types[name] = "fp32"
        if divides:
            attributes[place,] = [["tt.divisibility", 16]]
    assert set(kernel.arg_names) == set(types), kernel.__name__
    return types, attributes


def _compiled(
    kernel: Any,
    source: ASTSource,
    types: dict[str, str],
    constants: dict[str, object],
    options: dict[str, int],
    capability: int,
) -> Compiled:
    made = triton.compile(source, target=GPUTarget("cuda", capability, 32), options=options)
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(made.asm["cubin"])
        file.flush()
        command = [CUOBJDUMP, "--dump-resource-usage", file.name]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    registers, stack = (int(re.search(rf"{name}:(\d+)", said)[1]) for name in ("REG", "STACK"))
    pointers = tuple(kind for kind in types.values() if kind.startswith("*"))
    return Compiled(
        _file(kernel),
        kernel.__name__,
        capability,
        pointers,
        tuple(constants.items()),
        options["num_warps"],
        registers,
        stack,
        made.metadata.shared,
    )


def _file(kernel: Any) -> str:
    return str(kernel.fn.__module__).rpartition(".")[2]


def launched_by(networks: list[str], dtype: torch.dtype) -> list[Compiled]:
    """What the networks launch for features of a type, as on a GPU.

    Forwards of a small picture and of one with more pixels than any kernel's choice of tiles
    depends on; and a step of training, which is in float32, or in bfloat16 by autocast. All groups
    are alike, and so are blocks of equal windows and shift. Of conversions' windows the smallest,
    the base and the largest stand for all: compiling for each would take minutes.
    """
    with compiled() as found, forced("cuda"), only("kernel"):
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
    for each in launched_by(sys.argv[2:], getattr(torch, sys.argv[1])):
        print(json.dumps(each._asdict(), default=str))
