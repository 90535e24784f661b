"""Hash the code that a result depends on, so that the pipeline reruns jobs whose code changed.

Comments, docstrings and layout do not count: only code that Python executes.
"""

import ast
import hashlib
from functools import cache
from pathlib import Path

from hitsr.base.files import visible
from hitsr.plan.layout import Kind

PACKAGE = Path(__file__).parents[1]

# Modules that the result of a job depends on, by kind of job.
_FORWARDS = ("models", "measure/latency.py", "measure/forwards.py", "measure/machine.py")
_COUNTS = ("models", "measure/complexity.py", "measure/census.py")
PARTS: dict[Kind | str, tuple[str, ...]] = {
    "prepare": (
        *(f"data/{part}.py" for part in ("bicubic", "images", "origins", "packs", "sources")),
        "plan/picture_sets.py",
    ),
    "train": (
        "models",
        "training",
        *(f"data/{part}.py" for part in ("images", "loader", "packs", "patches")),
        "base/seeds.py",
        "runtime/graphs.py",
        "runtime/precision.py",
    ),
    "restore": (
        "models",
        "upscaling",
        "runtime/tensors.py",
        "data/bicubic.py",
        "data/images.py",
    ),
    "quality": ("measure/metrics.py", "measure/quality.py", "data/images.py"),
    "complexity": _COUNTS,
    "latency": (*_FORWARDS, "measure/fresh.py", "measure/energy.py", "runtime/memory.py"),
    "scaling": (*_COUNTS, "measure/scaling.py", "api.py"),
    "scaling_time": (*_FORWARDS, "measure/scaling.py", "api.py"),
    "lam": (
        "models",
        "measure/attribution.py",
        "measure/attribution_files.py",
        "measure/attribution_maps.py",
        "measure/attribution_pictures.py",
    ),
    "lam_sheet": ("measure/attribution_pictures.py",),
    "report": ("report", "records", "plan", "specs"),
}


def code_of(kind: Kind | str) -> str:
    """Hash of the code that a kind of job, `lam_sheet` or `report` depends on."""
    return fingerprint(*PARTS[kind])


def fingerprint(*parts: str) -> str:
    """Hash of modules or folders of hitsr: `fingerprint("models", "measure/complexity.py")`.

    Raises FileNotFoundError for a part that does not exist.
    """
    digest = hashlib.sha256()
    for part in parts:
        path = PACKAGE / part
        if not path.exists():
            raise FileNotFoundError(
                f"{path}: no such module; correct the list of parts that names it"
            )
        for file in visible(path, "**/*.py") if path.is_dir() else [path]:
            digest.update(file.relative_to(PACKAGE).as_posix().encode())
            digest.update(_executed(file.read_text(encoding="utf-8")).encode())
    return digest.hexdigest()[:16]


@cache  # kinds share modules
def _executed(source: str) -> str:
    tree = ast.parse(source)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and _is_docstring(body[0]):
            body[:1] = [] if len(body) > 1 else [ast.Pass()]
    return ast.dump(tree)


def _is_docstring(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )
