"""Errors that users can fix: each message says what was wrong, what was found and what to do."""

import difflib
import reprlib
from collections.abc import Iterable
from pickle import UnpicklingError

_MOST_LISTED = 20  # names that an error message lists in full
_FEW = 5


class HitsrError(Exception):
    """Base class of the errors that the command line prints without a traceback."""


TO_BE_CONTINUED = 75  # exit status, as sysexits.h has it for "try again later"


class ToBeContinuedError(HitsrError):
    """Work that was asked to end and is saved; the command line exits with TO_BE_CONTINUED."""


class SpecError(HitsrError):
    """A network spec, run config, ablation or command-line option that is not valid."""


class DataError(HitsrError):
    """A picture, folder or pack that is missing, damaged, or not of the expected kind or size."""


class WeightsError(HitsrError):
    """Weights that do not fit the network, are not finite, or come from a suspect file."""


class RecordError(HitsrError):
    """A record whose schema or subject differs from the one expected."""


_LONGEST = 100  # characters of a user's value that a message repeats
_REPR = reprlib.Repr()
_REPR.maxlevel, _REPR.maxstring, _REPR.maxother = 2, _LONGEST, _LONGEST


def printable(text: str) -> str:
    """Text of a user in one line: line breaks, controls and bytes that are no UTF-8 are escaped."""
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)


def cut(text: str) -> str:
    """Text of a user for an error message: at most 100 characters, in one line."""
    return printable(text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}...")


def shortened(value: object) -> str:
    """A user's value for an error message: as YAML writes it, in at most 100 characters.

    A list of lists that repeats itself a billion times takes no time either.
    """
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
    return cut(_REPR.repr(value))


def did_you_mean(name: str, known: Iterable[str], prefix: str = "") -> str:
    """The end of an error message: the known name closest to `name`, or else all known names.

    Of more than 20 known names, only the nearest are listed. Each is shown with `prefix` in front,
    such as "windows." for the fields of `windows`.
    """
    known = sorted(known)
    near = difflib.get_close_matches(name, known, n=1)
    if near:
        return f"did you mean {prefix + near[0]!r}?"
    if len(known) > _MOST_LISTED:
        some = difflib.get_close_matches(name, known, n=_FEW, cutoff=0)
        return f"the nearest of {len(known)} are {', '.join(prefix + each for each in some)}"
    return f"known: {', '.join(prefix + each for each in known) or 'none'}"


def in_one_line(error: Exception) -> str:
    """The reason for a failure that is recorded: the first line, with the kind of a foreign error.

    An error without a message is named by its kind alone. Messages about pickles are replaced:
    PyTorch's advise to load the file in a way that runs its code.
    """
    if isinstance(error, UnpicklingError):
        return "UnpicklingError: a file of weights is damaged, or holds more than tensors"
    line = next(iter(str(error).splitlines()), "")
    if isinstance(error, HitsrError):
        return line
    return f"{type(error).__name__}: {line}" if line else type(error).__name__
