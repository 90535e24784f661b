"""Where jobs stand and why, where Snakemake's answer is given by hand; tests/cli asks itself."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

from hitsr.plan.failures import MARK
from hitsr.plan.fingerprint import code_of
from hitsr.plan.jobs import TrainJob
from hitsr.plan.planning import Plan, make_plan
from hitsr.plan.reasons import Step, steps_of
from hitsr.plan.standing import Standing
from hitsr.records import Session
from hitsr.records.checkpoint import (
    KEY,
    CheckpointHeader,
    Identity,
    Means,
    Position,
    folder_of,
    read_header,
)
from hitsr.specs.config import Config

CONFIG = Config.model_validate(
    {
        "name": "stands",
        "title": "Stands",
        "networks": ["hit_sir"],
        "data": {
            "root": "data", "source": "folder", "train": "a", "validation": "a", "test": ["a"],
        },
        "train": {
            "scales": [2],
            "device": "cpu",
            "recipe": {"steps": 9, "batch": 1, "patch": 8, "learning_rate": 1e-3},
        },
        "efficiency": {
            "scales": [2], "output_size": [48, 32], "latency": {"scales": [2], "device": "cpu"},
        },
    }
)  # fmt: skip
RUN = "hit_sir-x2-s1"


@pytest.fixture
def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Plan:
    """With its job files, as after a start of the pipeline."""
    monkeypatch.chdir(tmp_path)
    made = make_plan(CONFIG, {})
    for job in made.jobs:
        job.save(made.layout.job(job.kind, job.name))
    return made


def training(plan: Plan) -> TrainJob:
    (job,) = [job for job in plan.reported if isinstance(job, TrainJob)]
    return job


def stands(
    plan: Plan, status: str = "missing", done: tuple[str, ...] = ("prepare",)
) -> dict[tuple[str, str], Step]:
    """Where jobs stand if Snakemake says this of each, and would make all but some kinds."""
    said = {
        job.output: Standing(job.kind, status, job.kind not in done)
        for job in plan.reported
        if job.output
    }
    return {(step.kind, step.name): step for step in steps_of(plan, said, {})}


def save_checkpoint(job: TrainJob, step: int, job_hash: str, code: str | None) -> Path:
    session = Session(first_step=1, last_step=step, seconds=1, device_name="a", code=code)
    header = CheckpointHeader(
        identity=Identity(job_hash=job_hash, run=job.run, pictures="a"),
        position=Position(
            step=step, seconds=1, device_seconds=1, sessions=(session,), skipped=(), in_a_row=0,
            gates=(), losses=(), last_loss=None,
            means=Means(settings={}, graph=False, no_graph=None),
        ),
    )  # fmt: skip
    assert job.output
    path = folder_of(job.output.parent) / f"{step:08d}-{'0' * 16}.safetensors"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(save({"a": np.zeros(1)}, {KEY: header.model_dump_json()}))
    assert read_header(path) == header
    return path


def test_without_results_nothing_was_made(plan: Plan) -> None:
    steps = steps_of(plan, None, {})
    assert {step.reason for step in steps} == {"was not made yet"}
    assert [step.kind for step in steps if step.job is None] == ["report"]
    assert len(steps) == len(plan.reported) + 1


def test_a_training_with_a_checkpoint_goes_on_from_there(plan: Plan) -> None:
    job = training(plan)
    save_checkpoint(job, 6, job.hash, code=None)
    step = stands(plan)["train", RUN]
    assert (step.state, step.steps_done) == ("to be continued", 6)
    assert step.reason == "goes on from step 6 of 9"
    step = stands(plan, done=())["train", RUN]  # its pictures may be others then
    assert (step.state, step.steps_done) == ("to do", 0)


def test_a_training_goes_on_from_no_checkpoint_of_another_training(plan: Plan) -> None:
    save_checkpoint(training(plan), 6, "0" * 16, code=None)
    step = stands(plan)["train", RUN]
    assert (step.state, step.steps_done) == ("to do", 0)


@pytest.mark.parametrize(("code", "done"), [(code_of("train"), 9), ("other code", 0)])
def test_results_of_a_finished_training_are_written_again_by_the_same_code_alone(
    plan: Plan, code: str, done: int
) -> None:
    job = training(plan)
    save_checkpoint(job, 9, job.hash, code=code)
    step = stands(plan)["train", RUN]
    assert step.steps_done == done
    assert ("written again from its last checkpoint" in step.reason) == (done == 9)


def test_a_damaged_checkpoint_is_passed_over(plan: Plan) -> None:
    job = training(plan)
    save_checkpoint(job, 3, job.hash, code=None)
    save_checkpoint(job, 6, job.hash, code=None).write_bytes(b"nothing")
    assert stands(plan)["train", RUN].steps_done == 3


def test_a_job_that_failed_says_why(plan: Plan) -> None:
    log = plan.layout.log("restore", f"{RUN}.a")
    log.parent.mkdir(parents=True)
    log.write_text(f"hitsr: the picture is ill\n{MARK}1\n")
    step = stands(plan)["restore", f"{RUN}.a"]
    assert step.state == "failed"
    assert step.reason == "failed last time: the picture is ill"


def test_what_snakemake_says_in_words_of_its_own_is_passed_on(plan: Plan) -> None:
    for job in plan.reported:
        assert job.output
        job.output.parent.mkdir(parents=True, exist_ok=True)
        job.output.touch()
    said = stands(plan, "something new")
    assert said["quality", f"{RUN}.a"].reason == "something new"
    said = stands(plan, "ok", done=())
    assert said["quality", f"{RUN}.a"].reason == "needs what is made anew"
    assert said["prepare", "a-x2"].reason == "was not finished when the pipeline ended"
