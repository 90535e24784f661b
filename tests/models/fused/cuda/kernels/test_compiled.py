"""Kernels compiled for GPUs that need not be there: what Triton's interpreter does not see."""

import ast
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from runpy import run_path

import pytest

ROOT = Path(__file__).parents[5]
PROGRAM = ROOT / "tests" / "compile_kernels.py"
KERNELS = ROOT / "hitsr" / "models" / "fused" / "cuda" / "kernels"


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where Triton keeps what it compiled, for all tests of this file."""
    return tmp_path_factory.mktemp("triton")


# These networks have every kernel; the last one has windows whose keys do not fit one block, and
# wide heads. In float32, which needs most registers, also one without a context. Compiling all for
# all kinds of GPU would take minutes, and differs little: float16 needs what bfloat16 does, and any
# kernel must fit the shared memory of an A100, which has the least.
FEW = ("swinir_ng", "srformer_light", "hit_sng", "srformer")


@pytest.mark.parametrize(
    ("dtype", "capability", "networks"),
    [("float32", 80, (*FEW, "hit_srf")), ("bfloat16", 90, FEW)],
)
def test_every_kernel_fits_the_registers_and_shared_memory_of_gpus(
    dtype: str, capability: int, networks: tuple[str, ...], cache: Path
):
    constants = run_path(str(PROGRAM))
    if not constants["CUOBJDUMP"].exists():
        pytest.skip(f"needs {constants['CUOBJDUMP']}, of Triton's builds for NVIDIA GPUs")
    found = _compiled(dtype, capability, networks, cache)
    for kernel in found:
        assert kernel["spilled"] == 0, kernel
        assert kernel["registers"] <= 255, kernel
        assert kernel["shared"] <= constants["MOST_SHARED"], kernel
    assert {(kernel["file"], kernel["kernel"]) for kernel in found} == set(_in_package())


def _compiled(dtype: str, capability: int, networks: tuple[str, ...], cache: Path) -> list[dict]:
    env = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    done = subprocess.run(
        [sys.executable, str(PROGRAM), dtype, str(capability), *networks],
        capture_output=True,
        encoding="utf-8",
        env={**env, "TRITON_CACHE_DIR": str(cache), "PYTHONPATH": str(ROOT)},
        timeout=3600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def _in_package() -> Iterator[tuple[str, str]]:
    """File and name of all functions that Triton compiles and that no other such function calls."""
    functions = {
        path.stem: [
            node
            for node in ast.parse(path.read_text(encoding="utf-8")).body
            if isinstance(node, ast.FunctionDef)
            and any("triton.jit" in ast.unparse(each) for each in node.decorator_list)
        ]
        for path in KERNELS.glob("*.py")
    }
    called = {file: set(_called(each)) for file, each in functions.items()}
    anywhere = set.union(*called.values())
    assert anywhere
    for file, found in functions.items():
        for name in (function.name for function in found):
            if name not in (called[file] if name.startswith("_") else anywhere):
                yield file, name


def _called(functions: list[ast.FunctionDef]) -> Iterator[str]:
    for function in functions:
        for node in ast.walk(function):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                yield node.func.id
