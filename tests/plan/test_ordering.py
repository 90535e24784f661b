"""What waits for what, the longest chain and the time on a machine, of plans worked out by hand."""

from pathlib import Path

from hitsr.plan.durations import Machine
from hitsr.plan.jobs import Job, TrainJob
from hitsr.plan.layout import Layout
from hitsr.plan.ordering import clock_seconds, longest_chain, works_of
from hitsr.plan.planning import Plan, make_plan
from hitsr.specs.config import Config

CONFIG = Config.model_validate(
    {
        "name": "ordered",
        "title": "Ordered",
        "networks": ["hit_sir"],
        "data": {
            "root": "data", "source": "folder", "train": "a", "validation": "a", "test": ["a"],
        },
        "train": {
            "scales": [2, 3],
            "start_from": {3: 2},
            "device": "cpu",
            "recipe": {"steps": 4, "batch": 1, "patch": 8, "learning_rate": 1e-3},
        },
        "efficiency": {
            "scales": [2, 3],
            "output_size": [48, 32],
            "latency": {"scales": [2], "device": "cpu", "formulations": ["fused", "paper"]},
        },
    }
)  # fmt: skip


def planned() -> Plan:
    return make_plan(CONFIG, {})


def test_each_job_is_a_level_after_those_that_it_reads() -> None:
    plan = planned()
    works = works_of(plan.layout, plan.reported)
    levels = {job.output: work.level for work in works for job in work.jobs}
    by_name = {(job.kind, job.name): levels[job.output] for job in plan.reported}
    assert by_name["prepare", "a-x2"] == 1
    assert by_name["train", "hit_sir-x2-s1"] == 2
    assert by_name["train", "hit_sir-x3-s1"] == 3  # starts from x2
    assert by_name["restore", "hit_sir-x3-s1.a"] == 4
    assert by_name["quality", "hit_sir-x3-s1.a"] == 5
    assert by_name["restore", "bicubic-x2.a"] == 2
    (timing,) = [work for work in works if work.jobs[0].kind == "latency"]
    assert len(timing.jobs) == 2  # in turns, in one process
    assert timing.level == 1


def seconds_of(jobs: list[Job], **by_kind: float) -> dict[Path | None, float]:
    return {job.output: by_kind.get(job.kind, 0.0) for job in jobs}


def test_the_longest_chain_leads_through_both_trainings() -> None:
    plan = planned()
    works = works_of(plan.layout, plan.reported)
    chain = longest_chain(works, seconds_of(plan.reported, train=100, restore=7, latency=20))
    assert chain
    assert chain.seconds == 207
    trained = [job.name for job in chain.jobs if isinstance(job, TrainJob)]
    assert trained == ["hit_sir-x2-s1", "hit_sir-x3-s1"]
    assert longest_chain([], {}) is None


def test_the_clock_counts_what_has_no_room_beside_others() -> None:
    """A timing takes all cores, so the first training waits for it; the second for the first."""
    plan = planned()
    works = works_of(plan.layout, plan.reported)
    seconds = seconds_of(plan.reported, train=100, latency=20)
    two = Machine(cpu="c", device="c", is_gpu=False, cores=2, gpus=0)
    assert clock_seconds(works, seconds, two, threads=1) == 2 * 100 + 2 * 20


def test_one_core_does_all_in_turns_and_many_the_longest_chain() -> None:
    plan = planned()
    works = works_of(plan.layout, plan.reported)
    seconds = seconds_of(plan.reported, train=100, quality=10)
    assert sum(seconds.values()) == 260
    for cores, expected in ((1, 260), (64, 210)):
        machine = Machine(cpu="c", device="c", is_gpu=False, cores=cores, gpus=0)
        assert clock_seconds(works, seconds, machine, threads=1) == expected


def test_one_gpu_does_one_training_at_a_time_and_two_do_two() -> None:
    plan = make_plan(CONFIG.model_copy(update={"networks": ("hit_sir", "hit_srf")}), {})
    trainings = [
        job.model_copy(update={"device": "cuda"})
        for job in plan.reported
        if isinstance(job, TrainJob) and job.run.scale == 2
    ]
    works = works_of(Layout(plan.layout.results), trainings)
    seconds: dict[Path | None, float] = {job.output: 50.0 for job in trainings}
    for gpus, expected in ((1, 100), (2, 50)):
        machine = Machine(cpu="c", device="g", is_gpu=True, cores=8, gpus=gpus)
        assert clock_seconds(works, seconds, machine, threads=1) == expected
