"""Laws of the list of jobs: nothing twice, nothing missing, and what a change of config touches."""

from itertools import product
from pathlib import Path
from typing import Any

import pytest

from hitsr.base.errors import SpecError
from hitsr.plan.batches import CONFIG, LATENCY
from hitsr.plan.jobs import RestoreJob, TimeGrowthJob, TimeJob, TrainJob
from hitsr.plan.planning import Plan, make_plan
from hitsr.specs.ablation import read_ablations
from hitsr.specs.config import load_config

ROOT = Path(__file__).parents[2]


def texts(plan: Plan) -> dict[str, str]:
    """What the job files say, by their names."""
    return {str(plan.layout.job(job.kind, job.name)): job.to_json() for job in plan.jobs}


def kinds_that_differ(before: Plan, after: Plan) -> set[str]:
    a, b = texts(before), texts(after)
    return {Path(file).parent.name for file in {*a, *b} if a.get(file) != b.get(file)}


@pytest.mark.parametrize("name", ["demo", "lite", "paper", "official"])
def test_each_output_is_made_by_one_job_and_each_job_has_its_own_file(name: str):
    plan = make_plan(
        load_config(ROOT / "configs" / f"{name}.yaml"), read_ablations(ROOT / "ablations")
    )
    assert len(plan.by_output) == len(plan.jobs) == len(texts(plan))
    made = {str(output) for output in plan.by_output}
    made |= {str(plan.layout.weights(job.name)) for job in plan.jobs if job.kind == "train"}
    done: set[str] = set()
    for job in plan.jobs:  # in an order in which they can be done
        waits = {str(path) for path in job.inputs.values()} & made
        assert waits <= done, job.output
        done.add(str(job.output))
        done.add(str(plan.layout.weights(job.name)))


def test_equal_values_are_one_job_whoever_asks(planned):
    plan = planned()
    base = plan.find("results/tiny/weights/hit_sir-x2-s1/record.json")
    assert {CONFIG, "softmax", "shift"} <= set(base.asked_by)
    timed = plan.find("results/tiny/records/latency/hit_sir-x2.cpu.fused.json")
    assert {CONFIG, LATENCY, "softmax"} <= set(timed.asked_by)


def test_what_is_reported_are_jobs_of_the_config_and_its_ablations(planned):
    assert {asker for job in planned().reported for asker in job.asked_by} >= {CONFIG, "softmax"}
    without = planned({"ablations": []})
    assert without.reported == without.asked_by(CONFIG)
    assert len(without.jobs) == len(planned().jobs)  # others may ask for any ablation


@pytest.mark.parametrize(
    ("changes", "kinds"),
    [
        ({"title": "Another"}, set()),
        ({"train.recipe.learning_rate": 2e-3}, {"train"}),
        ({"efficiency.latency.samples": 4}, {"latency"}),
        ({"lam.crop": 32}, {"lam"}),
        ({"efficiency.output_size": [64, 64]}, {"complexity", "latency"}),
    ],
)
def test_a_change_touches_the_jobs_that_it_is_of(planned, changes: dict[str, Any], kinds: set[str]):
    # Jobs that hold a run, as what its network restores, change with it.
    of_runs = {"restore", "quality", "lam"} if "train" in kinds else set()
    assert kinds_that_differ(planned(), planned(changes)) == kinds | of_runs


def test_a_training_waits_for_its_sets_and_the_run_that_it_starts_from(planned):
    plan = planned({"train.scales": [2, 3], "train.start_from": {3: 2}})
    job = plan.find("results/tiny/weights/hit_sir-x3-s1/record.json")
    assert isinstance(job, TrainJob)
    assert {role: str(path) for role, path in job.inputs.items()} == {
        "data": "results/tiny/records/prepare/big-x3.json",
        "validation": "results/tiny/records/prepare/small-x3.json",
        "start_from": "results/tiny/weights/hit_sir-x2-s1/weights.safetensors",
    }


def test_a_file_that_a_training_starts_from_is_its_input_and_part_of_its_hash(
    planned, tmp_path: Path
):
    changes = {
        "networks": ["hit_sir"],
        "train.scales": [2, 3],
        "train.start_from": {3: f"{tmp_path}/{{network}}.pth"},
    }
    hashes = set()
    for content in ("a", "b"):
        (tmp_path / "hit_sir.pth").write_text(content)
        job = planned(changes).find("results/tiny/weights/hit_sir-x3-s1/record.json")
        assert job.inputs["start_from"] == tmp_path / "hit_sir.pth"
        hashes.add(job.hash)
    assert len(hashes) == 2


def test_ablations_of_networks_that_start_from_files_are_impossible(planned, tmp_path: Path):
    (tmp_path / "hit_sir.pth").write_text("weights")
    changes = {"networks": ["hit_sir"], "train.start_from": {2: f"{tmp_path}/{{network}}.pth"}}
    plan = planned({**changes, "ablations": []})
    assert "starts x2 from a file of weights, which fits no variant" in plan.impossible["softmax"]
    with pytest.raises(SpecError, match="starts x2 from a file"):
        planned(changes)


