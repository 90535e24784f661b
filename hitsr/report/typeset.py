"""Numbers as a reader sees them: true minus, thin spaces for thousands, a word up to twelve."""

import math
from collections.abc import Sequence

THIN_SPACE = "\u202f"
MINUS = "\u2212"

_WORDS = (
    "no", "one", "two", "three", "four", "five", "six",
    "seven", "eight", "nine", "ten", "eleven", "twelve",
)  # fmt: skip


def fixed(value: float, digits: int = 0) -> str:
    """`digits` decimals; what rounds to zero has no sign; infinity is said, not hidden."""
    if math.isinf(value):
        return "∞" if value > 0 else f"{MINUS}∞"
    text = f"{abs(value):,.{digits}f}".replace(",", THIN_SPACE)
    return MINUS + text if round(value, digits) < 0 else text


def signed(value: float, digits: int = 0) -> str:
    """As `fixed`, with a plus before what is above zero after rounding."""
    return "+" * (round(value, digits) > 0) + fixed(value, digits)


def percent(change: float, digits: int = 0) -> str:
    """A change in per cent, with its sign: -15.2 -> "−15 %"."""
    return f"{signed(change, digits)}{THIN_SPACE}%"


def size(width: int, height: int) -> str:
    """ "640 × 360", which no line end splits."""
    return f"{width}\u00a0×\u00a0{height}"


def number_word(count: int) -> str:
    return _WORDS[count] if count < len(_WORDS) else fixed(count)


def counted(count: int, noun: str, plural: str = "") -> str:
    """A number in digits and its noun: "1 picture", "18 jobs"."""
    return f"{fixed(count)} {noun if count == 1 else plural or noun + 's'}"


def share(part: int, whole: int, noun: str = "") -> str:
    """How many of how many, in words: "all six pairs", "one of two pairs", "neither pair"."""
    if whole == 2 and part == 0:
        words, is_one = "neither", True
    elif part == whole:
        words = {1: "the one", 2: "both"}.get(whole, f"all {number_word(whole)}")
        is_one = whole == 1
    else:
        words, is_one = f"{number_word(part) if part else 'none'} of {number_word(whole)}", False
    return f"{words} {noun}{'' if is_one else 's'}" if noun else words


def between(values: Sequence[float], digits: int, unit: str = "", plus: bool = False) -> str:
    """The span of `values`: "0.21 to 0.23 dB", or one number where both ends print alike."""
    write = signed if plus else fixed
    low, high = write(min(values), digits), write(max(values), digits)
    tail = f"{THIN_SPACE}{unit}" if unit else ""
    return f"{low}{tail}" if low == high else f"{low} to {high}{tail}"


def times(ratios: Sequence[float]) -> str:
    """The span of ratios: "6.2 to 7.1"; in more decimals where one would show nothing."""
    return between(ratios, 1 if min(ratios) >= 0.1 else 2)


def listed(words: Sequence[str]) -> str:
    """ "a", "a and b", "a, b and c"."""
    return " and ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))


def duration(seconds: float) -> str:
    """In two units at most: "0.4 s", "45 s", "8 min 20 s", "31 h 20 min"."""
    if seconds < 10:
        return f"{fixed(seconds, 1)}{THIN_SPACE}s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}{THIN_SPACE}s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes}{THIN_SPACE}min {rest}{THIN_SPACE}s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{fixed(hours)}{THIN_SPACE}h {minutes}{THIN_SPACE}min"


def sentence(text: str) -> str:
    """The first letter in upper case, the rest untouched."""
    return text[:1].upper() + text[1:]
