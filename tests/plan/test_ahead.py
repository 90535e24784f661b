"""Which jobs a process may do ahead of their turn."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from hitsr.plan.ahead import Wanted, is_of_this_run, ready, sort_of, write_wanted
from hitsr.plan.batches import cost_batches
from hitsr.plan.jobs import Job
from hitsr.plan.planning import Plan

RELEASED = {
    **dict.fromkeys(("train", "data.train", "data.validation")),
    "weights": {"root": "weights", "scales": [2, 3]},
    "ablations": [],
}
BEFORE, AFTER = 1_000, 3_000  # seconds of a clock, around the start of a run


def sort(plan: Plan, kind: str, name: str) -> str | None:
    (job,) = (job for job in plan.jobs if (job.kind, job.name) == (kind, name))
    return sort_of([job])


def test_restores_of_a_scale_share_a_process_but_for_controls_and_code_of_ones_own(planned):
    plan = planned(RELEASED)
    first = sort(plan, "restore", "hit_sir-x2.small")
    assert first is not None
    assert sort(plan, "restore", "swinir_light-x2.other") == first
    assert sort(plan, "restore", "hit_sir-x3.small") != first
    assert sort(plan, "lam", "hit_sir-x2.small") != first
    assert sort(plan, "restore", "bicubic-x2.small") is None
    mine = sort(plan, "restore", "mine-x2.small")
    assert mine == sort(plan, "restore", "mine-x2.other")
    assert mine not in (None, first)


def test_trainings_preparations_and_scores_have_processes_of_their_own(planned):
    plan = planned()
    kinds = {job.kind for job in plan.jobs if sort_of([job]) is None}
    assert kinds >= {"prepare", "train", "quality"}
    assert not kinds & {"lam", "scaling"}


def test_batches_of_costs_share_a_process_but_not_with_code_of_ones_own(planned):
    batches = cost_batches(planned().jobs)
    assert sort_of(batches["latency.x2.cpu"]) is None  # `mine` is among them
    alone = sort_of(batches["complexity.hit_sir.softmax_on-x2"])
    assert alone is not None
    assert sort_of(batches["complexity.x3"]) == alone


@pytest.fixture
def listed(planned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Job]]:
    """Two restores of one sort in a list; `listed()` are those that the first may do ahead."""
    monkeypatch.chdir(tmp_path)
    plan = planned(RELEASED)
    names = ("swinir_light-x2.small", "hit_sir-x2.small", "hit_sir-x3.small")
    found = {name: plan.find(f"results/tiny/pictures/{name}") for name in names}
    first, second, _ = found.values()
    wanted = []
    for job in found.values():
        file = plan.layout.job("restore", job.name)
        job.save(file)
        log = plan.layout.log("restore", job.name)
        prepared = job.inputs["data"]
        for path, seconds in ((log, BEFORE), (prepared, AFTER), (job.inputs["weights"], BEFORE)):
            put(path, seconds)
        sort = sort_of([job])
        assert sort is not None
        wanted.append(Wanted(sort=sort, jobs=(file,), log=log, made=(prepared,)))
    write_wanted(Path("wanted.json"), wanted)
    os.utime("wanted.json", (2_000, 2_000))
    put(wanted[0].log, AFTER)  # it runs

    def list_ready() -> list[Job]:
        return [job for jobs in ready(Path("wanted.json"), [first]) for job in jobs]

    assert [job.name for job in list_ready()] == [second.name]
    return list_ready


def put(path: Path, seconds: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    os.utime(path, (seconds, seconds))


def test_what_has_started_is_left_to_its_own_process(listed: Callable[[], list[Job]]):
    put(Path("results/tiny/logs/restore/hit_sir-x2.small.log"), AFTER)
    assert listed() == []


def test_what_waits_for_another_job_is_not_ready(listed: Callable[[], list[Job]]):
    put(Path("results/tiny/records/prepare/small-x2.json"), BEFORE)  # it is still to be made anew
    assert listed() == []


def test_what_lacks_a_file_is_not_ready(listed: Callable[[], list[Job]]):
    Path("weights/hit_sir_x2.safetensors").unlink()
    assert listed() == []


def test_without_a_list_each_job_is_left_to_its_own_process(listed: Callable[[], list[Job]]):
    Path("wanted.json").unlink()
    assert listed() == []
    assert not is_of_this_run(Path("wanted.json"), Path("results"))
