"""Errors that users can fix: each message says what was wrong, what was found and what to do."""

import difflib
from collections.abc import Iterable

_LONGEST = 200  # characters of a value in a message


class HitsrError(Exception):
    """Base class of the errors that the command line prints without a traceback."""


class SpecError(HitsrError):
    """A network spec, run config, ablation or command-line option that is not valid."""


class DataError(HitsrError):
    """A picture, folder or pack that is missing, damaged, or not of the expected kind or size."""


class WeightsError(HitsrError):
    """Weights that do not fit the network, are not finite, or come from a suspect file."""


class RecordError(HitsrError):
    """A record whose schema or subject differs from the one expected."""


def did_you_mean(name: str, known: Iterable[str], prefix: str = "") -> str:
    """The end of an error message: the known name closest to `name`, or else all known names.

    Each is shown with `prefix` in front, such as "windows." for the fields of `windows`.
    """
    known = sorted(known)
    near = difflib.get_close_matches(name, known, n=1)
    if near:
        return f"did you mean {prefix + near[0]!r}?"
    return f"known: {', '.join(prefix + each for each in known)}"


def shortened(value: object) -> str:
    """A value as Python writes it, cut in the middle if it is long."""
    text = repr(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST // 2]}…{text[-_LONGEST // 4 :]}"
