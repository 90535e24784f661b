"""Do a job of the pipeline, and in the same process others of its sort that are ready.

Results of the others wait until the pipeline starts their jobs (`plan.ahead`).
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from hitsr.base.writers import has_user, sole_writer
from hitsr.cli.options import say
from hitsr.plan.ahead import ready
from hitsr.plan.batches import CostJob
from hitsr.plan.jobs import MapJob, RestoreJob
from hitsr.plan.kept import FolderJob, begin, finish, is_kept, publish_kept, result_of

F = TypeVar("F", RestoreJob, MapJob)
J = TypeVar("J", bound=CostJob | FolderJob)


def make_folder(job: F, work: Callable[[F], None], along: Path | None) -> None:
    """Do a job whose result is a folder, unless it was done ahead; then publish the folder.

    `work` writes into the folder of its job's output, and may find files there that it wrote
    before it was killed. Others of the list `along` are done ahead; while another process does this
    job ahead of its turn, before it.
    """

    def make(jobs: Sequence[F]) -> None:
        (each,) = jobs
        work(begin(each))
        finish(each)

    do_others_meanwhile([job], make, along)
    with sole_writer(result_of(job), say):
        if is_kept(job):
            say(f"{job.name}: was done ahead of its turn; the result is taken")
        else:
            make([job])
            do_ahead([job], make, along)
        publish_kept([job])


def do_others_meanwhile(
    jobs: Sequence[J], work: Callable[[Sequence[J]], None], along: Path | None
) -> None:
    """While another process does these jobs ahead of their turn, do what is ready besides.

    The device of this process would idle if it only waited.
    """
    if has_user(result_of(jobs[0])):
        do_ahead(jobs, work, along)


def do_ahead(jobs: Sequence[J], work: Callable[[Sequence[J]], None], along: Path | None) -> None:
    """Do the jobs of processes that are listed in `along` and could share that of `jobs`.

    What another process does meanwhile is left to it; what fails is tried again in its turn, and
    fails then with a log of its own.
    """
    tried: set[str] = set()
    while neighbours := next(
        (each for each in ready(along, jobs) if each[0].name not in tried), None
    ):
        name = neighbours[0].name
        tried.add(name)
        try:
            with sole_writer(result_of(neighbours[0]), None):
                if not all(map(is_kept, neighbours)):
                    say(f"{name}: is done ahead of its turn")
                    work(neighbours)
        except Exception as error:  # the job's own process tells it
            say(f"{name}: not done ahead of its turn: {type(error).__name__}: {error}")
