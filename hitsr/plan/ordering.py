"""In which order jobs are done: what waits for what, the longest chain, the time on a machine."""

import bisect
import heapq
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from hitsr.plan.batches import cost_batches
from hitsr.plan.durations import Machine, processes_of
from hitsr.plan.jobs import CountJob, GrowthJob, Job, PrepareJob, TimeGrowthJob, TimeJob, TrainJob
from hitsr.plan.layout import Layout, file_name


class Work(NamedTuple):
    """One process of the pipeline: a job, or a batch of jobs that measure costs."""

    jobs: tuple[Job, ...]
    needs: tuple[int, ...]  # numbers of the works that it waits for, all smaller than its own
    level: int  # 1 waits for nothing; 2 for works of level 1


class Chain(NamedTuple):
    """Jobs of known time, of which each waits for the one before, and how long they take."""

    jobs: tuple[Job, ...]
    seconds: float


def works_of(layout: Layout, jobs: Sequence[Job]) -> list[Work]:
    """The processes that do some jobs, after those whose results they read."""
    groups = _groups(jobs)
    makers: dict[Path | None, int] = {}
    found: list[Work] = []
    for number, group in enumerate(groups):
        read = (path for job in group for path in job.inputs.values())
        needs = tuple(sorted({makers[path] for path in read if path in makers}))
        level = 1 + max((found[need].level for need in needs), default=0)
        found.append(Work(group, needs, level))
        for job in group:
            makers[job.output] = number
            if isinstance(job, TrainJob):
                makers[layout.weights(file_name(job.run.name))] = number
    return found


def _groups(jobs: Sequence[Job]) -> list[tuple[Job, ...]]:
    batches = {job.output: batch for batch in cost_batches(jobs).values() for job in batch}
    groups: dict[Path | None, tuple[Job, ...]] = {}
    for job in jobs:
        batch = batches.get(job.output, [job])
        groups.setdefault(batch[0].output, tuple(batch))
    return list(groups.values())


def longest_chain(works: Sequence[Work], seconds: Mapping[Path | None, float]) -> Chain | None:
    """The chain that takes longest, however many machines there are; None without jobs."""
    ends: list[tuple[float, int | None]] = []  # of each work: when it ends, and after which
    for work in works:
        before = max(((ends[need][0], need) for need in work.needs), default=(0.0, None))
        ends.append((before[0] + _seconds(work, seconds), before[1]))
    if not ends:
        return None
    at: int | None = max(range(len(ends)), key=lambda number: ends[number][0])
    assert at is not None
    total, chain = ends[at][0], list[Job]()
    while at is not None:
        if _seconds(works[at], seconds):
            chain.insert(0, max(works[at].jobs, key=lambda job: seconds.get(job.output, 0.0)))
        at = ends[at][1]
    return Chain(tuple(chain), total)


def clock_seconds(
    works: Sequence[Work], seconds: Mapping[Path | None, float], machine: Machine, threads: int
) -> float:
    """How long a machine takes that starts each work as soon as it has room, in their order."""
    cores, gpus, now = machine.cores, machine.gpus, 0.0
    rooms = [_room(work, machine, threads) for work in works]
    lacks = [len(work.needs) for work in works]  # needs that have not ended
    waiters: dict[int, list[int]] = {}
    for number, work in enumerate(works):
        for need in work.needs:
            waiters.setdefault(need, []).append(number)
    ready = [number for number, count in enumerate(lacks) if not count]
    running: list[tuple[float, int]] = []  # end, number
    while ready or running:
        for number in list(ready) if cores else ():
            needed = rooms[number]
            if needed[0] <= cores and needed[1] <= gpus:
                cores, gpus = cores - needed[0], gpus - needed[1]
                ready.remove(number)
                heapq.heappush(running, (now + _seconds(works[number], seconds), number))
        now, ended = heapq.heappop(running)
        cores, gpus = cores + rooms[ended][0], gpus + rooms[ended][1]
        for number in waiters.get(ended, ()):
            lacks[number] -= 1
            if not lacks[number]:
                bisect.insort(ready, number)
    return now


def _seconds(work: Work, seconds: Mapping[Path | None, float]) -> float:
    return sum(seconds.get(job.output, 0.0) for job in work.jobs)


def _room(work: Work, machine: Machine, threads: int) -> tuple[int, int]:
    """Cores and GPUs that a work takes, as the pipeline's rules say; never more than there are."""
    job = work.jobs[0]
    on_gpu = machine.is_gpu and getattr(job, "device", "cpu") != "cpu"
    match job:
        case TrainJob():
            count = processes_of(job, machine)
            room = (max(threads, count), count * on_gpu)
        case TimeJob() | TimeGrowthJob() | PrepareJob():
            room = (machine.cores, int(on_gpu))
        case CountJob() | GrowthJob():
            room = (1, 0)
        case _:
            room = (threads if job.kind in ("restore", "lam") else 1, int(on_gpu))
    return min(room[0], machine.cores), min(room[1], machine.gpus)
