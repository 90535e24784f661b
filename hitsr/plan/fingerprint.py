"""Fingerprint the code a result depends on, so that the pipeline reruns what a change touches.

Comments, docstrings and layout do not count: only what Python would execute.
"""

import ast
import hashlib
from pathlib import Path

PACKAGE = Path(__file__).parents[1]


def fingerprint(*parts: str) -> str:
    """Hash of modules or folders of hitsr: `fingerprint("models", "measure/complexity.py")`.

    Raises FileNotFoundError for a part that does not exist.
    """
    digest = hashlib.sha256()
    for part in parts:
        path = PACKAGE / part
        if not path.exists():
            raise FileNotFoundError(f"{path}: no such module; mend the rule that names it")
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            digest.update(file.relative_to(PACKAGE).as_posix().encode())
            digest.update(_executed(file.read_text()).encode())
    return digest.hexdigest()[:16]


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
