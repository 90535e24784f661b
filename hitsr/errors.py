"""What users can mend: every message says what was wrong, what was found, and what to do."""

import difflib
from collections.abc import Iterable


class HitsrError(Exception):
    """Root of the errors that the command line prints without a traceback."""


class SpecError(HitsrError):
    """A network spec, run config or ablation that cannot be."""


class DataError(HitsrError):
    """A picture or folder that is missing, damaged, or not what it should be."""


class WeightsError(HitsrError):
    """Weights that do not fit the network, or a file that cannot be trusted."""


class RecordError(HitsrError):
    """A record with another schema, or of another run, than expected."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Name the nearest known name, or all of them: the tail of an error message."""
    known = sorted(known)
    near = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"
