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


def did_you_mean(name: str, known: Iterable[str], under: str = "") -> str:
    """Name the nearest known name, or all of them: the tail of an error message.

    `under` stands before each, such as "windows." before the names of its fields.
    """
    known = sorted(known)
    near = difflib.get_close_matches(name, known, n=1)
    if near:
        return f"did you mean {under + near[0]!r}?"
    return f"known: {', '.join(under + each for each in known)}"
