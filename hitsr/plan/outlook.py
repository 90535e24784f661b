"""What a config will take, as one value: jobs, device-hours, room on disk, order, and reasons."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from hitsr.base.values import Value
from hitsr.plan.durations import Duration, Machine, Sizes, Took, duration_of
from hitsr.plan.jobs import TrainJob
from hitsr.plan.ordering import Work, clock_seconds, longest_chain, works_of
from hitsr.plan.planning import Plan
from hitsr.plan.rates import Basis, Rate, work_of_job
from hitsr.plan.reasons import Step
from hitsr.plan.room import Parameters, disks_of, needs_of
from hitsr.records.step_time import StepWork

_HOUR = 3600


class KindRow(Value):
    """All jobs of a kind. Device-hours are those of jobs to do whose time is known."""

    kind: str
    done: int = 0
    to_do: int = 0
    failed: int = 0  # when they last ran; they will run again
    continued: int = 0  # trainings that go on from a checkpoint
    device_hours: float = 0
    unknown: int = 0  # jobs to do whose time is not known


class TrainingRow(Value):
    """Trainings to do whose steps are equal work. None: nothing is known of such steps."""

    runs: tuple[str, ...]
    steps: int  # still to do, of all these runs together
    device_seconds_per_step: float | None
    device_hours: float | None
    basis: Basis | None
    source: str | None


class LevelRow(Value):
    """Jobs that can be done side by side, once those of the levels before are done."""

    level: int
    jobs: dict[str, int]  # by kind
    device_hours: float


class ReasonRow(Value):
    """Jobs that are to be made for one reason."""

    reason: str
    jobs: dict[str, tuple[str, ...]]  # names, by kind


class ChainRow(Value):
    """The jobs that take longest one after another, as far as their times are known."""

    jobs: tuple[str, ...]  # "train hit_sir-x2-s1"
    hours: float


class NeedRow(Value):
    """Room for files of one kind; `unknown` counts those of unknown size."""

    what: str
    folder: Path
    bytes: int
    is_most: bool  # they may be smaller
    unknown: int


class DiskRow(Value):
    """One disk: what is needed on it, as far as it is known, and what is free."""

    folders: tuple[Path, ...]
    needed_bytes: int
    free_bytes: int
    suffices: bool


class Outlook(Value):
    """All that a config will take on a machine; what is unknown is left out of the sums."""

    name: str
    title: str
    results: Path
    device: str
    gpus: int  # 0: trains on the CPU
    cores: int
    kinds: tuple[KindRow, ...]
    trainings: tuple[TrainingRow, ...]
    device_hours: float
    clock_hours: float
    unknown: int  # jobs to do whose time is not known
    longest_chain: ChainRow | None
    needs: tuple[NeedRow, ...]
    disks: tuple[DiskRow, ...]
    order: tuple[LevelRow, ...]
    reasons: tuple[ReasonRow, ...]


class Known(NamedTuple):
    """What is known beforehand of times and sizes."""

    rates: Sequence[Rate]
    took: Sequence[Took]
    sizes: Sizes
    parameters: Parameters


def outlook(
    plan: Plan, steps: Sequence[Step], machine: Machine, threads: int, known: Known
) -> Outlook:
    """What is left to do of a plan. `threads` are those of one training on a CPU."""
    times = {
        step.job.output: duration_of(
            step.job, step.steps_done, machine, threads, known.rates, known.took, known.sizes
        )
        for step in steps
        if step.job and step.state != "done"
    }
    seconds = {output: time.seconds for output, time in times.items() if time}
    left = [step.job for step in steps if step.job and step.job.output in times]
    works = works_of(plan.layout, left)
    chain = longest_chain(works, seconds)
    kinds = _kinds(steps, times)
    needs = needs_of(plan, steps, known.sizes, known.parameters)
    return Outlook(
        name=plan.config.name,
        title=plan.config.title,
        results=plan.layout.results,
        device=machine.device,
        gpus=machine.gpus if machine.is_gpu else 0,
        cores=machine.cores,
        kinds=kinds,
        trainings=_trainings(steps, times),
        device_hours=sum(row.device_hours for row in kinds),
        clock_hours=clock_seconds(works, seconds, machine, threads) / _HOUR,
        unknown=sum(row.unknown for row in kinds),
        longest_chain=ChainRow(
            jobs=tuple(f"{job.kind} {job.name}" for job in chain.jobs), hours=chain.seconds / _HOUR
        )
        if chain and chain.seconds
        else None,
        needs=tuple(
            NeedRow(
                what=need.what,
                folder=need.folder,
                bytes=need.known,
                is_most=need.is_most,
                unknown=need.unknown,
            )
            for need in needs
        ),
        disks=tuple(
            DiskRow(
                folders=disk.folders,
                needed_bytes=disk.needed,
                free_bytes=disk.free,
                suffices=disk.suffices,
            )
            for disk in disks_of(needs)
        ),
        order=_order(works, times),
        reasons=_reasons(steps),
    )


Times = Mapping[Path | None, Duration | None]


def _kinds(steps: Iterable[Step], times: Times) -> tuple[KindRow, ...]:
    by_kind: dict[str, list[Step]] = {}
    for step in steps:
        by_kind.setdefault(step.kind, []).append(step)
    rows = []
    for kind, own in by_kind.items():
        states = Counter(step.state for step in own)
        left = [times[step.job.output] for step in own if step.job and step.job.output in times]
        rows.append(
            KindRow(
                kind=kind,
                done=states["done"],
                to_do=states["to do"],
                failed=states["failed"],
                continued=states["to be continued"],
                device_hours=sum(time.device_seconds for time in left if time) / _HOUR,
                unknown=left.count(None) + sum(not s.job and s.state != "done" for s in own),
            )
        )
    return tuple(rows)


def _trainings(steps: Iterable[Step], times: Times) -> tuple[TrainingRow, ...]:
    groups: dict[str, list[tuple[TrainJob, int]]] = {}
    works: dict[str, StepWork] = {}
    for step in steps:
        if isinstance(step.job, TrainJob) and step.state != "done":
            work = work_of_job(step.job)
            works[work.hash] = work
            left = step.job.run.recipe.steps - step.steps_done
            groups.setdefault(work.hash, []).append((step.job, left))
    rows = []
    for own in groups.values():
        time, left = times[own[0][0].output], sum(left for _, left in own)
        first = own[0][1]
        per_step = time.device_seconds / first if time and first else None
        rows.append(
            TrainingRow(
                runs=tuple(job.run.name for job, _ in own),
                steps=left,
                device_seconds_per_step=per_step,
                device_hours=None if per_step is None else per_step * left / _HOUR,
                basis=time.basis if time else None,
                source=time.source if time else None,
            )
        )
    return tuple(rows)


def _order(works: Sequence[Work], times: Times) -> tuple[LevelRow, ...]:
    levels: dict[int, list[Work]] = {}
    for work in works:
        levels.setdefault(work.level, []).append(work)
    return tuple(
        LevelRow(
            level=level,
            jobs=dict(Counter(job.kind for work in own for job in work.jobs)),
            device_hours=sum(
                time.device_seconds
                for work in own
                for job in work.jobs
                if (time := times[job.output])
            )
            / _HOUR,
        )
        for level, own in sorted(levels.items())
    )


def _reasons(steps: Iterable[Step]) -> tuple[ReasonRow, ...]:
    found: dict[str, dict[str, list[str]]] = {}
    for step in steps:
        if step.reason:
            found.setdefault(step.reason, {}).setdefault(step.kind, []).append(step.name)
    return tuple(
        ReasonRow(reason=reason, jobs={kind: tuple(names) for kind, names in own.items()})
        for reason, own in found.items()
    )
