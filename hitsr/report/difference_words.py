"""How a paired difference is said: counts, mean, interval, and what it leaves unknown. Pure."""

import math
from collections.abc import Sequence

from hitsr.report.estimates import LEVEL, PairedDifference, resolved
from hitsr.report.typeset import (
    THIN_SPACE,
    between,
    counted,
    fixed,
    listed,
    number_word,
    share,
    signed,
)


def in_words(
    found: PairedDifference,
    unit: str,
    digits: int,
    sides: tuple[str, str] = ("better", "worse"),
) -> str:
    """ "better on 4 of 5 pictures; +0.07 dB, 95 % interval over 3 seeds and 5 pictures +0.02 to
    +0.12; this design detects 0.08 dB or more"; `unit` may be empty, `sides` name the signs.
    """
    if found.equal == found.pictures:
        return f"equal on {_of(found.pictures, found.pictures)}"
    side, count = max(zip(sides, (found.better, found.worse)), key=lambda each: each[1])
    words = f"{side} on {_of(count, found.pictures)}"
    if found.equal:
        words += f", equal on {found.equal}"
    if found.mean is None:
        return f"{words}; no mean: one of the two equals an HR picture that the other misses"
    tail = f"{THIN_SPACE}{unit}" if unit else ""
    words += f"; {signed(found.mean, digits)}{tail}"
    if found.over_pictures:
        words += f", over these pictures {_ends(found.over_pictures, digits)}"
    if found.interval is None:
        return f"{words}; {_why_no_interval(found)}"
    words += f", 95{THIN_SPACE}% interval over {_drawn(found)} {_ends(found.interval, digits)}"
    least = math.ceil((found.smallest_detectable or 0) * 10**digits) / 10**digits
    return f"{words}; this design detects {fixed(least, digits)}{tail} or more"


def p_in_words(found: PairedDifference) -> str:
    """ "p = 0.013 over pictures", corrected where it was; or why p cannot decide."""
    if found.smallest_p >= LEVEL:
        unequal = counted(found.better + found.worse, "picture")
        return f"too few to decide: {unequal} that differ cannot give p below {LEVEL}"
    p = found.p if found.p_corrected is None else found.p_corrected
    value = "p < 0.001" if p < 0.0005 else f"p = {fixed(p, 3)}"
    return f"{value} over pictures" + (", after Holm" if found.p_corrected is not None else "")


def leads_in_words(pairs: Sequence[PairedDifference]) -> str:
    """Who is ahead in PSNR, no further than intervals allow: each conversion less its baseline.

    Where no interval covers what varies, only the means on these pictures are said. Means are
    finite.
    """
    means = [pair.mean for pair in pairs if pair.mean is not None]
    span = between(means, 2, "dB", plus=True)
    if len(pairs) == 1:
        return _lead_in_words(pairs[0], span)
    if not all(pair.interval for pair in pairs):
        above = sum(round(mean, 2) > 0 for mean in means)
        have = "has" if above <= 1 else "have"
        return (
            f"{share(above, len(pairs), 'conversion')} {have} the higher mean{_only_here(pairs)} "
            f"({span})"
        )
    sides = [resolved(pair) for pair in pairs]
    said = [
        f"{number_word(sides.count(side))} {'is' if sides.count(side) == 1 else 'are'} {word}"
        for side, word in (("above", "ahead"), ("below", "behind"))
        if side in sides
    ]
    if "undecided" in sides:
        count = sides.count("undecided")
        which = "any" if count == len(sides) else number_word(count)
        said.append(f"{_what_varies(pairs)} do not decide {which}")
    return f"of {number_word(len(pairs))} conversions, {listed(said)} ({span})"


def _lead_in_words(pair: PairedDifference, mean: str) -> str:
    if pair.interval is None:
        value = round(pair.mean or 0, 2)
        side = "above" if value > 0 else "below" if value < 0 else "equal to"
        return f"the conversion’s mean is {side} its baseline’s{_only_here([pair])} ({mean})"
    mean += f", 95{THIN_SPACE}% interval {_ends(pair.interval, 2)}"
    side = resolved(pair)
    if side == "undecided":
        varies = _what_varies([pair])
        return f"{varies} do not decide whether the conversion is ahead of its baseline ({mean})"
    return f"the conversion is {'ahead of' if side == 'above' else 'behind'} its baseline ({mean})"


def _only_here(pairs: Sequence[PairedDifference]) -> str:
    one_seed = any(pair.is_seed_unknown for pair in pairs)
    return " on these pictures" + (", with one seed" if one_seed else "")


def _what_varies(pairs: Sequence[PairedDifference]) -> str:
    return "the pictures" if all(all(pair.fixed) for pair in pairs) else "the seeds"


def _of(part: int, whole: int) -> str:
    if part == whole:
        return f"all {counted(whole, 'picture')}" if whole > 1 else "the one picture"
    return f"{part} of {counted(whole, 'picture')}"


def _drawn(found: PairedDifference) -> str:
    """ "3 seeds and 5 pictures", "3 and 2 seeds and 5 pictures", "5 pictures"."""
    varied = [n for n, is_fixed in zip(found.seeds, found.fixed) if not is_fixed]
    seeds = " and ".join(map(str, dict.fromkeys(varied)))
    return f"{seeds} seeds and " * bool(varied) + counted(found.pictures, "picture")


def _ends(interval: tuple[float, float], digits: int) -> str:
    """With up to two more digits where the ends would print alike, or one of them as zero."""
    for more in range(3):
        low, high = (signed(end, digits + more) for end in interval)
        if low != high and all(round(end, digits + more) for end in interval):
            break
    return f"{low} to {high}"


def _why_no_interval(found: PairedDifference) -> str:
    alone = ["picture"] * (found.pictures == 1) + ["seed"] * found.is_seed_unknown
    if not alone:
        return "no interval, as nothing varies"
    side = " on one side" if found.is_seed_unknown and max(found.seeds) > 1 else ""
    counts = " and ".join(f"one {noun}" for noun in alone)
    return f"{counts}{side}: what another {' or '.join(alone)} would give is not known"
