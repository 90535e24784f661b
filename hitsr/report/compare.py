"""Compare two results folders, A and B, cell by cell: what differs, what only one of them has.

A cell is the same where B lies within a tolerance of A. Tolerances are stated, never learnt from
the samples; significance is said beside them, as evidence.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from hitsr.base.errors import RecordError
from hitsr.base.values import Value
from hitsr.records import ComplexityRecord, LatencyRecord, QualityRecord, TrainingRecord
from hitsr.report.compared import KINDS, ComparedCell, Comparison, Kind, Tolerances, Verdict
from hitsr.report.gather import Results, gather
from hitsr.report.names import method_of
from hitsr.report.significance import (
    Metric,
    PairedDifference,
    corrected,
    in_words,
    mean_score,
    p_in_words,
    paired_difference,
)
from hitsr.report.statistics import median, quartiles
from hitsr.report.typeset import MINUS, THIN_SPACE, fixed, listed, signed


def compare_folders(
    a: Path, b: Path, tolerances: Tolerances, kinds: Sequence[Kind] = KINDS
) -> Comparison:
    """Compare results folders such as results/demo.

    RecordError for an empty or damaged one, or where neither has records of these kinds.
    """
    first, second = _read(a), _read(b)
    cells = [cell for kind in kinds for cell in _compared(kind, first, second, tolerances)]
    if not cells:
        raise RecordError(f"{a} and {b}: neither has records of {listed(kinds)}; ask for others")
    return Comparison(a=str(a), b=str(b), tolerances=tolerances, cells=tuple(cells))


def _read(folder: Path) -> Results:
    results = gather(folder)
    if not results.records:
        raise RecordError(f"{folder}: no records; name a results folder such as results/demo")
    return results


def _compared(kind: Kind, a: Results, b: Results, tolerances: Tolerances) -> Iterator[ComparedCell]:
    """Subjects of one side only, then every quantity of those that both have."""
    subjects: dict[Kind, Callable[[Results], dict[str, Any]]] = {
        "complexity": lambda side: {r.subject: r for r in side.complexity.values()},
        "latency": lambda side: {f"{r.subject}, {r.setup}": r for r in side.latency.values()},
        "quality": _by_method,
        "training": lambda side: {r.subject: r for r in side.trainings},
    }
    judges: dict[Kind, Callable[[dict[str, Any], Tolerances], Iterator[ComparedCell]]] = {
        "complexity": _complexity,
        "latency": _latency,
        "quality": _quality,
        "training": _training,
    }
    first, second = subjects[kind](a), subjects[kind](b)
    for subject in sorted(first.keys() ^ second.keys()):
        verdict: Verdict = "only A" if subject in first else "only B"
        yield ComparedCell(kind=kind, subject=subject, verdict=verdict, words="not in the other")
    pairs = {subject: (first[subject], second[subject]) for subject in first if subject in second}
    yield from judges[kind](pairs, tolerances)


def _by_method(results: Results) -> dict[str, list[QualityRecord]]:
    """The records of a method's seeds, by "hit_sir-x2 on Set5"."""
    grouped: dict[str, list[QualityRecord]] = {}
    for (run, dataset), record in results.quality.items():
        subject = f"{method_of(run)}-x{record.scale} on {dataset}"
        grouped.setdefault(subject, []).append(record)
    return grouped


def _complexity(
    pairs: dict[str, tuple[ComplexityRecord, ComplexityRecord]], tolerances: Tolerances
) -> Iterator[ComparedCell]:
    for subject, (a, b) in pairs.items():
        unlike = _unlike(a, b, "output_size", "formulation")
        for quantity in ("params", "flops"):
            x, y = getattr(a, quantity), getattr(b, quantity)
            words = "equal" if x == y else f"{signed(y - x)}, {_share(x, y)}"
            yield ComparedCell(
                kind="complexity", subject=subject, quantity=quantity, a=x, b=y,
                verdict=_verdict(abs(y - x) <= tolerances.counts * x, unlike),
                words=_but(words, unlike),
            )  # fmt: skip


def _latency(
    pairs: dict[str, tuple[LatencyRecord, LatencyRecord]], tolerances: Tolerances
) -> Iterator[ComparedCell]:
    for subject, (a, b) in pairs.items():
        machines = _unlike(a.provenance, b.provenance, "device_name", "threads")
        unlike = _joined(_unlike(a, b, "output_size", "memory_kind"), machines)
        yield _median_latency(subject, a, b, tolerances.latency, unlike)
        x, y = a.peak_memory_bytes, b.peak_memory_bytes
        yield ComparedCell(
            kind="latency", subject=subject, quantity="peak_memory_bytes", a=x, b=y,
            verdict=_verdict(abs(y - x) <= tolerances.memory * x, unlike),
            words=_but(_share(x, y), unlike),
        )  # fmt: skip


