"""Values within values, by dotted paths such as "run.recipe.steps"."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from hitsr.report.estimates import quartiles


def at(value: Any, path: str) -> Any:
    """What stands at a path; None where something on the way is absent.

    "output_size.0" is an item, "signatures.psnr" an entry; of samples, "samples_ms.count" is their
    number, "samples_ms.lower", "median" and "upper" are their quartiles, and "samples_ms.p95" is
    a percentile.
    """
    for part in path.split("."):
        match value:
            case None:
                return None
            case Mapping():
                value = value.get(part)
            case tuple() if part.isdigit():
                value = value[int(part)]
            case tuple() if part == "count":
                value = len(value)
            case tuple() if part[1:].isdigit():
                value = float(np.percentile(value, int(part[1:])))
            case tuple():
                value = getattr(quartiles(value), part)
            case _:
                value = getattr(value, part)
    return value
