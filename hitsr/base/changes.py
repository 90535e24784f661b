"""Read and replace values in nested dictionaries, each named by its dotted path."""

import copy
from typing import Any

from hitsr.base.errors import SpecError, cut, did_you_mean, shortened


def patched(data: dict[str, Any], changes: dict[str, Any], where: str) -> dict[str, Any]:
    """A deep copy of `data` in which each dotted path of `changes` has its new value.

    `where` (a file or patch name) begins every error message. Raises SpecError for a path that does
    not exist, and for a path inside another path that is replaced as a whole.
    """
    data = copy.deepcopy(data)
    for path, value in changes.items():
        for parent in changes:
            if path.startswith(f"{parent}."):
                raise SpecError(
                    f"{where}: {cut(path)} is part of {cut(parent)}, which is also changed; "
                    f"write it into the new value of {cut(parent)}"
                )
        _set_at_path(data, path, value, where)
    return data


def flat(data: dict[str, Any], above: str = "") -> dict[str, Any]:
    """All values by dotted path: `{"windows": {"base": 8}}` -> `{"windows.base": 8}`."""
    found: dict[str, Any] = {}
    for key, value in data.items():
        path = above + key
        found |= flat(value, f"{path}.") if isinstance(value, dict) else {path: value}
    return found


def differing(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """In words, the fields in which two such dictionaries differ: "width is 24, not 60"."""
    return [
        f"{key} is {one.get(key)}, not {other.get(key)}"
        for key in dict.fromkeys([*one, *other])
        if one.get(key) != other.get(key)
    ]


def _set_at_path(data: dict[str, Any], path: str, value: Any, where: str) -> None:
    """Set the value at an existing dotted path, in place."""
    parts = path.split(".")
    node: Any = data
    for depth, part in enumerate(parts):
        parent = ".".join(parts[:depth])
        if not isinstance(node, dict):
            raise SpecError(
                f"{where}: no field {shortened(path)}: {cut(parent)} is {shortened(node)}; "
                f"change {shortened(parent)} as a whole"
            )
        if part not in node:
            prefix = f"{parent}." if parent else ""
            raise SpecError(
                f"{where}: no field {shortened(path)}; {did_you_mean(part, node, prefix)}"
            )
        if depth < len(parts) - 1:
            node = node[part]
    node[parts[-1]] = value
