"""A file imports only from its own room and those above it in the list (docs/design.md)."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "hitsr"
ROOMS = (
    "base",
    "specs",
    "records",
    "plan",
    "data",
    "runtime",
    "models",
    "measure",
    "training",
    "upscaling",
    "share",
    "report",
    "api",
    "cli",
)
LEVEL = {room: level for level, room in enumerate(ROOMS)}
# Rooms that must not be reached, by any chain of imports, although they stand above.
FORBIDDEN = {
    "measure": {"models"},
    "report": {"data", "runtime", "models", "measure", "training", "upscaling", "share"},
}
LIGHT = ("base", "specs", "records", "plan")  # what Snakemake imports
HEAVY = ("torch", "pandas", "matplotlib")
# `hitsr/__init__.py` hands names out from every room, when they are first used.
FILES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


def _name(path: Path) -> str:
    """hitsr/models/block.py -> models.block; hitsr/report/__init__.py -> report"""
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")


MODULES = {_name(path): path for path in FILES}


def _imports(path: Path) -> Iterator[str]:
    """All that a file imports, within functions too, as dotted names."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            assert node.module is not None
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@cache
def _ours(module: str) -> frozenset[str]:
    """Our modules that one of ours imports: `models.block` for hitsr.models.block."""
    found = set()
    for name in _imports(MODULES[module]):
        if name.startswith("hitsr."):
            dotted = name.removeprefix("hitsr.")
            parent = dotted.rpartition(".")[0]
            assert dotted in MODULES or parent in MODULES, f"{module}: imports {name}"
            found.add(dotted if dotted in MODULES else parent)
    return frozenset(found)


@cache
def _reached(module: str) -> frozenset[str]:
    """Our modules that a module leads to, through any number of others."""
    seen: set[str] = set()
    waiting = [module]
    while waiting:
        for name in _ours(waiting.pop()) - seen:
            seen.add(name)
            waiting.append(name)
    return frozenset(seen)


def _room(module: str) -> str:
    return module.split(".")[0]


def test_every_file_stands_in_a_room():
    assert {_room(name) for name in MODULES} == set(ROOMS)
    loose = [path.name for path in PACKAGE.glob("*.py")]
    assert sorted(loose) == ["__init__.py", "api.py"]


@pytest.mark.parametrize("module", MODULES)
def test_a_file_leads_to_its_own_room_and_those_above_alone(module: str):
    own = LEVEL[_room(module)]
    assert [name for name in _reached(module) if LEVEL[_room(name)] > own] == []


@pytest.mark.parametrize("module", MODULES)
def test_rooms_that_stay_apart_do_not_lead_to_each_other(module: str):
    forbidden = FORBIDDEN.get(_room(module), set())
    assert {name for name in _reached(module) if _room(name) in forbidden} == set()


def test_the_pipeline_imports_light_rooms_alone():
    files = [ROOT / "Snakefile", ROOT / "workflow/Snakefile", *ROOT.glob("workflow/**/*.smk")]
    used = {
        name
        for file in files
        for name in re.findall(r"^\s*(?:from|import)\s+hitsr\.(\w+)", file.read_text(), re.M)
    }
    assert used
    assert used <= set(LIGHT)


def _loaded_after(*modules: str) -> set[str]:
    code = "import importlib, sys\n"
    code += "".join(f"importlib.import_module({name!r})\n" for name in modules)
    code += "print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(run.stdout.split())


def test_the_package_the_light_rooms_and_the_command_line_start_light():
    light = [f"hitsr.{name}" for name in MODULES if _room(name) in LIGHT]
    loaded = _loaded_after("hitsr", *light, "hitsr.cli")
    assert "hitsr.cli" in loaded
    assert loaded & set(HEAVY) == set()


def test_a_report_needs_no_torch():
    modules = [f"hitsr.{name}" for name in MODULES if _room(name) == "report"]
    assert "torch" not in _loaded_after(*modules)
