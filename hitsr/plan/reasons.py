"""Why each file of a results folder would be made now, in words.

That it would be made, Snakemake says (`plan.standing`). For the words, job files and records as
they lie there are compared with the plan, and the code with what Snakemake noted of it.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from hitsr.base.changes import flat
from hitsr.base.errors import HitsrError, shortened
from hitsr.plan.batches import CostJob
from hitsr.plan.failures import Failure, failures
from hitsr.plan.fingerprint import code_of
from hitsr.plan.jobs import Job, PrepareJob, TrainJob, read_job
from hitsr.plan.layout import Layout
from hitsr.plan.planning import Plan
from hitsr.plan.standing import Standing, recorded
from hitsr.records.checkpoint import folder_of, newest_first, read_header
from hitsr.records.training import TrainingRecord

State = Literal["done", "to do", "failed", "to be continued"]
_NEVER = "was not made yet"
_DELETED = "its result was deleted"
_UNFINISHED = "was not finished when the pipeline ended"
_CHANGES_SHOWN = 6
# What a change of a field's value means.
_MEANT = {"subject.content": "your own network’s file changed"}
# Fields that name files; and the pictures of a set, which only `plan.watching` looks at.
_NAMES = frozenset({"name", "output", "inputs", "seen", "content"})
_GIVEN = "files of yours that it reads changed, or how it is started"
# Snakemake's words for what it found first, in ours.
_STATUS = {
    "rule implementation changed": "its rule in the workflow changed",
    "set of input files changed": "is made from other results than before",
}


class Step(NamedTuple):
    """One job, or page, of a config, and where it stands."""

    kind: str
    name: str
    state: State
    reason: str  # why it is to be made; empty if it is done
    job: Job | None  # None for a page
    steps_done: int = 0  # of a training that is to be continued


def steps_of(
    plan: Plan, standings: Mapping[Path, Standing] | None, pages: Mapping[str, Sequence[str]]
) -> list[Step]:
    """All jobs of a config's report, and its page, in the order in which they can be done.

    Without `standings` nothing was made yet. `pages` has, by kind of page, what Snakemake notes of
    one: values that change with what the page shows.
    """
    found = [_step_of(plan, job, standings) for job in plan.reported]
    if standings is not None:
        failed = failures(plan, [s.job for s in found if s.job and _is_absent(s.job)])
        found = [_failed(step, failed) for step in found]
    known = {job.output for job in plan.reported}
    others = {path: each for path, each in (standings or {}).items() if path not in known}
    for path, standing in others.items():
        if standing.rule == "report":
            reason = _why_page(path, standing, pages) if standing.is_wanted else ""
            found.append(Step("report", path.stem, "to do" if reason else "done", reason, None))
    if standings is None:
        found.append(Step("report", "index", "to do", _NEVER, None))
    return found


def _step_of(plan: Plan, job: Job, standings: Mapping[Path, Standing] | None) -> Step:
    assert job.output is not None
    standing = standings.get(job.output) if standings is not None else None
    if standing is not None and not standing.is_wanted:
        return Step(job.kind, job.name, "done", "", job)
    reason, waits = _NEVER, False
    if standing and standings:
        read = (standings.get(path) for path in job.inputs.values())
        waits = any(each.is_wanted for each in read if each)
        reason = _why(plan.layout, job, standing, waits)
    # Of other pictures, or other weights to start from, a training starts anew.
    if isinstance(job, TrainJob) and not waits and (done := _continues_at(job)):
        words = [] if reason in (_NEVER, _DELETED) else [reason]
        words.append(_goes_on(done, job.run.recipe.steps))
        return Step(job.kind, job.name, "to be continued", "; ".join(words), job, done)
    return Step(job.kind, job.name, "to do", reason, job)


def _failed(step: Step, failed: Mapping[Path, Failure]) -> Step:
    failure = failed.get(step.job.output) if step.job and step.job.output else None
    if failure is None or step.state != "to do":
        return step
    return step._replace(state="failed", reason=f"failed last time: {failure.reason}")


def _is_absent(job: Job) -> bool:
    return job.output is not None and not job.output.exists()


def _continues_at(job: TrainJob) -> int:
    """After which step a training of this very job goes on; 0 if it starts anew."""
    assert job.output is not None
    for path in newest_first(folder_of(job.output.parent)):
        try:
            header = read_header(path)
        except HitsrError:  # the training says so, and takes the one before
            continue
        step = header.position.step if header.identity.job_hash == job.hash else 0
        is_over = step == job.run.recipe.steps
        return 0 if is_over and header.position.sessions[-1].code != code_of("train") else step
    return 0


def _goes_on(done: int, steps: int) -> str:
    if done == steps:
        return "its results are written again from its last checkpoint"
    return f"goes on from step {done} of {steps}"


def _why(layout: Layout, job: Job, standing: Standing, waits: bool) -> str:
    """Why a job would be done now; `waits`: what it reads would be made too."""
    assert job.output is not None
    if not job.output.exists():
        if recorded(job.output) is None:
            return _NEVER
        changes = _changes(layout, job)
        return _joined(changes) if changes else _DELETED
    if changes := _changes(layout, job):
        return _joined(changes)
    match standing.status:
        case "updated input files":
            return _of_inputs(layout, job)
        case "params changed":
            known = {"its code changed": [code_of(job.kind)]}
            return "; ".join(_changed_values(job.output, known)) or _GIVEN
        case "ok":
            return "needs what is made anew" if waits else _UNFINISHED
        case other:
            return _STATUS.get(other, other)


def _why_page(page: Path, standing: Standing, pages: Mapping[str, Sequence[str]]) -> str:
    if standing.status == "missing":
        return _NEVER if recorded(page) is None else "it was deleted"
    changed = _changed_values(page, pages)
    match standing.status:
        case "ok":
            changed.append("shows what is made anew")
        case "updated input files":
            changed.append("shows results that are newer")
        case "set of input files changed":
            changed.append("shows other results than before")
        case "params changed":
            changed = changed or ["results that it shows were deleted"]
        case other:
            changed.append(_STATUS.get(other, other))
    return "; ".join(changed)


def _changed_values(output: Path, values: Mapping[str, Collection[str]]) -> list[str]:
    """The words of which Snakemake noted other values when it made this file."""
    noted = recorded(output)
    if noted is None:
        return []
    return [words for words, each in values.items() if any(v not in noted for v in each)]


def _of_inputs(layout: Layout, job: Job) -> str:
    """Why a job whose file is as planned has newer inputs."""
    assert job.output is not None
    made_ns = job.output.stat().st_mtime_ns
    file = layout.job(job.kind, job.name)
    if file.is_file() and file.stat().st_mtime_ns > made_ns:
        return "its settings changed since it was made"
    if isinstance(job, PrepareJob):
        return "its pictures changed"
    newer = [
        path.name
        for path in job.inputs.values()
        if path.exists() and path.stat().st_mtime_ns > made_ns
    ]
    if newer:
        return f"is older than {', '.join(newer)}"
    is_shared = isinstance(job, CostJob)
    return "is measured with others that changed" if is_shared else "is older than what it reads"


def _changes(layout: Layout, job: Job) -> list[str]:
    """How a job differs from the one that was last done, or was last to be done."""
    before = _before(layout, job)
    if before is None:
        return []
    old, new = (flat(each.model_dump(mode="json")) for each in (before, job))
    return list(_words(old, new))


def _words(old: Mapping[str, object], new: Mapping[str, object]) -> Iterator[str]:
    for key in dict.fromkeys([*old, *new]):
        if key.partition(".")[0] in _NAMES or old.get(key) == new.get(key):
            continue
        if key in _MEANT:
            yield _MEANT[key]
        else:
            yield _change(key.removeprefix("subject.").removeprefix("run."), old, new, key)


def _change(name: str, old: Mapping[str, object], new: Mapping[str, object], key: str) -> str:
    return f"{name} {_value(old, key)} → {_value(new, key)}"


def config_words(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """How a config differs from the one of the last run: "title Before → After"."""
    old, new = flat(dict(before)), flat(dict(now))
    changed = (key for key in dict.fromkeys([*old, *new]) if old.get(key) != new.get(key))
    return _joined([_change(key, old, new, key) for key in changed])


def _value(values: Mapping[str, object], key: str) -> str:
    if key not in values:
        return "nothing"
    value = values[key]
    if isinstance(value, list) and not any(isinstance(each, dict | list) for each in value):
        return f"[{', '.join(map(str, value))}]"
    return f"{value:g}" if isinstance(value, float) else shortened(value).strip("'")


def _before(layout: Layout, job: Job) -> Job | None:
    """The job as its file has it; of a training that is done, as its record has it."""
    try:
        before = read_job(layout.job(job.kind, job.name))
    except HitsrError:
        return None
    if not isinstance(job, TrainJob) or not isinstance(before, TrainJob) or _is_absent(job):
        return before
    assert job.output is not None
    try:
        return before.model_copy(update={"run": TrainingRecord.load(job.output).run})
    except HitsrError:
        return before


def _joined(changes: Sequence[str]) -> str:
    more = len(changes) - _CHANGES_SHOWN
    shown = changes if more <= 1 else changes[:_CHANGES_SHOWN]
    return "; ".join([*shown, *([f"and {more} more"] if more > 1 else [])])
