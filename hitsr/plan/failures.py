"""Why jobs failed: the pipeline ends the log of a failed job with a line of its own.

A training that was asked to end and is saved did not fail; its exit status says so.
"""

import shutil
import signal
from collections.abc import Collection, Iterable, Sequence
from itertools import takewhile
from pathlib import Path
from typing import NamedTuple

from hitsr.base.errors import TO_BE_CONTINUED
from hitsr.plan.batches import cost_batches, rule_name
from hitsr.plan.jobs import Job
from hitsr.plan.planning import Plan

# The last line of a failed job's log, followed by the exit status; `workflow/rules` writes it.
MARK = "hitsr: the job failed, exit status "
_LINES = 12  # most lines of a reason
_LITTLE = 1_000_000  # bytes, of which a log cannot be sure
_FRAME = "│╭╰╮╯─ "  # around errors of the command line

FailedRule = tuple[str, Sequence[str], Sequence[str]]  # name, logs, outputs


class Failure(NamedTuple):
    """Why a job failed, in words, and the log that says more."""

    job: str  # "train hit_sir-x2-s1"
    reason: str
    log: Path

    @property
    def words(self) -> str:
        return f"{self.job} failed: {self.reason.rstrip('.')}; its log is {self.log}"


def failures(plan: Plan, jobs: Collection[Job]) -> dict[Path, Failure]:
    """Those of `jobs`, which have no output, that failed when the pipeline last ran them.

    The others were not run, or were stopped with the pipeline.
    """
    shared = {
        job.output: (rule_name(batch), [each.name for each in batched])
        for batch, batched in cost_batches(plan.jobs).items()
        for job in batched
    }
    found = {}
    for job in jobs:
        assert job.output is not None
        name, neighbours = shared.get(job.output, (job.name, []))
        log, file = plan.layout.log(job.kind, name), plan.layout.job(job.kind, job.name)
        # A log that is older than the job's file is of the job before a change.
        if not (log.is_file() and file.is_file() and file.stat().st_mtime <= log.stat().st_mtime):
            continue
        if reason := reason_in(log, job.name, neighbours):
            found[job.output] = Failure(_called(job), reason, log)
    return found


def reason_in(log: Path, name: str = "", neighbours: Sequence[str] = ()) -> str | None:
    """Why the job with this log failed; None if the log does not say so, or it is to be continued.

    Where jobs share a log, `neighbours` are their names, and `name` is that of the one in question.
    """
    said, status = _end(log)
    if status in (None, TO_BE_CONTINUED):
        return None
    named = {each: f"hitsr: {each}: " for each in neighbours}
    if name in named and (own := _after(said, named[name])):
        return _joined([own[0], *takewhile(lambda line: line.startswith(" "), own[1:])])
    if status > 128:  # what it said last is then progress
        return _of_status(status)
    said = [line for line in said if not line.startswith(tuple(named.values()))]
    framed = [line.strip(_FRAME) for line in said if line.startswith("│")]
    last_words = _after(said, "hitsr: ") or framed or said[-1:]
    return _joined(last_words) or _of_status(status)


def continued_in(log: Path) -> str | None:
    """From where the job with this log goes on, in its own words; None if it was not saved."""
    said, status = _end(log)
    return _joined(_after(said, "hitsr: ")) if status == TO_BE_CONTINUED else None


def is_worth_repeating(log: Path, is_elsewhere: bool, since_ns: int) -> bool:
    """Whether the failed job with this log may succeed if it is started again at once.

    A killed job may, as where memory ran out beside others. One that said what is wrong would say
    it again. `is_elsewhere`: a cluster ran it, which may also have taken the machine away, log
    unfinished, or have told a training to save itself and go on. A log that was last written before
    `since_ns` is of an earlier run: the job was lost before it wrote one.
    """
    is_of_this_run = log.is_file() and log.stat().st_mtime_ns >= since_ns
    status = _end(log)[1] if is_of_this_run else None
    if status in (None, TO_BE_CONTINUED):
        return is_elsewhere
    return status > 128


def _end(log: Path) -> tuple[list[str], int | None]:
    """What a job said, and its exit status; None if the log does not have it."""
    try:
        *lines, last = log.read_text(encoding="utf-8", errors="replace").splitlines() or [""]
    except OSError:
        return [], None
    status = last.removeprefix(MARK)
    if not last.startswith(MARK) or not status.isdecimal():
        return [], None
    return [line.rstrip() for line in lines if line.strip(_FRAME)], int(status)


def _joined(lines: Sequence[str]) -> str:
    return " ".join(line.strip() for line in lines[:_LINES])


def _after(lines: Sequence[str], start: str) -> list[str]:
    """The last line that begins with `start`, without that, and the lines after it."""
    at = max((n for n, line in enumerate(lines) if line.startswith(start)), default=None)
    return [] if at is None else [lines[at].removeprefix(start), *lines[at + 1 :]]


def _of_status(status: int) -> str:
    if status <= 128:
        return f"it ended without a word, exit status {status}"
    name = signal.Signals(status - 128).name
    why = ", as the system does where memory runs out" if name == "SIGKILL" else ""
    return f"it was killed, exit status {status} ({name}){why}"


def failure_lines(plan: Plan, failed: Iterable[FailedRule]) -> list[str]:
    """Say of the pipeline's failed rules why which job has no output, and where its log is.

    Before them come those that were saved, and from where they go on.
    """
    lines, saved = [], []
    for rule, (log, *_), outputs in failed:
        if words := continued_in(Path(log)):
            saved.append(f"  {words}")
            continue
        jobs = plan.makers(outputs)
        lost = {_called(job): job.name for job in jobs if not _is_done(job)}
        for called, name in (lost or {rule: ""}).items():
            reason = reason_in(Path(log), name, [job.name for job in jobs])
            lines += [f"  {called}: {reason or _unsaid(Path(log))}", f"    log: {log}"]
    counts = (f"{len(saved)} to be continued:", f"{len(lines) // 2} failed:")
    return [line for count, told in zip(counts, (saved, lines)) if told for line in (count, *told)]


def _called(job: Job) -> str:
    return f"{job.kind.replace('_', '-')} {job.name}"


def _is_done(job: Job) -> bool:
    return job.output is not None and job.output.exists()


def _unsaid(log: Path) -> str:
    """The reason of a failure that the log does not tell."""
    folder = next(parent for parent in log.absolute().parents if parent.is_dir())
    if shutil.disk_usage(folder).free < _LITTLE:
        return f"no space is left on the disk of {folder}"
    return "its log gives no reason; see what is said above"
