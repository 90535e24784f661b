"""An extension of Griffe: a class shows its fields as they are declared, comments included.

Fields of specs and records are explained where they are declared, so the source is the clearest
list of them; names with types alone would leave out what a value means.
"""

import ast
from textwrap import dedent
from typing import Any

import griffe


class Fields(griffe.Extension):
    """Appends the declarations of a class's public fields to its docstring."""

    def on_class(self, *, cls: griffe.Class, **_: Any) -> None:
        """Called when a class and its members are complete."""
        if declared := _declarations(cls.source):
            text = cls.docstring.value if cls.docstring else ""
            shown = f"{text}\n\n```python\n{declared}\n```".strip()
            cls.docstring = griffe.Docstring(shown, parent=cls)


def _declarations(source: str) -> str:
    """The lines from a class's first field to its last, with the comments before and between."""
    lines = dedent(source).splitlines()
    (declared,) = ast.parse("\n".join(lines)).body
    assert isinstance(declared, ast.ClassDef)
    fields = [
        each
        for each in declared.body
        if isinstance(each, ast.AnnAssign)
        and isinstance(each.target, ast.Name)
        and not each.target.id.startswith("_")
    ]
    if not fields:
        return ""
    first = fields[0].lineno - 1
    while lines[first - 1].strip().startswith("#"):
        first -= 1
    return dedent("\n".join(lines[first : fields[-1].end_lineno]))
