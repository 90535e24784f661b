"""Patches: plain data with the values at some dotted paths replaced."""

import copy
from typing import Any

from hitsr.base.errors import SpecError, did_you_mean


def patched(data: dict[str, Any], changes: dict[str, Any], where: str) -> dict[str, Any]:
    """A copy of `data` with each dotted path changed.

    SpecError for a path that does not exist, or that lies within another one's new value.
    """
    data = copy.deepcopy(data)
    for path, value in changes.items():
        for whole in changes:
            if path.startswith(f"{whole}."):
                raise SpecError(f"{where}: {path} lies within {whole}; write it there")
        _place(data, path, value, where)
    return data


def _place(data: dict[str, Any], path: str, value: Any, where: str) -> None:
    parts = path.split(".")
    here: Any = data
    for depth, part in enumerate(parts):
        above = parts[:depth]
        if not isinstance(here, dict):
            raise SpecError(
                f"{where}: no field {path!r}: {'.'.join(above)} is {here!r}; "
                f"change {'.'.join(above)!r} as a whole"
            )
        if part not in here:
            under = "".join(f"{name}." for name in above)
            raise SpecError(f"{where}: no field {path!r}; {did_you_mean(part, here, under)}")
        if depth < len(parts) - 1:
            here = here[part]
    here[parts[-1]] = value
