"""Section: the claim ledger, first on the page."""

import math
from collections.abc import Sequence
from itertools import groupby
from typing import NamedTuple

import pandas as pd
from markupsafe import Markup

from hitsr.report.budget import Budget
from hitsr.report.cells import Cell, Column, Row, Table, listing
from hitsr.report.ledger import rulings
from hitsr.report.ledger.gauge import gauge
from hitsr.report.ledger.ruling import Part, Ruling
from hitsr.report.ledger.words import (
    VERDICTS,
    heading,
    here_words,
    paper_words,
    part_words,
    tally,
    verdict_words,
    why,
)
from hitsr.report.measures import Evidence
from hitsr.report.section import Caption, Section, TableView
from hitsr.report.tables import to_csv
from hitsr.report.typeset import THIN_SPACE, sentence
from hitsr.report.verdicts import Verdict
from hitsr.specs.claims import Basis


class Place(NamedTuple):
    """Where a kind of claim stands in the ledger, and which sections hold its evidence."""

    topic: str
    sections: tuple[str, ...]  # the first of these that the page has


_COSTS = Place("Size and cost", ("efficiency",))
_SPEED = Place("Speed", ("efficiency",))
_SCORES = Place("Quality", ("quality",))
_PRINT = Place("Printed numbers alone", ("quality",))
_PLACES = {
    "printed": _COSTS,
    "change": _COSTS,
    "growth": Place("Size and cost", ("scaling", "efficiency")),
    "speedup": _SPEED,
    "implementation": _SPEED,
    "gain": _SCORES,
    "elsewhere": Place("Quality", ("ablations", "quality")),
    "training_set": Place("Quality", ("ablations", "quality")),
    "convergence": Place("Learning and reach", ("convergence", "provenance")),
    "attribution": Place("Learning and reach", ("attribution", "provenance")),
    "printed_gain": _PRINT,
    "best": _PRINT,
    "successors": _PRINT,
}


class PartView(NamedTuple):
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
    parts: Sequence[PartView]  # where there are several


class Topic(NamedTuple):
    title: str
    entries: Sequence[Entry]


class Count(NamedTuple):
    verdict: Verdict
    claims: int
    words: str


def claims_section(evidence: Evidence, budget: Budget) -> Section:
    found = rulings(evidence, budget)
    caption = Caption(
        "Claims of the paper, and what this run makes of them.",
        "Ranges and counts are over network pairs, scales and test sets.",
    )
    return Section(
        key="claims",
        nav="Claims",
        heading=heading(found),
        parts={
            "topics": topics(found),
            "tally": _counts(found, "records"),
            "in_print": _counts(found, "quotes"),
        },
        tables=[TableView(claims_table(found), caption)],
        files={"claims.csv": claims_csv(found)},
    )


def topics(found: Sequence[Ruling]) -> list[Topic]:
    """Neighbouring claims of one topic stand together, in the order of the file."""
    grouped = groupby(found, key=lambda ruling: _PLACES[ruling.claim.kind].topic)
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
    rows = [_fields(ruling, part) for ruling in found for part in ruling.parts]
    return to_csv(pd.DataFrame(rows))


def _fields(ruling: Ruling, part: Part) -> dict[str, object]:
    claim, here = ruling.claim, part.here
    low, high = here.interval if here and here.interval else (None, None)
    return {
        "claim": claim.id,
        "statement": claim.statement,
        "source": claim.source,
        "claim_verdict": ruling.verdict,
        "decided_by": claim.basis,
        "part": part.name,
        "unit": part.style.unit,
        "paper": _number(part.paper),
        "here": _number(here.value if here else None),
        "here_low": _number(low),
        "here_high": _number(high),
        "band_low": _number(part.expected.low),
        "band_high": _number(part.expected.high),
        "verdict": part.verdict,
        "reason": part.judgement.reason or None,
    }


def _number(value: float | None) -> float | None:
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
    return Entry(
        id=claim.id,
        verdict=ruling.verdict,
        words=verdict_words(ruling),
        statement=claim.statement.replace(" %", f"{THIN_SPACE}%"),  # which no line end splits
        source=claim.source,
        evidence=_PLACES[claim.kind].sections,
        why=why(ruling),
        paper=paper_words(ruling),
        here=here_words(ruling),
        gauge=gauge(ruling),
        parts=[_part(ruling, part) for part in ruling.parts] if len(ruling.parts) > 1 else (),
    )


def _part(ruling: Ruling, part: Part) -> PartView:
    words = sentence(VERDICTS[ruling.claim.basis][part.verdict])
    return PartView(part.name, *part_words(part), part.verdict, words)