def test_formulations_batches_and_precisions_are_timed_as_asked(planned):
    one = {"efficiency.latency.formulations": ["fused"]}
    names = {job.name for job in planned(one).asked_by(CONFIG) if isinstance(job, TimeJob)}
    assert names == {"swinir_light-x2.cpu.fused", "hit_sir-x2.cpu.fused", "mine-x2.cpu.own"}
    more = {**one, "efficiency.latency.batches": [4], "efficiency.latency.precisions": ["bfloat16"]}
    names = {job.name for job in planned(more).asked_by(CONFIG) if isinstance(job, TimeJob)}
    assert {name for name in names if name.startswith("hit_sir")} == {
        f"hit_sir-x2.cpu.fused{load}" for load in ("", ".bfloat16", ".b4.bfloat16")
    }


def test_the_released_formulation_is_timed_only_as_the_published_code_runs(planned):
    """Not on 16-bit weights, and in no graph, which cannot hold masks made on the CPU."""
    changes = {
        "efficiency.latency.formulations": ["released"],
        "efficiency.latency.precisions": ["float32", "tf32", "float16", "bfloat16", "autocast"],
        "efficiency.latency.launches": ["eager", "compiled", "graph"],
    }
    jobs = [job for job in planned(changes).asked_by(CONFIG) if isinstance(job, TimeJob)]
    found = {(j.precision, j.launch) for j in jobs if j.formulation == "released"}
    assert found == set(product(("float32", "tf32", "autocast"), ("eager", "compiled")))


def test_sizes_are_timed_where_samples_are_asked_for(planned):
    assert not any(isinstance(job, TimeGrowthJob) for job in planned().jobs)
    found = [j for j in planned({"scaling.samples": 2}).jobs if isinstance(j, TimeGrowthJob)]
    assert [(job.samples, job.over) for job in found] == [(2, ("window",))] * 2


def test_released_weights_are_found_by_any_of_their_names(planned, tmp_path: Path):
    changes = {
        "train": None, "lam": None, "ablations": [],
        "weights": {"root": str(tmp_path), "scales": [2]},
    }  # fmt: skip
    output = "results/tiny/pictures/hit_sir-x2.small"
    absent = planned(changes).find(output).inputs["weights"]
    assert absent == tmp_path / "hit_sir_x2.safetensors"
    (tmp_path / "hit_sir_x2.pth").touch()
    assert planned(changes).find(output).inputs["weights"] == tmp_path / "hit_sir_x2.pth"


def test_names_that_are_no_file_names_are_quoted(planned):
    plan = planned({"data.test": ["a/b {c} 5%"]})
    job = plan.find("results/tiny/pictures/bicubic-x2.a%2Fb %7Bc%7D 5%25")
    assert isinstance(job, RestoreJob)
    assert job.data == Path("data/a/b {c} 5%")


@pytest.mark.parametrize(
    "changes",
    [
        {"data.test": ["small", "Small"]},  # one folder on disks that do not tell A from a
        {"data.train": "SMALL"},
        {"own": {name: {"source": "mine:build"} for name in ("a", "a-x2.b")},
         "data.test": ["c", "b-x2.c"]},
    ],
)  # fmt: skip
def test_jobs_that_would_write_one_file_are_refused(planned, changes: dict[str, Any]):
    with pytest.raises(SpecError, match=r"two different jobs of kind .* would write one file"):
        planned(changes)


def test_longest_names_make_files_that_a_disk_can_hold(planned):
    name = "東" * 66
    own = {"n" * 100: {"source": "mine:build", "scales": [2]}}
    plan = planned({"data.test": [name, f"{name}x"], "own": own})
    files = [path for job in plan.jobs for path in (job.output, *job.inputs.values())]
    assert max(len(part.encode()) for path in files for part in path.parts) < 220


def test_unknown_outputs_and_ablations_are_told_with_the_nearest(planned):
    with pytest.raises(SpecError, match="no job of tiny makes this file; did you mean"):
        planned().find("results/tiny/weights/hit_sir-x2-s2/record.json")
    with pytest.raises(SpecError, match="did you mean 'softmax'"):
        planned({"ablations": ["softmx"]})


def test_ablations_that_cannot_be_say_why_and_cost_the_others_nothing(planned):
    plan = planned({"train": {**plan_train(planned), "changes": {"width": 24}}})
    assert "10 heads do not divide" in plan.impossible["heads"]
    assert "softmax" in plan.ablations
    with pytest.raises(SpecError, match="10 heads do not divide"):
        planned({"train": {**plan_train(planned), "changes": {"width": 24}},
                 "ablations": ["heads"]})  # fmt: skip


def plan_train(planned) -> dict[str, Any]:
    train = planned().config.train
    assert train is not None
    return train.model_dump()


@pytest.mark.parametrize("device", ["cpu", "cuda", "cuda:1", "mps"])
def test_every_job_that_runs_a_network_uses_the_device_of_the_config(planned, device: str):
    plan = planned({"train.device": device, "efficiency.latency.device": device,
                    "scaling.samples": 2})  # fmt: skip
    used = {(job.kind, job.device) for job in plan.jobs if hasattr(job, "device")}
    kinds = {"train", "restore", "lam", "latency", "scaling_time"}
    # The pictures of a control come from no network.
    assert used == {(kind, device) for kind in kinds} | {("restore", "cpu")}
    for job in plan.jobs:
        if isinstance(job, RestoreJob):
            assert job.device == ("cpu" if job.subject.kind == "control" else device)


def test_a_device_that_cannot_be_is_told_with_those_that_can(planned):
    with pytest.raises(SpecError, match=r"train.device: must be auto, cpu, mps, cuda, or cuda:N"):
        planned({"train.device": "gpu"})
