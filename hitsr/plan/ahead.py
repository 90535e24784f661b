"""Jobs that a process may do ahead: those of its own sort that are ready.

A process that loads torch and opens a GPU takes seconds to start, often longer than its job. So the
first to start also does what else is ready, and its results wait (`plan.kept`) for the pipeline to
start those jobs. Each job keeps its own rule, inputs and log, reruns alone and fails alone.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar, cast

from hitsr.base.files import write_text
from hitsr.base.reading import read_json
from hitsr.base.values import Value
from hitsr.plan.batches import CostJob
from hitsr.plan.jobs import Job, read_job
from hitsr.plan.kept import FolderJob
from hitsr.plan.subjects import OwnNetwork

J = TypeVar("J", bound=CostJob | FolderJob)


class Wanted(Value):
    """One process that a run of the pipeline will start: its jobs, which it does together."""

    sort: str  # as `sort_of` says
    jobs: tuple[Path, ...]  # job files
    log: Path
    made: tuple[Path, ...]  # its inputs that the same run makes


def sort_of(jobs: Sequence[Job]) -> str | None:
    """Which other jobs may share the process of these; None if none may.

    Pictures are scored while those of the next scale are made, so scales are sorts of their own. A
    user's own code may change torch's settings, so only sets of one such network share a process.
    Controls need no torch.
    """
    job, device = jobs[0], getattr(jobs[0], "device", "cpu")
    subjects = [getattr(each, "subject", None) for each in jobs]
    codes = {each.source for each in subjects if isinstance(each, OwnNetwork)}
    if isinstance(job, CostJob):
        return None if codes else f"{job.kind} {device}"
    if isinstance(job, FolderJob) and job.subject.kind != "control":
        return " ".join([job.kind, f"x{job.subject.scale}", device, *codes])
    return None


def write_wanted(file: Path, wanted: Iterable[Wanted]) -> None:
    """List the processes that a run will start on this machine, before it starts the first."""
    write_text(file, json.dumps([each.model_dump(mode="json") for each in wanted]))


def ready(file: Path | None, jobs: Sequence[J]) -> Iterator[list[J]]:
    """Yield the jobs of each listed process of the sort of `jobs` that could start and has not.

    None without a list, as for jobs of a cluster, which may run on different machines.
    """
    if file is None or not file.is_file():
        return
    begun_ns, sort = file.stat().st_mtime_ns, sort_of(jobs)

    def is_new(path: Path) -> bool:
        return path.exists() and path.stat().st_mtime_ns >= begun_ns

    for entry in read_json(file):
        wanted = Wanted.parse(entry, str(file))
        if wanted.sort != sort or is_new(wanted.log) or not all(map(is_new, wanted.made)):
            continue
        found = [read_job(path, jobs[0].kind) for path in wanted.jobs]
        if all(path.exists() for each in found for path in each.inputs.values()):
            yield cast(list[J], found)


def is_of_this_run(file: Path | None, path: Path) -> bool:
    """Whether a file was written since the run began that wrote the list."""
    if file is None or not file.is_file():
        return False
    return path.stat().st_mtime_ns >= file.stat().st_mtime_ns
