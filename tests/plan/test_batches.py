"""What one process measures: all that is compared, and nothing that another change would redo."""

import re
from pathlib import Path

import pytest

from hitsr.plan.batches import CostJob, cost_batches, time_name
from hitsr.plan.jobs import TimeJob
from hitsr.plan.planning import make_plan
from hitsr.specs.ablation import read_ablations
from hitsr.specs.config import load_config

ROOT = Path(__file__).parents[2]


def test_networks_of_a_scale_and_load_are_timed_together(planned):
    plan = planned({"efficiency.latency.batches": [4]})
    batches = cost_batches(plan.jobs)
    assert [job.name for job in batches["latency.x2.cpu"]] == [
        "swinir_light-x2.cpu.paper", "swinir_light-x2.cpu.fused",
        "hit_sir-x2.cpu.paper", "hit_sir-x2.cpu.fused", "mine-x2.cpu.own",
    ]  # fmt: skip
    assert {job.batch for job in batches["latency.x2.cpu.b4"]} == {4}
    assert len(batches["complexity.x2"]) == 3
    assert len(batches["scaling.x2.window"]) == 2


def test_what_only_ablations_ask_for_is_measured_alone(planned):
    batches = cost_batches(planned().jobs)
    alone = batches["latency.hit_sir.softmax_on-x2.cpu.fused"]
    assert [job.asked_by for job in alone] == [("softmax",)]


@pytest.mark.parametrize("name", ["demo", "paper", "official"])
def test_each_job_of_costs_is_in_one_batch_that_a_rule_can_be_called_after(name: str):
    plan = make_plan(
        load_config(ROOT / "configs" / f"{name}.yaml"), read_ablations(ROOT / "ablations")
    )
    batches = cost_batches(plan.jobs)
    measured = [job.output for batch in batches.values() for job in batch]
    assert sorted(measured) == sorted(j.output for j in plan.jobs if isinstance(j, CostJob))
    assert len({re.sub(r"\W", "_", batch) for batch in batches}) == len(batches)
    for batch in batches.values():
        assert len({(job.kind, job.subject.scale) for job in batch}) == 1


def test_names_of_times_say_what_is_not_as_usual(planned):
    job = next(job for job in planned().jobs if isinstance(job, TimeJob))
    assert time_name(job) == "swinir_light-x2.cpu.paper"
    changed = job.model_copy(
        update={"batch": 4, "precision": "float16", "launch": "compiled", "channels_last": True,
                "formulation": None}
    )  # fmt: skip
    assert time_name(changed) == "swinir_light-x2.cpu.own.b4.float16.compiled.channels_last"
