"""What was run to make a report, and what waited for what, as a drawing of boxes and arrows."""

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

from markupsafe import Markup

from hitsr.records import Record
from hitsr.report.measures import Evidence
from hitsr.report.typeset import counted, duration

_WIDTH, _HEIGHT, _ACROSS, _DOWN = 168, 46, 230, 62  # of a box, and from one to the next

# Verb, kind of its records, column, verbs it waits for. Without a kind it leaves no record.
_VERBS = (
    ("prepare", "", 0, ()),
    ("resolve", "", 0, ()),
    ("train", "training", 1, ("prepare", "resolve")),
    ("restore, quality", "quality", 2, ("prepare", "train")),
    ("lam", "attribution", 2, ("prepare", "train")),
    ("complexity", "complexity", 2, ("resolve",)),
    ("latency", "latency", 2, ("resolve",)),
    ("scaling", "scaling", 2, ("resolve",)),
    ("scaling-time", "scaling_time", 2, ("resolve",)),
)


class Job(NamedTuple):
    """All jobs of one verb."""

    name: str
    extent: str  # "18 records, 2 min 5 s"
    column: int
    row: int
    needs: tuple[str, ...]


def jobs(evidence: Evidence) -> list[Job]:
    """Those verbs that left a record, what comes before them, and the report at the end."""
    results, config = evidence.results, evidence.config
    by_kind: dict[str, list[Record]] = defaultdict(list)
    for record in results.records:
        by_kind[record.KIND].append(record)
    extents = {
        "prepare": counted(len(config.data.sets), "set"),
        "resolve": counted(len(evidence.networks), "network"),
    }
    rows: dict[int, int] = defaultdict(int)
    found: list[Job] = []
    for name, kind, column, needs in _VERBS:
        if kind and kind not in by_kind:
            continue
        known = {job.name for job in found}
        extent = extents.get(name) or _extent(by_kind[kind])
        waits = tuple(need for need in needs if need in known)
        found.append(Job(name, extent, column, rows[column], waits))
        rows[column] += 1
    last = tuple(job.name for job in found if job.column == 2)
    total = counted(len(results.records), "record")
    return [*found, Job("collect, report", total, 3, 0, last)]


def drawn(found: Sequence[Job]) -> Markup:
    """One <svg>, in the colours of the page, that says in words what it shows."""
    places = {job.name: _place(job) for job in found}
    arrows = [(places[need], places[job.name]) for job in found for need in job.needs]
    shapes = [
        *(_wire(*arrow) for arrow in arrows),
        *(_tip(*end) for end in dict.fromkeys(end for _, end in arrows)),
        *(_box(job, *places[job.name]) for job in found),
    ]
    width = _WIDTH + _ACROSS * max(job.column for job in found) + 2
    height = _HEIGHT + _DOWN * max(job.row for job in found) + 2
    words = "; ".join(
        f"{job.name}, {job.extent}" + (f", after {' and '.join(job.needs)}" if job.needs else "")
        for job in found
    )
    opening = Markup('<svg class="graph" role="img" aria-label="{}" viewBox="-1 -1 {} {}">')
    svg = opening.format(f"Jobs: {words}", width, height)
    return svg + Markup("").join(shapes) + Markup("</svg>")


def _extent(records: Sequence[Record]) -> str:
    seconds = sum(record.provenance.seconds for record in records)
    return f"{counted(len(records), 'record')}, {duration(seconds)}"


def _place(job: Job) -> tuple[int, int]:
    return job.column * _ACROSS, job.row * _DOWN


def _wire(start: tuple[int, int], end: tuple[int, int]) -> Markup:
    """From the right of one box to the left of another; bends before the column of the latter."""
    x, y = start[0] + _WIDTH, start[1] + _HEIGHT // 2
    path = f"M{x} {y}H{end[0] - 31}V{end[1] + _HEIGHT // 2}H{end[0] - 7}"
    return Markup(f'<path class="wire" d="{path}"/>')


def _tip(x: int, y: int) -> Markup:
    return Markup(f'<path class="tip" d="M{x - 7} {y + _HEIGHT // 2 - 4}l7 4l-7 4z"/>')


def _box(job: Job, x: int, y: int) -> Markup:
    return Markup(
        '<g transform="translate({} {})"><rect width="{}" height="{}" rx="4"/>'
        '<text x="12" y="19" class="job">{}</text><text x="12" y="36">{}</text></g>'
    ).format(x, y, _WIDTH, _HEIGHT, job.name, job.extent)
