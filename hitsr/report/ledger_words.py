"""What the ledger says: verdicts, the numbers on both sides, and one line of why."""

import math
from collections import Counter
from collections.abc import Sequence

from hitsr.report.judging import JudgedNumber, Measured, Verdict
from hitsr.report.names import label
from hitsr.report.ruling import Ruling
from hitsr.report.typeset import counted, fixed, listed, number_word, sentence
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
    "code": {  # what the released code says, which the paper does not
        "reproduced": "confirmed",
        "within": "confirmed, but not by the whole interval",
        "not_reproduced": "not confirmed",
        "not_testable": "not testable here",
    },
}
_NAMED = 3  # numbers that a line names before it only counts them


def verdict_words(ruling: Ruling) -> str:
    return sentence(VERDICTS[ruling.claim.basis][ruling.verdict])


def tally(rulings: Sequence[Ruling], basis: Basis) -> dict[Verdict, int]:
    """How many of the claims that `basis` decides have each verdict; those of none left out."""
    found = Counter(ruling.verdict for ruling in rulings if ruling.claim.basis == basis)
    return {verdict: found[verdict] for verdict in VERDICTS[basis] if found[verdict]}


def heading(rulings: Sequence[Ruling], networks: Sequence[str]) -> str:
    """What came of the claims; of a page about one network, what could be tested of it."""
    counts = tally(rulings, "records")
    if not counts:
        return "What the paper claims"
    tested = {verdict: n for verdict, n in counts.items() if verdict != "not_testable"}
    said = [f"{number_word(n)} {VERDICTS['records'][verdict]}" for verdict, n in tested.items()]
    if len(networks) == 1 and tested:
        claims = counted(sum(tested.values()), "claim")
        return f"{claims} can be tested on {label(networks[0])}: {listed(said)}"
    untested = counts.get("not_testable", 0)
    said += [f"{number_word(untested)} not testable here"] if untested else []
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
    return f"The paper makes {claims} that a run can test: {listed(said)}."


def paper_words(ruling: Ruling) -> str:
    printed = [number for number in ruling.numbers if number.paper is not None]
    values = [number.paper for number in printed if number.paper is not None]
    if not printed:
        return "no number printed"
    if not ruling.noun:
        place = printed[0].paper_place
        return f"{printed[0].style.span(values)} ({place})" if place else _span(printed, values)
    if all(number.expected.value is not None for number in printed):
        return counted(len(printed), ruling.noun)
    held = sum(number.expected.holds(value) for number, value in zip(printed, values))
    return f"{held} of {counted(len(printed), ruling.noun)}"


def here_words(ruling: Ruling) -> str:
    """ "holds in 1 of 1 run, 17 not run"; the range of what was measured; "not run"."""
    if ruling.claim.basis == "quotes":
        return "nothing to measure"
    measured = [number for number in ruling.numbers if number.here]
    if not measured:
        return "not run"
    values = [number.here.value for number in measured if number.here]
    missing = len(ruling.numbers) - len(measured)
    tail = f", {fixed(missing)} not run" if missing else ""
    if not ruling.noun:
        if len(measured) == 1:
            return number_words(measured[0])[1] + tail
        where = listed(list(dict.fromkeys(filter(None, (n.here_place for n in measured)))))
        return _span(measured, values) + (f" ({where})" if where else "") + tail
    judged = [number for number in ruling.judged if number.here]
    if judged:
        held = sum(number.verdict != "not_reproduced" for number in judged)
        text = f"holds in {held} of {len(judged)} run"
    else:
        held = sum(number.expected.holds(value) for number, value in zip(measured, values))
        text = f"{held} of {counted(len(measured), ruling.noun)}, not judged"
    if all(number.expected.value is None for number in measured):
        text += f", {_span(measured, values)}"
    return text + tail


def number_words(number: JudgedNumber) -> tuple[str, str]:
    """Its paper's number and the one here, with its interval."""
    return number.paper_words, _only(number) if number.here else "not run"


def why(ruling: Ruling) -> str:
    """One line: what fails, or what is in the way, or what the records add."""
    lines = [_why(ruling), ruling.note]
    if ruling.verdict == "not_reproduced":
        lines.append(ruling.claim.explanation)
    return " ".join(filter(None, lines))


def _why(ruling: Ruling) -> str:
    numbers = ruling.numbers
    match ruling.verdict:
        case "not_reproduced":
            failed = [_failed(number) for number in numbers if number.verdict == "not_reproduced"]
            return f"Not so for {_named(failed)}."
        case "not_testable":
            return _hindrances(numbers)
        case "within":
            return "In the tolerance, but not to the printed digit or not with the whole interval."
        case _:
            exact = all(
                number.here and number.expected.prints_as(number.here.value)
                for number in ruling.judged
            )
            return "Equal to the printed digits." if exact else ""


def _failed(number: JudgedNumber) -> str:
    """ "SwinIR-NG ×2 (274.1 G printed, 247.7 G here)"."""
    if number.here is None:
        return f"{number.name} ({number.style.write(number.paper or 0.0)})"
    here = number.style.write(number.here.value)
    paper = "" if number.paper is None else f"{number.style.write(number.paper)} printed, "
    return f"{number.name} ({paper}{here} here)"


def _hindrances(numbers: Sequence[JudgedNumber]) -> str:
    """Each reason once, those against measured numbers first."""
    ordered = sorted(numbers, key=lambda number: number.here is None)
    reasons = Counter(number.judgement.reason for number in ordered if number.judgement.reason)
    if len(reasons) == 1:
        return f"{sentence(next(iter(reasons)))}."
    return " ".join(
        f"{sentence(reason)} ({count} of {counted(len(numbers), 'number')})."
        for reason, count in reasons.items()
    )


def _named(names: Sequence[str]) -> str:
    rest = len(names) - _NAMED
    if rest <= 1:
        return listed(names)
    return f"{', '.join(names[:_NAMED])} and {number_word(rest)} more"


def _span(numbers: Sequence[JudgedNumber], values: Sequence[float]) -> str:
    """The range of numbers that are written alike; the name of a number that stands alone."""
    style = numbers[0].style
    alike = [value for number, value in zip(numbers, values) if number.style == style]
    text = style.span(alike)
    return f"{text} ({numbers[0].name})" if len(alike) == 1 else text


def _only(number: JudgedNumber) -> str:
    assert number.here is not None
    place = f"({number.here_place})" if number.here_place else ""
    text = number.style.write(number.here.value)
    return " ".join(filter(None, [text, _interval(number, number.here), place]))


def _interval(number: JudgedNumber, here: Measured) -> str:
    if here.interval is None or not math.isfinite(here.value):
        return ""
    return f"[{', '.join(map(number.style.bare, here.interval))}]"
