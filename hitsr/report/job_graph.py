"""The jobs behind a report and what waited for what, as a drawing of boxes and arrows."""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from markupsafe import Markup

from hitsr.plan.jobs import Job
from hitsr.plan.layout import Kind
from hitsr.report.evidence import Evidence
from hitsr.report.typeset import counted, duration

_WIDTH, _HEIGHT, _ACROSS, _DOWN = 168, 46, 230, 62  # of a box, and from one to the next

# Jobs that share a box, and its column; arrows follow from the jobs' inputs.
_GROUPS: dict[str, tuple[tuple[Kind, ...], int]] = {
    "prepare": (("prepare",), 0),
    "train": (("train",), 1),
    "restore, quality": (("restore", "quality"), 2),
    "lam": (("lam",), 2),
    "complexity": (("complexity",), 2),
    "latency": (("latency",), 2),
    "scaling": (("scaling",), 2),
    "scaling-time": (("scaling_time",), 2),
}


class JobGroup(NamedTuple):
    """All jobs of some kinds, and where their box stands."""

    name: str
    extent: str  # "18 of 20 jobs, 2 min 5 s"
    column: int
    row: int
    needs: tuple[str, ...]

    @property
    def corner(self) -> tuple[int, int]:
        return self.column * _ACROSS, self.row * _DOWN


def job_groups(evidence: Evidence) -> list[JobGroup]:
    """The jobs that the report asks for, grouped by kind, and the report at the end."""
    jobs = evidence.plan.reported
    makers = {job.output: job.kind for job in jobs}
    # Weights stand beside the record of their training.
    makers |= {evidence.plan.layout.weights(j.name): j.kind for j in jobs if j.kind == "train"}
    rows: Counter[int] = Counter()
    found: list[JobGroup] = []
    for name, (kinds, column) in _GROUPS.items():
        own = [job for job in jobs if job.kind in kinds]
        if own:
            waits = {makers.get(path) for job in own for path in job.inputs.values()}
            needs = tuple(each.name for each in found if waits & set(_GROUPS[each.name][0]))
            found.append(JobGroup(name, _extent(evidence, own), column, rows[column], needs))
            rows[column] += 1
    last = tuple(group.name for group in found if group.column == 2)
    return [*found, JobGroup("report", counted(len(jobs), "job"), 3, 0, last)]


def _extent(evidence: Evidence, jobs: Sequence[Job]) -> str:
    """How many have their output, and how long those with a record took."""
    missing = {job.output for job in evidence.results.missing}
    outputs = {job.output for job in jobs} - missing
    seconds = sum(
        record.provenance.seconds
        for job, record, _ in evidence.results.done
        if job.output in outputs
    )
    is_complete = len(outputs) == len(jobs)
    count = counted(len(jobs), "job") if is_complete else f"{len(outputs)} of {len(jobs)} jobs"
    return f"{count}, {duration(seconds)}" if outputs else f"{count}, not run"


def drawn(groups: Sequence[JobGroup]) -> Markup:
    """One <svg>, in the colours of the page, that says in words what it shows."""
    corners = {group.name: group.corner for group in groups}
    arrows = [(corners[need], group.corner) for group in groups for need in group.needs]
    shapes = [_wire(*arrow) for arrow in arrows]
    shapes += [_tip(*end) for end in dict.fromkeys(end for _, end in arrows)]
    shapes += [_box(group) for group in groups]
    width, height = (max(ends) for ends in zip(*corners.values()))
    words = (
        f"{group.name}, {group.extent}"
        + (f", after {' and '.join(group.needs)}" if group.needs else "")
        for group in groups
    )
    return Markup(
        '<svg class="graph" role="img" aria-label="Jobs: {}" viewBox="-1 -1 {} {}">{}</svg>'
    ).format("; ".join(words), width + _WIDTH + 2, height + _HEIGHT + 2, Markup("").join(shapes))


def _wire(start: tuple[int, int], end: tuple[int, int]) -> Markup:
    """From the right of one box to the left of another; bends before the column of the latter."""
    x, y = start[0] + _WIDTH, start[1] + _HEIGHT // 2
    path = f"M{x} {y}H{end[0] - 31}V{end[1] + _HEIGHT // 2}H{end[0] - 7}"
    return Markup(f'<path class="wire" d="{path}"/>')


def _tip(x: int, y: int) -> Markup:
    return Markup(f'<path class="tip" d="M{x - 7} {y + _HEIGHT // 2 - 4}l7 4l-7 4z"/>')


def _box(group: JobGroup) -> Markup:
    return Markup(
        '<g transform="translate({} {})"><rect width="{}" height="{}" rx="4"/>'
        '<text x="12" y="19" class="job">{}</text><text x="12" y="36">{}</text></g>'
    ).format(*group.corner, _WIDTH, _HEIGHT, group.name, group.extent)
