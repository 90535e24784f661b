"""The paper's Table 2: PSNR and SSIM of every method on every set and scale.

Where the paper has a set, its methods stand below as quoted rows, ranked among themselves: what was
measured here and what was printed elsewhere never compete.
"""

import math
from typing import NamedTuple

from hitsr.report.budget import Budget
from hitsr.report.cells import (
    NO_SOURCE,
    QUOTED,
    Cell,
    Column,
    Group,
    Row,
    Span,
    Table,
    difference,
    estimate,
    gain,
    paper,
    ranked,
    row,
)
from hitsr.report.measures import Evidence, score
from hitsr.report.names import BICUBIC, HR
from hitsr.report.published import (
    PSNR_TOLERANCE_DB,
    RELEASED_PSNR_TOLERANCE_DB,
    RELEASED_SSIM_TOLERANCE,
)
from hitsr.report.statistics import Estimate
from hitsr.specs.network import Scale

_PSNR = Column("PSNR", "dB", room="spread")
# Of sets that the paper has, and of others.
_COMPARED = (
    _PSNR,
    Column("to paper", "dB", room="mark"),
    Column("SSIM"),
    Column("to paper", room="mark"),
)
_ALONE = (_PSNR, Column("to bicubic", "dB"), Column("SSIM"), Column("paper PSNR", "dB"))


class Tolerance(NamedTuple):
    """How far a score may lie from the paper's, and whether it is judged at all."""

    psnr_db: float
    ssim: float  # infinite where none was fixed
    judged: bool


def tolerance(evidence: Evidence, budget: Budget, dataset: str) -> Tolerance:
    """Weights as released leave no room; a training of one's own does, if by the paper's budget."""
    if evidence.config.weights:
        return Tolerance(RELEASED_PSNR_TOLERANCE_DB, RELEASED_SSIM_TOLERANCE, judged=True)
    return Tolerance(PSNR_TOLERANCE_DB[dataset], math.inf, budget.is_papers)


def quality_table(evidence: Evidence, budget: Budget) -> Table:
    """A span per set; per scale a group of measured rows and one of quoted rows."""
    spans = tuple(
        Span(_COMPARED if evidence.published.has_dataset(dataset) else _ALONE, dataset)
        for dataset in evidence.config.data.test
    )
    groups = []
    for scale in evidence.config.scales:
        groups.append(Group(f"×{scale}", _measured_rows(evidence, budget, scale)))
        if quoted := _quoted_rows(evidence, scale):
            groups.append(Group(f"×{scale}, published", quoted))
    return Table("quality", "Network", spans, tuple(groups))


def _measured_rows(evidence: Evidence, budget: Budget, scale: Scale) -> tuple[Row, ...]:
    methods = [BICUBIC, *evidence.networks, HR]
    columns: list[list[Cell]] = []
    for dataset in evidence.config.data.test:
        if evidence.published.has_dataset(dataset):
            limit = tolerance(evidence, budget, dataset)
            columns += _compared(evidence, limit, scale, dataset, methods)
        else:
            columns += _alone(evidence, scale, dataset, methods)
    return tuple(row(method, cells) for method, cells in zip(methods, zip(*columns)))


def _compared(
    evidence: Evidence, limit: Tolerance, scale: Scale, dataset: str, methods: list[str]
) -> list[list[Cell]]:
    """Made by column, because cells are ranked within one."""
    scores = [score(evidence.results, method, scale, dataset) for method in methods]
    quotes = [evidence.published.quality(method, scale, dataset) for method in methods]
    psnr_db = [found.psnr_db if found else None for found in scores]
    ssim = [found.ssim if found else None for found in scores]
    printed_db = [quote.psnr_db if quote else None for quote in quotes]
    printed_ssim = [quote.ssim if quote else None for quote in quotes]
    return [
        _ranked([estimate(ours, 2) for ours in psnr_db]),
        _differences(psnr_db, printed_db, 2, limit.psnr_db, limit.judged),
        _ranked([estimate(ours, 4) for ours in ssim]),
        _differences(ssim, printed_ssim, 4, limit.ssim, limit.judged),
    ]


def _differences(
    ours: list[Estimate | None],
    printed: list[float | None],
    digits: int,
    room: float,
    judged: bool,
) -> list[Cell]:
    return [
        difference(here.value if here else None, there, digits, room, judged)
        for here, there in zip(ours, printed, strict=True)
    ]


def _alone(evidence: Evidence, scale: Scale, dataset: str, methods: list[str]) -> list[list[Cell]]:
    scores = [score(evidence.results, method, scale, dataset) for method in methods]
    return [
        _ranked([estimate(found.psnr_db if found else None, 2) for found in scores]),
        [gain(found.over_bicubic_db if found else None, 2) for found in scores],
        _ranked([estimate(found.ssim if found else None, 4) for found in scores]),
        [NO_SOURCE] * len(methods),
    ]


def _quoted_rows(evidence: Evidence, scale: Scale) -> tuple[Row, ...]:
    """The paper's methods in its order; none where it has none of the sets."""
    published, columns = evidence.published, []
    if not any(map(published.has_dataset, evidence.config.data.test)):
        return ()
    methods = published.methods(scale)
    for dataset in evidence.config.data.test:
        if not published.has_dataset(dataset):
            columns += [[NO_SOURCE] * len(methods)] * len(_ALONE)
            continue
        quotes = [published.quoted(method, scale, dataset) for method in methods]
        aside = [QUOTED] * len(methods)
        columns += [
            ranked([paper(quote.psnr_db if quote else None, 2) for quote in quotes]),
            aside,
            ranked([paper(quote.ssim if quote else None, 4) for quote in quotes]),
            aside,
        ]
    cells = zip(*columns)
    return tuple(Row(name, tuple(each), "ctl", "quoted") for name, each in zip(methods, cells))


def _ranked(cells: list[Cell]) -> list[Cell]:
    """All but the last, which is HR's."""
    return [*ranked(cells[:-1]), cells[-1]]
