"""A file imports only from its own layer and lower ones (DESIGN, section 3)."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "hitsr"
LAYERS = (
    "values errors files patching spec records config zoo convert code seeds methods needs "
    "ablation claims verdicts",
    "compiling models data metrics provenance devices progress model_card",
    "tiling ensemble room inference training measure own fetching export upscaling gallery",
    "report",
    "api doctor cli",
)
LEVEL = {part: level for level, parts in enumerate(LAYERS) for part in parts.split()}
# Within models, a file imports only from those before it.
MODELS = [
    "windows",
    "cache",
    "position",
    "ngram",
    "large_windows",
    "tiles",
    "strips",
    "ffn",
    "attention",
    "correlation",
    "transposed",
    "block",
    "upsample",
    "backbone",
    "checkpoints",
    "pretrained",
]
HEAVY = ("torch", "pandas", "matplotlib")
# `hitsr/__init__.py` hands names out from every layer, when they are first used.
FILES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


def _name(path: Path) -> str:
    """hitsr/models/block.py -> models.block; hitsr/report/__init__.py -> report"""
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")


def _imports(path: Path) -> Iterator[str]:
    """All that a file imports, within functions too, as dotted names."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            if node.module == "hitsr":
                yield from (f"hitsr.{alias.name}" for alias in node.names)
            else:
                yield node.module or ""


def _ours(path: Path) -> Iterator[str]:
    """`models.block` where a file imports from hitsr.models.block."""
    for name in _imports(path):
        assert name != "hitsr", f"{path}: name the module, not the package"
        if name.startswith("hitsr."):
            yield name.removeprefix("hitsr.")


def _part(name: str) -> str:
    return name.split(".")[0]


def test_every_file_has_a_layer():
    assert {_part(_name(path)) for path in FILES} == set(LEVEL)


@pytest.mark.parametrize("path", FILES, ids=_name)
def test_imports_come_from_the_same_layer_or_lower(path: Path):
    own = LEVEL[_part(_name(path))]
    assert [name for name in _ours(path) if LEVEL[_part(name)] > own] == []


@pytest.mark.parametrize(
    ("part", "forbidden"),
    [
        ("data", {"models", "torch"}),
        ("metrics", {"models", "data", "torch"}),
        ("measure", {"models", "training"}),
        ("report", {"models", "data", "training", "measure", "inference", "torch"}),
        ("models", {"data"}),
    ],
)
def test_parts_stay_apart(part: str, forbidden: set[str]):
    for path in FILES:
        if _part(_name(path)) == part:
            outside = {_part(name) for name in _imports(path)}
            assert not forbidden & ({_part(name) for name in _ours(path)} | outside), path


def test_models_build_on_what_comes_before():
    names = {path.stem for path in (PACKAGE / "models").glob("*.py")} - {"__init__"}
    assert names == set(MODELS)
    for path in (PACKAGE / "models" / f"{name}.py" for name in MODELS):
        below = MODELS[: MODELS.index(path.stem)]
        used = [name.split(".")[1] for name in _ours(path) if _part(name) == "models"]
        assert set(used) <= set(below), path


def test_the_pipeline_imports_the_lowest_layer_alone():
    files = [ROOT / "Snakefile", *(ROOT / "workflow").rglob("*.smk")]
    used = {
        name
        for file in files
        for name in re.findall(r"^\s*(?:from|import)\s+hitsr\.(\w+)", file.read_text(), re.M)
    }
    assert used
    assert {name for name in used if LEVEL[name] > 0} == set()


def _loaded_after(*modules: str) -> set[str]:
    code = "import importlib, sys\n"
    code += "".join(f"importlib.import_module({name!r})\n" for name in modules)
    code += "print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(run.stdout.split())


def test_the_package_the_lowest_layer_and_the_command_line_start_light():
    loaded = _loaded_after("hitsr", *(f"hitsr.{name}" for name in LAYERS[0].split()), "hitsr.cli")
    assert "hitsr.cli" in loaded
    assert loaded & set(HEAVY) == set()


def test_a_report_needs_no_torch():
    modules = [f"hitsr.{_name(path)}" for path in FILES if _part(_name(path)) == "report"]
    assert "torch" not in _loaded_after(*modules)
