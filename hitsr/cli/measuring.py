"""Carry out a batch of jobs that measure costs: one that fails costs the others nothing."""

import platform
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TypeVar

import typer

from hitsr.base.errors import HitsrError
from hitsr.base.writers import sole_writer
from hitsr.cli.options import say, to_json
from hitsr.cli.sharing import do_ahead, do_others_meanwhile
from hitsr.plan.ahead import is_of_this_run
from hitsr.plan.batches import CostJob
from hitsr.plan.kept import forget_kept, is_kept, kept_file
from hitsr.records import Provenance, Record
from hitsr.records.provenance import provenance

J = TypeVar("J", bound=CostJob)
R = TypeVar("R", bound=Record)
Outcomes = Iterable[Mapping[str, R | HitsrError]]  # by name of the job, for groups of jobs


def measure(
    jobs: Sequence[J],
    kind: type[R],
    work: Callable[[Sequence[J]], Outcomes[R]],
    show: Callable[[Mapping[str, R]], str],
    *,
    resumes: bool,
    as_json: bool,
    threads: int | None = None,
    along: Path | None = None,
) -> None:
    """Measure and save the jobs that can run, say why the others cannot, and print the records.

    `work` yields what came of groups of jobs, by their names; each is saved at once. With
    `resumes`, what the same jobs left when their batch failed or was killed is not measured again,
    nor what was measured ahead of its turn, as is what the list `along` holds. Exit status 1 if a
    job could not be measured. `threads` are those of timings, of which only one runs at a time.
    """
    by_name, records = {job.name: job for job in jobs}, dict[str, R]()

    def ahead(others: Sequence[J]) -> None:
        waiting = {job.name: job for job in others if not is_kept(job)}
        for group in work(list(waiting.values())):
            for name, outcome in group.items():
                if isinstance(outcome, HitsrError):
                    say(f"{name}: cannot be measured ahead of its turn: {outcome}")
                else:
                    outcome.save(kept_file(waiting[name]))

    output = jobs[0].output if resumes else None
    if output and not threads:
        do_others_meanwhile(jobs, ahead, along)
    with _alone(output), _timing_alone(output if threads else None):
        if resumes:
            records = _left(jobs, kind, threads, along)
        missing = [job for job in jobs if job.name not in records]
        for group in work(missing) if missing else ():
            measured = {}
            for name, outcome in group.items():
                if isinstance(outcome, HitsrError):
                    lines = str(outcome).splitlines()
                    say("\n  ".join([f"hitsr: {name}: {lines[0]}", *lines[1:]]))
                    continue
                measured[name] = outcome
                _save(by_name[name], outcome, resumes)
            records |= measured
            if measured and not as_json:
                print(show(measured), flush=True)
        if missing and resumes:
            do_ahead(jobs, ahead, along)
    if as_json and records:
        print(to_json([records[job.name] for job in jobs if job.name in records]))
    if len(records) < len(jobs):
        say(f"{len(jobs) - len(records)} of {len(jobs)} could not be measured")
        raise typer.Exit(1)
    if resumes:
        forget_kept(jobs)


def _alone(output: Path | None) -> AbstractContextManager[object]:
    """Wait until no other process measures the batch whose first output this is."""
    return nullcontext() if output is None else sole_writer(output, say)


def _timing_alone(output: Path | None) -> AbstractContextManager[object]:
    """Wait until no other process of this machine times for the results folder of a job's output.

    A pipeline that was killed leaves its timing at work, which would slow down this one.
    """
    if output is None:
        return nullcontext()
    return sole_writer(output.parent.parent / f"timings-{platform.node()}", say)


def one_by_one(jobs: Sequence[J], work: Callable[[J], R]) -> Iterator[dict[str, R | HitsrError]]:
    """What `work` makes of each job, as `measure` wants it: each job is a group."""
    for job in jobs:
        try:
            outcome: R | HitsrError = work(job)
        except HitsrError as error:
            outcome = error
        except Exception as error:  # a user's own network may raise anything
            traceback.print_exc()
            outcome = HitsrError(f"{type(error).__name__}: {error}")
        yield {job.name: outcome}


def _left(
    jobs: Sequence[J], kind: type[R], threads: int | None, along: Path | None
) -> dict[str, R]:
    """What was measured in this run, or before it on this machine with these threads, published."""

    def is_alike(made: Provenance) -> bool:
        now = provenance(made.device, 0.0)
        here = (now.versions, now.device_name, threads or made.threads)
        return (made.versions, made.device_name, made.threads) == here

    found = {}
    for job in filter(is_kept, jobs):
        record = kind.load(kept_file(job), job_hash=job.hash)
        # What is of this run needs no look at the device, which takes seconds on a GPU.
        if is_of_this_run(along, kept_file(job)) or is_alike(record.provenance):
            say(f"{job.name}: was measured before; its record is kept")
            _save(job, record, resumes=False)
            found[job.name] = record
    return found


def _save(job: CostJob, record: Record, resumes: bool) -> None:
    if job.output:
        record.save(job.output)
    if job.output and resumes:
        record.save(kept_file(job))
