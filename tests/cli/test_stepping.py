"""Steps that are timed before a training, on the CPU."""

from pathlib import Path

import pytest

from hitsr.cli.doing import stepping
from hitsr.plan.jobs import TrainJob
from hitsr.plan.rates import measured_rates, rate_of, work_of_job
from hitsr.records.provenance import cpu_name
from hitsr.specs.recipe import Recipe
from hitsr.specs.run import RunSpec
from hitsr.specs.zoo import NETWORKS

SMALL = NETWORKS["hit_sir"].patch(
    {"depths": [1], "width": 12, "mixer.heads": 2, "windows.base": 4, "windows.ratios": [1]}
)


@pytest.fixture
def job(monkeypatch: pytest.MonkeyPatch) -> TrainJob:
    monkeypatch.setattr(stepping, "_ENOUGH_S", 0)
    recipe = Recipe(
        steps=2, batch=4, parts=2, patch=8, learning_rate=1e-3, log_every=1, validate_every=1
    )
    run = RunSpec(network=SMALL, scale=2, data="a", validation="a", seed=1, recipe=recipe)
    return TrainJob(name="a", run=run, data=Path("none"), packs=Path("none"), device="cpu")


def test_steps_are_timed_once_for_equal_work_and_known_to_the_next_plan(
    job: TrainJob, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    again = job.model_copy(update={"run": job.run.model_copy(update={"seed": 2})})
    stepping.measure_steps([job, again], tmp_path / "a/rates", threads=1)
    assert "1/1 kind" in capsys.readouterr().err
    found = rate_of(work_of_job(again), cpu_name(), 1, measured_rates(tmp_path / "b"))
    assert found
    assert (found.basis, found.steps, found.threads) == ("measured", 3, 1)
    assert found.seconds
    # Measured again, the record is replaced.
    stepping.measure_steps([job], tmp_path / "a/rates", threads=1)
    assert len(list((tmp_path / "a/rates").iterdir())) == 1


def test_a_batch_that_would_take_too_long_is_measured_smaller_and_that_is_said(
    job: TrainJob,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(stepping, "_LONGEST_S", 0)
    stepping.measure_steps([job], tmp_path / "a/rates", threads=1)
    assert "s a step of batch 2, on " in capsys.readouterr().err
    found = rate_of(work_of_job(job), cpu_name(), 1, measured_rates(tmp_path / "a"))
    assert found
    assert found.basis == "estimate"
    assert "from batch 2 of 8x8" in found.source


def test_where_memory_runs_out_the_batch_is_halved(
    job: TrainJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    timed, asked = stepping._timed, list[int]()

    def runs_out(job, batch, device):
        asked.append(batch)
        if batch > 2:
            raise MemoryError
        return timed(job, batch, device)

    monkeypatch.setattr(stepping, "_timed", runs_out)
    stepping.measure_steps([job], tmp_path, threads=1)
    assert asked == [4, 2]
