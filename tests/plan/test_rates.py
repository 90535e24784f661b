"""Rates of training steps: which of several is taken, and what its words say."""

import csv
import json
from pathlib import Path

import pytest

from hitsr.base.errors import SpecError
from hitsr.plan.jobs import TrainJob
from hitsr.plan.layout import Layout
from hitsr.plan.rates import Rate, measured_rates, rate_of, table_rates, work_of
from hitsr.records import LogLine, Provenance, Session, TrainingRecord
from hitsr.records.step_time import StepTimeRecord
from hitsr.specs.recipe import Recipe
from hitsr.specs.run import RunSpec
from hitsr.specs.zoo import NETWORKS

ROOT = Path(__file__).parents[2]
RUN = RunSpec(
    network=NETWORKS["hit_sir"], scale=2, data="train", validation="test", seed=1,
    recipe=Recipe(steps=100, batch=4, patch=16, learning_rate=1e-3),
)  # fmt: skip
WORK = work_of(RUN)
CPU = "A CPU"


def rate(device_seconds: float, **changes: object) -> Rate:
    known = Rate(WORK, CPU, 1, 1, 2.0, device_seconds, 10, "measured", "somewhere")
    return known._replace(**changes)  # type: ignore[arg-type]


def provenance(**changes: object) -> Provenance:
    made = Provenance(
        commit=None, dirty=None, versions={}, device="cpu", device_name=CPU, threads=1,
        command="", seconds=1,
    )  # fmt: skip
    return made.model_copy(update=changes)


def write_training(folder: Path, run: RunSpec, device_seconds: float) -> TrainJob:
    """The files of a finished training of 100 steps in 50 seconds of the clock."""
    layout = Layout(folder)
    job = TrainJob(
        name=run.name, run=run, data=Path("data"), packs=Path("packs"), device="cpu",
        output=layout.output("train", run.name),
    )  # fmt: skip
    job.save(layout.job("train", job.name))
    line = LogLine(step=100, loss=0.1, learning_rate=0.1, seconds=50, device_seconds=device_seconds)
    log = layout.training_log(job.name)
    log.parent.mkdir(parents=True)
    log.write_text(line.model_dump_json() + "\n")
    session = Session(first_step=1, last_step=100, seconds=50, device_name=CPU, threads=2)
    assert job.output
    TrainingRecord(
        subject=run.name, job_hash=job.hash, provenance=provenance(), run=run, params=1, pictures=1,
        sessions=(session,), final_loss=0.1, final_validation_psnr_db=None, weights_sha256="0",
    ).save(job.output)  # fmt: skip
    return job


def test_a_training_in_a_folder_beside_tells_seconds_of_a_step(tmp_path: Path) -> None:
    write_training(tmp_path / "other", RUN, device_seconds=30)
    (found,) = measured_rates(tmp_path / "planned")
    assert (found.seconds, found.device_seconds, found.threads) == (0.5, 0.3, 2)
    assert found.work == WORK
    assert found.source == f"100 steps of {tmp_path}/other/weights/hit_sir-x2-s1"


def test_a_training_whose_job_file_is_of_another_training_tells_nothing(tmp_path: Path) -> None:
    """Whether it was compiled is unknown."""
    job = write_training(tmp_path / "other", RUN, device_seconds=30)
    other = RUN.model_copy(update={"seed": 2})
    job.model_copy(update={"run": other}).save(Layout(tmp_path / "other").job("train", job.name))
    assert measured_rates(tmp_path / "other") == []


def test_measured_steps_are_known_to_the_next_plan(tmp_path: Path) -> None:
    record = StepTimeRecord(
        subject="a", job_hash=WORK.hash, provenance=provenance(), work=WORK, params=1,
        samples_s=(1, 2, 9), device_samples_s=(1, 1, 3),
    )  # fmt: skip
    record.save(Layout(tmp_path / "a").rates / "1.json")
    (found,) = measured_rates(tmp_path / "b")
    assert (found.work, found.seconds, found.device_seconds) == (WORK, 2, 1)
    assert "--measure" in found.source


def test_equal_networks_of_other_names_are_equal_work() -> None:
    renamed = RUN.network.model_copy(update={"name": "another"})
    assert work_of(RUN.model_copy(update={"network": renamed})) == WORK
    wider = RUN.network.patch({"width": 30, "mixer.heads": 5})
    assert work_of(RUN.model_copy(update={"network": wider})) != WORK


def test_what_was_measured_here_comes_before_the_table() -> None:
    rates = [rate(1, basis="table", steps=999), rate(2), rate(3, steps=50)]
    found = rate_of(WORK, CPU, 1, rates)
    assert found
    assert found.device_seconds == 3  # of most steps
    found = rate_of(WORK, CPU, 1, rates[:1])
    assert found
    assert found.basis == "table"


def test_another_batch_is_an_estimate_by_pixels_and_says_so() -> None:
    larger = work_of(RUN.model_copy(update={"recipe": RUN.recipe.model_copy(update={"batch": 12})}))
    found = rate_of(larger, CPU, 1, [rate(3)])
    assert found
    assert (found.basis, found.seconds, found.device_seconds) == ("estimate", 6, 9)
    assert found.source == ("by the pixels of a step, from batch 4 of 16x16 at x2: somewhere")


@pytest.mark.parametrize(
    "unlike",
    [
        rate(1, device="Another CPU"),
        rate(1, work=WORK.model_copy(update={"precision": "bfloat16"})),
        rate(1, work=WORK.model_copy(update={"compile": True})),
        rate(1, work=WORK.model_copy(update={"network": NETWORKS["hit_srf"]})),
    ],
)
def test_nothing_is_guessed_from_other_devices_networks_and_ways(unlike: Rate) -> None:
    assert rate_of(WORK, CPU, 1, [unlike]) is None


def test_each_row_of_the_table_has_a_source_that_says_its_number() -> None:
    rates = table_rates(ROOT / "reports")
    assert len(rates) == len({(each.work, each.device) for each in rates}) > 0
    with (ROOT / "reports/rates.csv").open() as file:
        rows = list(csv.DictReader(file))
    page = (ROOT / "docs/benchmarks.md").read_text()
    with (ROOT / "docs/evidence/conversion/training.csv").open() as file:
        trained = list(csv.DictReader(file))
    for row in rows:
        seconds = float(row["device_seconds_per_step"])
        if row["source"] == "docs/benchmarks.md":
            work = f"training step, batch {row['batch']}, LR {row['patch']}x{row['patch']}"
            cells = [line.split(" | ") for line in page.splitlines() if work in line]
            # The first table, of processor time, comes first.
            (first, *_) = [each for each in cells if each[1] == row["network"]]
            assert float(first[3].removesuffix(" s")) == seconds
        else:
            assert json.loads(row["changes"]) == {"depths": [6]}
            own = [each for each in trained if each["network"] == row["network"]]
            steps = sum(int(each["steps"]) for each in own)
            assert steps == int(row["steps"])
            spent = 3600 * sum(float(each["device_hours"]) for each in own) / steps
            assert spent == pytest.approx(seconds, abs=0.0005)


def test_a_damaged_row_of_the_table_is_named(tmp_path: Path) -> None:
    text = (ROOT / "reports/rates.csv").read_text().replace("1.88", "fast")
    (tmp_path / "rates.csv").write_text(text)
    with pytest.raises(SpecError, match=r"rates.csv:2: .*fast"):
        table_rates(tmp_path)
