"""Compare two results folders, A and B: two tables of facts, cell by cell.

A cell is the same where B lies within a tolerance of A. Tolerances are stated, never learnt from
the samples; significance is said beside them, as evidence.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

from hitsr.base.errors import RecordError
from hitsr.records import Record, TrainingRecord
from hitsr.report.comparison import (
    KINDS,
    RULES,
    ComparedCell,
    Comparison,
    Kind,
    Rule,
    Tolerances,
    Verdict,
)
from hitsr.report.difference_words import in_words, p_in_words
from hitsr.report.dotted import at
from hitsr.report.estimates import Estimate, PairedDifference, corrected, median, quartiles
from hitsr.report.evidence import difference_of
from hitsr.report.facts import QUANTITIES, Fact, Quantity, facts_of
from hitsr.report.gather import Results, gather_folder
from hitsr.report.published import Published
from hitsr.report.typeset import MINUS, THIN_SPACE, counted, fixed, listed, signed


class Side(NamedTuple):
    """What one folder has of a quantity of a subject."""

    facts: list[Fact]  # one per seed
    record: Record  # of the first of them


Sides = dict[str, dict[str, Side]]  # subject -> quantity -> what there is
_KINDS = {"train": "training"}  # kinds of jobs that compare under another name


def compare_folders(
    a: Path, b: Path, tolerances: Tolerances, kinds: Sequence[Kind] = KINDS
) -> Comparison:
    """Compare results folders such as results/demo.

    Records that cannot be used are listed. RecordError for an empty folder, or where neither has
    records of these kinds.
    """
    found = [gather_folder(folder) for folder in (a, b)]
    first, second = (_read(folder, results) for folder, results in zip((a, b), found))
    cells = [
        cell for kind in kinds for cell in _compared(kind, first[kind], second[kind], tolerances)
    ]
    if not cells:
        raise RecordError(f"{a} and {b}: neither has records of {listed(kinds)}; ask for others")
    return Comparison(
        a=str(a),
        b=str(b),
        tolerances=tolerances,
        cells=tuple(cells),
        unusable=tuple(
            results.why(job)
            for results in found
            for job in results.missing
            if job.output in results.reasons and _KINDS.get(job.kind, job.kind) in kinds
        ),
        strays=tuple(stray for results in found for stray in results.strays),
    )


def _read(folder: Path, results: Results) -> dict[Kind, Sides]:
    """The facts of a folder that some rule compares."""
    if not results.records:
        hint = "name a results folder such as results/demo, with its jobs/ and records/"
        raise RecordError("; ".join([f"{folder}: no records of jobs; {hint}", *results.problems]))
    rules = {rule.quantity: rule for rule in RULES}
    found: dict[Kind, Sides] = {kind: {} for kind in KINDS}
    for result in results.done:
        facts = facts_of(Results(results.layout, (result,), ()), Published(()))
        for fact in (*facts.rows, *_outcomes(result.record)):
            if rule := rules.get(fact.quantity):
                sides = found[rule.kind].setdefault(_subject(rule.kind, fact), {})
                sides.setdefault(fact.quantity, Side([], result.record)).facts.append(fact)
    return found


def _outcomes(record: Record) -> Iterator[Fact]:
    """What a training came to, by its record; the table of facts has its whole curves."""
    if isinstance(record, TrainingRecord):
        for rule in RULES:
            value = getattr(record, rule.quantity, None) if rule.kind == "training" else None
            if value is not None:
                network, scale = record.run.network.name, record.run.scale
                yield Fact(rule.quantity, network, scale, (value,), subject=record.subject)


def _subject(kind: Kind, fact: Fact) -> str:
    """ "hit_sir-x4", "hit_sir-x4.cpu.fused, batch 4", "hit_sir-x4 on Set5", "hit_sir-x4-s1"."""
    if kind == "quality":
        return f"{fact.network}-x{fact.scale} on {fact.dataset}"
    name = ".".join([fact.subject, *(fact.setup or ())])
    return ", ".join(filter(None, [name, fact.load.words]))


def _compared(kind: Kind, a: Sides, b: Sides, tolerances: Tolerances) -> Iterator[ComparedCell]:
    """Subjects of one side only, then every quantity of those that both have."""
    for subject in sorted(a.keys() ^ b.keys()):
        verdict: Verdict = "only A" if subject in a else "only B"
        yield ComparedCell(kind=kind, subject=subject, verdict=verdict, words="not in the other")
    common = [subject for subject in a if subject in b]
    cells = []
    if kind == "training":
        cells = [_definition(subject, a[subject], b[subject]) for subject in common]
    for rule in RULES:
        if rule.kind == kind:
            pairs = {s: (a[s].get(rule.quantity), b[s].get(rule.quantity)) for s in common}
            cells += _judged(rule, pairs, tolerances)
    yield from sorted(cells, key=lambda cell: common.index(cell.subject))


def _definition(subject: str, *sides: dict[str, Side]) -> ComparedCell:
    """What was trained, how it went, and whether the same weights came of it."""
    a, b = (cast(TrainingRecord, next(iter(side.values())).record) for side in sides)
    changes = list(_changes(a.run.model_dump(), b.run.model_dump()))
    weights = "the same" if a.weights_sha256 == b.weights_sha256 else "other"
    courses = [_course(record) for record in (a, b)]
    apart = [f"{x} and {y}" for x, y in zip(*courses) if x != y] if all(courses) else []
    words = "; ".join(
        [listed(changes) or "one definition", f"{weights} weights, by their bytes", *apart]
    )
    has_other_outcome = all(courses) and courses[0][1:] != courses[1][1:]
    verdict: Verdict = "differs" if changes or has_other_outcome else "same"
    return ComparedCell(
        kind="training", subject=subject, quantity="run", verdict=verdict, words=words
    )


def _course(record: TrainingRecord) -> tuple[str, ...]:
    """What may differ between trainings of one definition: sessions, skipped steps, gates.

    Empty for a record of before these were recorded.
    """
    if not record.sessions:
        return ()
    places = listed(list(dict.fromkeys(session.place for session in record.sessions)))
    passed = sum(result.is_passed for result in record.gates)
    return (
        f"{counted(len(record.sessions), 'session')} on {places}",
        f"{counted(len(record.skipped), 'step')} skipped",
        f"{passed} of {counted(len(record.gates), 'gate')} passed",
    )


def _changes(a: dict[str, Any], b: dict[str, Any], above: str = "") -> Iterator[str]:
    """Fields by dotted path that differ: "recipe.steps 900 → 1800"."""
    for key in dict.fromkeys([*a, *b]):
        x, y = a.get(key), b.get(key)
        if isinstance(x, dict) and isinstance(y, dict):
            yield from _changes(x, y, f"{above}{key}.")
        elif x != y:
            yield f"{above}{key} {x} → {y}"


def _judged(
    rule: Rule, pairs: Mapping[str, tuple[Side | None, Side | None]], tolerances: Tolerances
) -> Iterator[ComparedCell]:
    """One quantity of all subjects; p is corrected for how many there are."""
    allowed = getattr(tolerances, rule.tolerance) if rule.tolerance else 0.0
    differences = {
        subject: difference_of(b.facts, a.facts)
        for subject, (a, b) in pairs.items()
        if a and b and rule.way == "pictures" and not _unlike(rule, a, b)
    }
    tested = corrected(differences)
    for subject, (a, b) in pairs.items():
        if a or b:
            yield _cell(rule, subject, a, b, allowed, tested.get(subject))


def _cell(
    rule: Rule,
    subject: str,
    a: Side | None,
    b: Side | None,
    allowed: float,
    tested: PairedDifference | None,
) -> ComparedCell:
    verdict: Verdict
    unlike = _unlike(rule, a, b) if a and b else ""
    if not a or not b:
        verdict, words = "only A" if a else "only B", "not measured"
    elif unlike and rule.way == "pictures":
        # Scores that were taken otherwise have no difference; side by side they would suggest one.
        a, b, verdict, words = None, None, "unlike", unlike
    else:
        is_within, words = _outcome(rule, a, b, allowed, tested)
        verdict = "unlike" if unlike else "same" if is_within else "differs"
        words = f"{words}, but {unlike}" if unlike else words
    x, y = (_number(rule, side) if side else Estimate(math.inf, None) for side in (a, b))
    return ComparedCell(
        kind=rule.kind,
        subject=subject,
        quantity=rule.name or rule.quantity,
        verdict=verdict,
        a=x.value if math.isfinite(x.value) else None,
        b=y.value if math.isfinite(y.value) else None,
        spread=(x.half or 0, y.half or 0) if rule.way == "times" else None,
        words=words,
        significance=tested,
    )


def _number(rule: Rule, side: Side) -> Estimate:
    """The median of times with its spread, else the mean over seeds; whole where facts count."""
    if rule.way == "times":
        return median(side.facts[0].samples)
    value = math.fsum(fact.value for fact in side.facts) / len(side.facts)
    return Estimate(value if rule.unit == 1 else round(value * rule.unit), None)


def _outcome(
    rule: Rule, a: Side, b: Side, allowed: float, tested: PairedDifference | None
) -> tuple[bool, str]:
    """Whether B is within tolerance of A, and B against A in words."""
    x, y = (_number(rule, side).value for side in (a, b))
    match rule.way:
        case "count":
            words = "equal" if x == y else f"{signed(y - x)}, {_share(x, y)}"
            return abs(y - x) <= allowed * x, words
        case "share":
            return abs(y - x) <= allowed * x, _share(x, y)
        case "difference":
            return abs(y - x) <= allowed, "equal" if x == y else signed(y - x, 3)
        case "times":
            return _slower(a.facts[0].samples, b.facts[0].samples, allowed)
        case "pictures":
            assert tested is not None
            is_within = tested.mean is not None and abs(tested.mean) <= allowed
            return is_within, _difference_words(tested, QUANTITIES[rule.quantity])


def _slower(a: Sequence[float], b: Sequence[float], allowed: float) -> tuple[bool, str]:
    """Medians differ where they are apart by more than the tolerance and than their spread."""
    (a_low, x, a_high), (b_low, y, b_high) = quartiles(a), quartiles(b)
    is_close = max(x / y, y / x) <= 1 + allowed
    overlap = a_low <= b_high and b_low <= a_high
    words = f"{fixed(y / x, 2)}× as long" if y >= x else f"{fixed(x / y, 2)}× as fast"
    if overlap and not is_close:
        words += ", within the spread of the samples"
    return is_close or overlap, words


def _difference_words(found: PairedDifference, known: Quantity) -> str:
    # One digit more than in papers: tolerances are finer than what papers print.
    words = in_words(found, known.unit, known.digits + 1)
    return words if found.equal == found.pictures else f"{words}; {p_in_words(found)}"


def _unlike(rule: Rule, a: Side, b: Side) -> str:
    """What was not measured alike: "threads 2 and 4"; empty if all was."""
    ways = {name: [_plain(at(s.record, path)) for s in (a, b)] for name, path in rule.alike.items()}
    words = ", ".join(f"{name} {x} and {y}" for name, (x, y) in ways.items() if x != y)
    if rule.way != "pictures":
        return words
    if words:
        return f"{words}, which do not compare; score both by one version of `hitsr quality`"
    # Within a folder, all seeds were scored alike, or it could not be read.
    x, y = (side.facts[0].items for side in (a, b))
    if x != y:
        return f"not the same pictures ({len(x)} and {len(y)}); score both on the same"
    return ""


def _plain(value: object) -> str:
    if value is None:
        return "absent"
    return "x".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _share(x: float, y: float) -> str:
    """The change as a percentage of two digits, however small."""
    if x == y:
        return "equal"
    if x == 0:
        return "from zero"
    return f"{100 * (y / x - 1):+.2g}{THIN_SPACE}%".replace("-", MINUS)
