"""What the ledger says: verdicts, the numbers on both sides, and one line of why."""

import math
from collections import Counter
from collections.abc import Sequence

from hitsr.report.ledger.ruling import Part, Ruling
from hitsr.report.typeset import counted, fixed, listed, number_word, sentence
from hitsr.report.verdicts import Measured, Verdict
from hitsr.specs.claims import Basis

VERDICTS: dict[Basis, dict[Verdict, str]] = {
    "records": {
        "reproduced": "reproduced",
        "within": "within tolerance",
        "not_reproduced": "not reproduced",
        "not_testable": "not testable here",
    },
    "quotes": {  # exact numbers, all of them there
        "reproduced": "true in print",
        "not_reproduced": "not true in print",
        "not_testable": "no number in print",
    },
}
_NAMED = 3  # parts that a line names before it only counts them


def verdict_words(ruling: Ruling) -> str:
    return sentence(VERDICTS[ruling.claim.basis][ruling.verdict])


def tally(rulings: Sequence[Ruling], basis: Basis) -> dict[Verdict, int]:
    """How many of the claims that `basis` decides have each verdict; those of none left out."""
    found = Counter(ruling.verdict for ruling in rulings if ruling.claim.basis == basis)
    return {verdict: found[verdict] for verdict in VERDICTS[basis] if found[verdict]}


def heading(rulings: Sequence[Ruling]) -> str:
    counts = tally(rulings, "records")
    if not counts:
        return "What the paper claims"
    said = [
        f"{number_word(count)} {VERDICTS['records'][verdict]}" for verdict, count in counts.items()
    ]
    return f"Of {number_word(sum(counts.values()))} claims, {listed(said)}"


def ledger_sentence(rulings: Sequence[Ruling]) -> str:
    """The ledger in one sentence; empty without any claim."""
    counts = tally(rulings, "records")
    if not counts:
        return ""
    said = [
        f"{number_word(count)} {'is' if count == 1 else 'are'} {VERDICTS['records'][verdict]}"
        for verdict, count in counts.items()
    ]
    claims = counted(sum(counts.values()), "claim")
    return f"Of {claims} of the paper that a run can test, {listed(said)}."


def paper_words(ruling: Ruling) -> str:
    printed = [part for part in ruling.parts if part.paper is not None]
    numbers = [part.paper for part in printed if part.paper is not None]
    if not printed:
        return "no number printed"
    if not ruling.noun:
        return _span(printed, numbers)
    if all(part.expected.value is not None for part in printed):
        return counted(len(printed), ruling.noun)
    held = sum(part.expected.holds(number) for part, number in zip(printed, numbers))
    return f"{held} of {counted(len(printed), ruling.noun)}"


def here_words(ruling: Ruling) -> str:
    if ruling.claim.basis == "quotes":
        return "nothing to measure"
    measured = [part for part in ruling.parts if part.here]
    if not measured:
        return "not run"
    values = [part.here.value for part in measured if part.here]
    if not ruling.noun:
        return _only(measured[0]) if len(ruling.parts) == 1 else _span(measured, values)
    held = sum(part.expected.holds(value) for part, value in zip(measured, values))
    text = f"{held} of {counted(len(measured), ruling.noun)}"
    if all(part.expected.value is None for part in measured):
        text += f", {_span(measured, values)}"
    missing = len(ruling.parts) - len(measured)
    return f"{text}; {fixed(missing)} not run" if missing else text


def part_words(part: Part) -> tuple[str, str]:
    """Its paper's number and the one here, with its interval."""
    paper = "none printed" if part.paper is None else part.style.write(part.paper)
    return paper, _only(part) if part.here else "not run"


def why(ruling: Ruling) -> str:
    """One line: what fails, or what is in the way, or what the records add."""
    lines = [_why(ruling), ruling.note]
    if ruling.verdict == "not_reproduced":
        lines.append(ruling.claim.explanation)
    return " ".join(filter(None, lines))


def _why(ruling: Ruling) -> str:
    parts = ruling.parts
    match ruling.verdict:
        case "not_reproduced":
            failed = [_failed(part) for part in parts if part.verdict == "not_reproduced"]
            return f"Not so for {_named(failed)}."
        case "not_testable":
            return _hindrances(parts)
        case "within":
            return "In the tolerance, but not to the printed digit or not with the whole interval."
        case _:
            values = [part.here.value for part in parts if part.here]
            exact = len(values) == len(parts) and all(
                part.expected.prints_as(value) for part, value in zip(parts, values)
            )
            return "Equal to the printed digits." if exact else ""


def _failed(part: Part) -> str:
    """ "SwinIR-NG ×2 (274.1 G printed, 247.7 G here)"."""
    if part.here is None:
        return f"{part.name} ({part.style.write(part.paper or 0.0)})"
    here = part.style.write(part.here.value)
    paper = "" if part.paper is None else f"{part.style.write(part.paper)} printed, "
    return f"{part.name} ({paper}{here} here)"


def _hindrances(parts: Sequence[Part]) -> str:
    """Each reason once, those against measured numbers first."""
    ordered = sorted(parts, key=lambda part: part.here is None)
    reasons = Counter(part.judgement.reason for part in ordered if part.judgement.reason)
    if len(reasons) == 1:
        return f"{sentence(next(iter(reasons)))}."
    return " ".join(
        f"{sentence(reason)} ({count} of {counted(len(parts), 'number')})."
        for reason, count in reasons.items()
    )


def _named(names: Sequence[str]) -> str:
    rest = len(names) - _NAMED
    if rest <= 1:
        return listed(names)
    return f"{', '.join(names[:_NAMED])} and {number_word(rest)} more"


def _span(parts: Sequence[Part], values: Sequence[float]) -> str:
    """Of the parts that are written like the first; its name where there is no other."""
    style = parts[0].style
    alike = [value for part, value in zip(parts, values) if part.style == style]
    text = style.span(alike)
    return f"{text} ({parts[0].name})" if len(alike) == 1 else text


def _only(part: Part) -> str:
    assert part.here is not None
    text = part.style.write(part.here.value)
    return f"{text} {_interval(part, part.here)}".rstrip()


def _interval(part: Part, here: Measured) -> str:
    if here.interval is None or not math.isfinite(here.value):
        return ""
    return f"[{', '.join(map(part.style.bare, here.interval))}]"
