"""Section: the claim ledger, first on the page."""

import math
from collections.abc import Sequence
from itertools import groupby
from typing import NamedTuple

import pandas as pd
from markupsafe import Markup

from hitsr.report.cells import Cell, Column, Row, Table, listing
from hitsr.report.csv_tables import to_csv
from hitsr.report.evidence import Evidence
from hitsr.report.gauge import gauge
from hitsr.report.judging import JudgedNumber, Verdict
from hitsr.report.ledger import rulings
from hitsr.report.ledger_words import (
    VERDICTS,
    heading,
    here_words,
    number_words,
    paper_words,
    tally,
    verdict_words,
    why,
)
from hitsr.report.ruling import Ruling
from hitsr.report.section import Caption, Section, TableView
from hitsr.report.typeset import THIN_SPACE, counted, sentence
from hitsr.specs.claims import Basis

# Sections that hold a quantity's evidence; the page links to the first that it has.
_EVIDENCE = {
    "params": ("efficiency",),
    "flops": ("efficiency",),
    "latency_ms": ("speed", "efficiency"),
    "flops_exponent": ("scaling", "efficiency"),
    "psnr_db": ("quality",),
    "ssim": ("quality",),
    "validation_psnr_db": ("convergence", "provenance"),
    "diffusion_index": ("attribution", "provenance"),
}


class NumberView(NamedTuple):
    name: str
    paper: str
    here: str
    verdict: Verdict
    words: str


class Entry(NamedTuple):
    """One row of the ledger, as its template shows it."""

    id: str
    verdict: Verdict
    words: str
    statement: str
    source: str
    evidence: tuple[str, ...]
    why: str
    paper: str
    here: str
    gauge: Markup
    numbers: Sequence[NumberView]  # that were run, where there are several
    left: str  # "17 numbers are not run"


class Topic(NamedTuple):
    title: str
    entries: Sequence[Entry]


class Count(NamedTuple):
    verdict: Verdict
    claims: int
    words: str


def claims_section(evidence: Evidence) -> Section:
    found = rulings(evidence)
    caption = Caption(
        "Claims of the paper, and what this run makes of them.",
        "Ranges and counts are over network pairs, scales and test sets.",
    )
    untested = [r for r in found if r.verdict == "not_testable" and r.claim.basis != "quotes"]
    return Section(
        key="claims",
        nav="Claims",
        heading=heading(found, evidence.networks),
        parts={
            "topics": topics([ruling for ruling in found if ruling not in untested]),
            "untested": [_entry(ruling) for ruling in untested],
            "tally": _counts(found, "records"),
            "in_print": _counts(found, "quotes"),
            "in_code": _counts(found, "code"),
        },
        tables=[TableView(claims_table(found), caption)],
        files={"claims.csv": claims_csv(found)},
    )


def topics(found: Sequence[Ruling]) -> list[Topic]:
    """Neighbouring claims of one topic stand together, in the order of the file."""
    grouped = groupby(found, key=lambda ruling: ruling.claim.topic)
    return [Topic(title, [_entry(ruling) for ruling in group]) for title, group in grouped]


def claims_table(found: Sequence[Ruling]) -> Table:
    """For LaTeX: a row per claim."""
    columns = [Column(head, is_text=True) for head in ("paper", "here", "verdict")]
    rows = [
        Row(
            ruling.claim.id.replace("_", " "),
            (
                Cell(text=paper_words(ruling), kind="paper"),
                Cell(text=here_words(ruling)),
                Cell(text=verdict_words(ruling)),
            ),
        )
        for ruling in found
    ]
    return listing("claims", "Claim", columns, rows)


def claims_csv(found: Sequence[Ruling]) -> str:
    """A row per number of each claim; an open end of a band, or infinity, is an empty field."""
    rows = [_fields(ruling, number) for ruling in found for number in ruling.numbers]
    return to_csv(pd.DataFrame(rows))


def _fields(ruling: Ruling, number: JudgedNumber) -> dict[str, object]:
    claim, here = ruling.claim, number.here
    low, high = here.interval if here and here.interval else (None, None)
    return {
        "claim": claim.id,
        "statement": claim.statement,
        "source": claim.source,
        "claim_verdict": ruling.verdict,
        "decided_by": claim.basis,
        "part": number.name,
        "unit": number.style.unit,
        "paper": _finite(number.paper),
        "here": _finite(here.value if here else None),
        "here_low": _finite(low),
        "here_high": _finite(high),
        "here_place": number.here_place or None,
        "band_low": _finite(number.expected.low),
        "band_high": _finite(number.expected.high),
        "verdict": number.verdict,
        "reason": number.judgement.reason or None,
    }


def _finite(value: float | None) -> float | None:
    """Without what floats add in the last places; none where it is infinite."""
    if value is None or not math.isfinite(value):
        return None
    return round(value, 8) + 0.0  # no negative zero


def _counts(found: Sequence[Ruling], basis: Basis) -> list[Count]:
    return [
        Count(verdict, count, VERDICTS[basis][verdict])
        for verdict, count in tally(found, basis).items()
    ]


def _entry(ruling: Ruling) -> Entry:
    claim = ruling.claim
    shown = [n for n in ruling.numbers if n.here or claim.basis == "quotes"]
    left = len(ruling.numbers) - len(shown)
    return Entry(
        id=claim.id,
        verdict=ruling.verdict,
        words=verdict_words(ruling),
        statement=claim.statement.replace(" %", f"{THIN_SPACE}%"),  # which no line end splits
        source=claim.source,
        evidence=_EVIDENCE[next(iter(claim.quantities))],
        why=why(ruling),
        paper=paper_words(ruling),
        here=here_words(ruling),
        gauge=gauge(ruling),
        numbers=[_view(ruling, number) for number in shown] if len(shown) > 1 else (),
        left=f"{counted(left, 'more number')} not run" if left else "",
    )


def _view(ruling: Ruling, number: JudgedNumber) -> NumberView:
    words = sentence(VERDICTS[ruling.claim.basis][number.verdict])
    return NumberView(number.name, *number_words(number), number.verdict, words)
