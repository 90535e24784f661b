"""How long jobs take, from records of other results folders."""

from pathlib import Path

import pytest

from hitsr.plan.durations import Machine, duration_of, recorded_times
from hitsr.plan.jobs import PrepareJob, QualityJob, RestoreJob, TrainJob
from hitsr.plan.layout import Layout
from hitsr.plan.rates import Rate, work_of_job
from hitsr.plan.subjects import ControlMethod
from hitsr.records import (
    ChannelScore,
    DatasetRecord,
    PictureFile,
    PictureScore,
    Provenance,
    QualityRecord,
    RestoredRecord,
)
from hitsr.specs.recipe import Recipe
from hitsr.specs.run import RunSpec
from hitsr.specs.zoo import NETWORKS

CPU = "A CPU"
HERE = Machine(cpu=CPU, device=CPU, is_gpu=False, cores=2, gpus=0)
BICUBIC = ControlMethod(network_name="bicubic", scale=2)


def provenance(seconds: float) -> Provenance:
    return Provenance(
        commit=None, dirty=None, versions={}, device="cpu", device_name=CPU, threads=1,
        command="", seconds=seconds,
    )  # fmt: skip


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """A folder in which one picture of 40x30 was prepared in 6 s and scored in 3 s."""
    layout = Layout(tmp_path / "other")
    picture = PictureFile(
        name="a", lr_size=(20, 15), hr_size=(40, 30), lr_sha256="0", hr_sha256="0"
    )
    DatasetRecord(
        subject="Set5", job_hash="prepared", provenance=provenance(6), scale=2, pictures=(picture,)
    ).save(layout.output("prepare", "Set5-x2"))
    score = PictureScore(name="a", psnr_db=30, ssim=0.9, rgb=ChannelScore(psnr_db=30, ssim=0.9))
    QualityRecord(
        subject="bicubic", job_hash="scored", provenance=provenance(3), method="bicubic",
        dataset="Set5", scale=2, border=2, signatures={}, pictures=(score,),
    ).save(layout.output("quality", "bicubic-x2.Set5"))  # fmt: skip
    return tmp_path / "planned"


def quality(dataset: str = "Set14") -> QualityJob:
    return QualityJob(name="a", subject=BICUBIC, dataset=dataset, data=Path("data"))


def test_jobs_take_as_long_as_others_of_their_kind_by_the_pixels_of_their_pictures(
    results: Path,
) -> None:
    took = recorded_times(results)
    sizes = {"Set14": [(40, 30), (80, 60)]}
    found = duration_of(quality(), 0, HERE, 1, (), took, sizes)
    assert found
    assert (found.seconds, found.basis) == (15, "estimate")
    assert found.source.startswith("as 1 other of this kind and size, such as ")
    prepare = PrepareJob(
        name="a", dataset="Set14", scale=2, source="data/Set14", folder=Path("data/Set14")
    )
    found = duration_of(prepare, 0, HERE, 1, (), took, sizes)
    assert found
    assert found.seconds == 30


def test_the_record_of_the_very_job_comes_first(results: Path) -> None:
    took = [each._replace(job_hash=quality().hash) for each in recorded_times(results)]
    found = duration_of(quality(), 0, HERE, 1, (), took, {})
    assert found
    assert found.basis == "measured"


def test_a_restore_takes_as_long_as_others_of_the_same_weights(results: Path) -> None:
    layout = Layout(results.parent / "other")
    RestoredRecord(
        subject="bicubic-x2", job_hash="restored", provenance=provenance(2), dataset="Set5",
        scale=2, weights_sha256=None, pictures={},
    ).save(Layout.restored(layout.output("restore", "bicubic-x2.Set5")))  # fmt: skip
    restore = RestoreJob(
        name="a", subject=BICUBIC, dataset="Set14", data=Path("data"), device="cpu"
    )
    took, sizes = recorded_times(results), {"Set14": [(80, 60)]}
    found = duration_of(restore, 0, HERE, 1, (), took, sizes)
    assert found
    assert found.seconds == 8
    other = restore.model_copy(update={"subject": BICUBIC.model_copy(update={"scale": 3})})
    assert duration_of(other, 0, HERE, 1, (), took, sizes) is None


def test_nothing_is_known_of_other_devices_and_unseen_pictures(results: Path) -> None:
    took = recorded_times(results)
    sizes = {"Set14": [(40, 30)]}
    other = HERE._replace(cpu="Another CPU")
    assert duration_of(quality(), 0, other, 1, (), took, sizes) is None
    assert duration_of(quality(), 0, HERE, 1, (), took, {}) is None


def test_a_training_takes_the_steps_that_are_left() -> None:
    run = RunSpec(
        network=NETWORKS["hit_sir"], scale=2, data="train", validation="test", seed=1,
        recipe=Recipe(steps=100, batch=4, patch=16, learning_rate=1e-3),
    )  # fmt: skip
    job = TrainJob(name="a", run=run, data=Path("data"), packs=Path("packs"), device="cpu")
    rate = Rate(work_of_job(job), CPU, 1, 1, 2.0, 3.0, 50, "measured", "somewhere")
    found = duration_of(job, 60, HERE, 1, [rate], (), {})
    assert found
    assert (found.seconds, found.device_seconds) == (80, 120)
    # With other threads than measured, the clock follows the processor time.
    found = duration_of(job, 60, HERE, 2, [rate], (), {})
    assert found
    assert (found.seconds, found.device_seconds) == (60, 120)
