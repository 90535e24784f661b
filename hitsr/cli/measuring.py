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
from hitsr.plan.batches import CostJob
from hitsr.plan.kept import forget_kept, is_kept, kept_file
from hitsr.records import Record
from hitsr.records.provenance import provenance

J = TypeVar("J", bound=CostJob)
R = TypeVar("R", bound=Record)


def measure(
    jobs: Sequence[J],
    kind: type[R],
    work: Callable[[Sequence[J]], Iterable[Mapping[str, R | HitsrError]]],
    show: Callable[[Mapping[str, R]], str],
    *,
    resumes: bool,
    as_json: bool,
    threads: int | None = None,
) -> None:
    """Measure and save the jobs that can run, say why the others cannot, and print the records.

    `work` yields what came of groups of jobs, by their names; each is saved at once. With
    `resumes`, what the same jobs left when their batch failed or was killed is not measured again.
    Exit status 1 if a job could not be measured. `threads` are those of timings, of which only one
    runs at a time.
    """
    by_name, records = {job.name: job for job in jobs}, dict[str, R]()
    with _timing_alone(jobs[0].output if resumes and threads else None):
        if resumes:
            records = _left(jobs, kind, threads)
        for group in work([job for job in jobs if job.name not in records]):
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
    if as_json and records:
        print(to_json([records[job.name] for job in jobs if job.name in records]))
    if len(records) < len(jobs):
        say(f"{len(jobs) - len(records)} of {len(jobs)} could not be measured")
        raise typer.Exit(1)
    if resumes:
        forget_kept(jobs)


def _timing_alone(output: Path | None) -> AbstractContextManager[object]:
    """Wait until no other process of this machine times for the results folder of a job's output.

    A pipeline that was killed leaves its timing at work, which would slow down this one.
    """
    if output is None:
        return nullcontext()
    return sole_writer(output.parent.parent / f"timings-{platform.node()}", say)


def one_by_one(
    work: Callable[[J], R],
) -> Callable[[Sequence[J]], Iterator[dict[str, R | HitsrError]]]:
    """`work` on one job, as `measure` wants it: each job is a group."""

    def each(jobs: Sequence[J]) -> Iterator[dict[str, R | HitsrError]]:
        for job in jobs:
            try:
                outcome: R | HitsrError = work(job)
            except HitsrError as error:
                outcome = error
            except Exception as error:  # a user's own network may raise anything
                traceback.print_exc()
                outcome = HitsrError(f"{type(error).__name__}: {error}")
            yield {job.name: outcome}

    return each


def _left(jobs: Sequence[J], kind: type[R], threads: int | None) -> dict[str, R]:
    """What an unfinished batch measured on this machine, with these threads, published again."""
    found = {}
    for job in filter(is_kept, jobs):
        record = kind.load(kept_file(job), job_hash=job.hash)
        made = record.provenance
        now = provenance(made.device, 0.0)
        here = (now.versions, now.device_name, threads or made.threads)
        if (made.versions, made.device_name, made.threads) == here:
            say(f"{job.name}: was measured before; its record is kept")
            _save(job, record, resumes=False)
            found[job.name] = record
    return found


def _save(job: CostJob, record: Record, resumes: bool) -> None:
    if job.output:
        record.save(job.output)
    if job.output and resumes:
        record.save(kept_file(job))