def _median_latency(
    subject: str, a: LatencyRecord, b: LatencyRecord, tolerance: float, unlike: str
) -> ComparedCell:
    """Medians differ where they are apart by more than the tolerance and than their spread."""
    (a_low, x, a_high), (b_low, y, b_high) = quartiles(a.samples_ms), quartiles(b.samples_ms)
    close = max(x / y, y / x) <= 1 + tolerance
    overlap = a_low <= b_high and b_low <= a_high
    words = f"{fixed(y / x, 2)}× as long" if y >= x else f"{fixed(x / y, 2)}× as fast"
    if overlap and not close:
        words += ", within the spread of the samples"
    return ComparedCell(
        kind="latency", subject=subject, quantity="latency_ms", a=x, b=y,
        spread=(median(a.samples_ms).half or 0, median(b.samples_ms).half or 0),
        verdict=_verdict(close or overlap, unlike), words=_but(words, unlike),
    )  # fmt: skip


def _quality(
    pairs: dict[str, tuple[list[QualityRecord], list[QualityRecord]]], tolerances: Tolerances
) -> Iterator[ComparedCell]:
    """A method on a set, over its seeds; p is corrected across all cells of a metric."""
    allowed: dict[Metric, float] = {"psnr": tolerances.psnr_db, "ssim": tolerances.ssim}
    for metric, tolerance in allowed.items():
        found: dict[str, PairedDifference] = {}
        for subject, (a, b) in pairs.items():
            try:
                found[subject] = paired_difference(b, a, metric)
            except RecordError as error:
                yield ComparedCell(
                    kind="quality", subject=subject, quantity=metric, verdict="unlike",
                    words=str(error),
                )  # fmt: skip
        for subject, each in corrected(found).items():
            a, b = pairs[subject]
            yield ComparedCell(
                kind="quality", subject=subject, quantity=metric,
                a=mean_score(a, metric), b=mean_score(b, metric),
                verdict=_verdict(each.mean is not None and abs(each.mean) <= tolerance),
                words=_quality_words(each), significance=each,
            )  # fmt: skip


def _quality_words(found: PairedDifference) -> str:
    if found.equal == found.pictures:
        return in_words(found)
    # One digit more than in papers: tolerances are finer than what papers print.
    return f"{in_words(found, extra_digits=1)}; {p_in_words(found)}"


def _training(
    pairs: dict[str, tuple[TrainingRecord, TrainingRecord]], tolerances: Tolerances
) -> Iterator[ComparedCell]:
    for subject, (a, b) in pairs.items():
        changes = list(_changes(a.run.model_dump(), b.run.model_dump()))
        weights = "the same" if a.weights_sha256 == b.weights_sha256 else "other"
        yield ComparedCell(
            kind="training", subject=subject, quantity="run",
            verdict=_verdict(not changes),
            words=f"{listed(changes) or 'one definition'}; {weights} weights, by their bytes",
        )  # fmt: skip
        for quantity, tolerance in (
            ("pictures", 0.0),
            ("final_loss", tolerances.loss * a.final_loss),
            ("final_validation_psnr_db", tolerances.psnr_db),
        ):
            yield _outcome(subject, quantity, a, b, tolerance)


def _changes(a: dict[str, Any], b: dict[str, Any], above: str = "") -> Iterator[str]:
    """Fields by dotted path that differ: "recipe.steps 900 → 1800"."""
    for key in dict.fromkeys([*a, *b]):
        x, y = a.get(key), b.get(key)
        if isinstance(x, dict) and isinstance(y, dict):
            yield from _changes(x, y, f"{above}{key}.")
        elif x != y:
            yield f"{above}{key} {x} → {y}"


def _outcome(
    subject: str, quantity: str, a: TrainingRecord, b: TrainingRecord, tolerance: float
) -> ComparedCell:
    x, y = getattr(a, quantity), getattr(b, quantity)
    verdict: Verdict
    if x is None or y is None:
        verdict = "same" if x == y else ("only B" if x is None else "only A")
        words = "not measured"
    else:
        verdict = _verdict(abs(y - x) <= tolerance)
        words = _share(x, y) if quantity == "final_loss" else signed(y - x, 3)
    return ComparedCell(
        kind="training", subject=subject, quantity=quantity, a=x, b=y, verdict=verdict, words=words
    )


def _unlike(a: Value, b: Value, *fields: str) -> str:
    """What was not measured alike: "threads 2 and 4"; empty if all was."""
    pairs = ((field.replace("_", " "), getattr(a, field), getattr(b, field)) for field in fields)
    return ", ".join(f"{name} {_plain(x)} and {_plain(y)}" for name, x, y in pairs if x != y)


def _plain(value: object) -> str:
    return "x".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _verdict(within: bool, unlike: str = "") -> Verdict:
    if unlike:
        return "unlike"
    return "same" if within else "differs"


def _share(x: float, y: float) -> str:
    """The change as a percentage of two digits, however small."""
    if x == y:
        return "equal"
    if x == 0:
        return "from zero"
    return f"{100 * (y / x - 1):+.2g}{THIN_SPACE}%".replace("-", MINUS)


def _but(words: str, unlike: str) -> str:
    return f"{words}, but {unlike}" if unlike else words


def _joined(*parts: str) -> str:
    return ", ".join(filter(None, parts))
