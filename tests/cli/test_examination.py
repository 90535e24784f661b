"""Each thing a machine may lack is found, named and fails; a whole machine passes."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from hitsr.base.files import sha256, write_text
from hitsr.cli import app
from hitsr.cli import examination as doctor
from hitsr.cli.examination import Finding, examine, fails, to_text
from hitsr.data.images import write_png
from hitsr.models.backbone import create
from hitsr.models.checkpoints import save_weights
from hitsr.plan import needs
from hitsr.plan.jobs import CountJob, TrainJob
from hitsr.plan.planning import Plan, make_plan
from hitsr.records import DatasetRecord, PictureFile, Provenance, TrainingRecord
from hitsr.specs.config import Config, Weights

REPORTS = Path(__file__).parents[2] / "reports"
PROVENANCE = Provenance(
    commit=None, dirty=None, versions={}, device="cpu", device_name="A CPU", threads=1,
    command="hitsr train", seconds=1,
)  # fmt: skip


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    """One network on folders of one's own: `mine` has two pictures, one is prepared at x2."""
    monkeypatch.chdir(tmp_path)
    for path in ("mine/HR/cat.png", "mine/HR/dog.png", "mine/LR_bicubic/X2/catx2.png"):
        write_png(tmp_path / "data" / path, np.zeros((8, 8, 3), np.uint8))
    recipe = {"steps": 1, "batch": 1, "patch": 8, "learning_rate": 1e-3}
    data = {"root": "data", "source": "folder", "train": "mine", "validation": "mine"}
    return Config.parse(
        {
            "name": "tiny", "title": "Tiny", "networks": ["hit_sir"],
            "data": {**data, "test": ["mine"]},
            "train": {"scales": [2], "device": "cpu", "recipe": recipe},
            "efficiency": {"latency": {"scales": [2], "device": "cpu"}},
        },
        "test",
    )  # fmt: skip


def plan_of(config: Config) -> Plan:
    return make_plan(config, {})


def missing(config: Config | None) -> list[Finding]:
    findings = examine(plan_of(config) if config else None, REPORTS)
    return [found for found in findings if found.status == "missing"]


def trained(config: Config) -> Path:
    """Pretend that the one run is trained; returns its folder."""
    (job,) = (job for job in plan_of(config).jobs if isinstance(job, TrainJob))
    folder = config.folder / "weights" / job.name
    write_text(folder / "weights.safetensors", "weights")
    write_text(folder / "log.jsonl", "")
    TrainingRecord(
        subject=job.name, job_hash=job.hash, provenance=PROVENANCE, run=job.run, params=1,
        pictures=2, final_loss=0.1, final_validation_psnr_db=None,
        weights_sha256=sha256(folder / "weights.safetensors"),
        log_sha256=sha256(folder / "log.jsonl"),
    ).save(folder / "record.json")  # fmt: skip
    return folder


def test_a_whole_machine_lacks_nothing(config: Config):
    trained(config)
    findings = examine(plan_of(config), REPORTS)
    assert not fails(findings)
    text = to_text(findings)
    for told in (torch.__version__, "cores usable", "GB available", "GB free",
                 "mine: 2 pictures, 1 LR at x2", "1 of 1 runs are trained"):  # fmt: skip
        assert told in text


def test_without_a_config_data_and_weights_are_not_looked_for():
    areas = {found.area for found in examine(None, REPORTS)}
    assert areas == {"versions", "devices", "processor", "memory", "disk"}


def test_absent_torch_is_a_finding_and_the_rest_is_still_examined(
    config: Config, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(sys.modules, "torch", None)
    findings = examine(plan_of(config), REPORTS)
    assert {found.area for found in findings if found.status == "missing"} == {
        "devices", "processor",
    }  # fmt: skip
    assert "mine: 2 pictures" in to_text(findings)


def test_absent_and_old_packages_are_named_with_what_is_wanted(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(doctor, "requires", lambda _: ["numpy>=99", "surely-not-there>=1", "scipy"])
    numpy, absent = missing(None)
    assert "hitsr needs >=99" in numpy.what
    assert "surely-not-there is not installed" in absent.what
    assert "pip install" in numpy.fix


def test_a_gpu_that_torch_cannot_use_fails_a_config_that_asks_for_it(
    config: Config, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    train = config.train.model_copy(update={"device": "cuda"})
    (found,) = missing(config.model_copy(update={"train": train}))
    assert "finds no GPU" in found.what


def test_curves_for_tensorboard_need_it(config: Config, monkeypatch: pytest.MonkeyPatch):
    train = config.train.model_copy(update={"tensorboard": True})
    asked = config.model_copy(update={"train": train})
    for is_there, count in ((object(), 0), (None, 1)):
        monkeypatch.setattr(needs, "find_spec", lambda _, found=is_there: found)
        assert [each.what for each in missing(asked)] == ["tensorboard: is not installed"] * count
    assert not missing(config)


def test_what_only_nvidia_gpus_have_is_missing_on_a_cpu(config: Config):
    recipe = config.train.recipe.model_copy(update={"precision": "tf32"})
    train = config.train.model_copy(update={"recipe": recipe})
    latency = {**config.efficiency.latency.model_dump(), "launches": ("eager", "graph")}
    changes = {"train": train, "efficiency": {"latency": latency}}
    asked = Config.model_validate({**config.model_dump(), **changes})
    told = [found.what for found in missing(asked)]
    assert told == [
        "precision tf32: cpu has no TF32, NVIDIA GPUs have; use float32",
        "launch graph: cpu has no CUDA graphs, NVIDIA GPUs have",
    ]
    assert not missing(config)


def _lose_set(config: Config) -> None:
    (config.data.root / "mine").rename(config.data.root / "yours")


def _empty_set(config: Config) -> None:
    for path in (config.data.root / "mine/HR").iterdir():
        path.unlink()


def _lose_picture(config: Config) -> None:
    picture = {"lr_size": (4, 4), "hr_size": (8, 8), "lr_sha256": "0", "hr_sha256": "0"}
    DatasetRecord(
        subject="mine", job_hash="mine", provenance=PROVENANCE, scale=2,
        pictures=tuple(PictureFile(name=name, **picture) for name in ("cat", "dog", "emu")),
    ).save(config.folder / "records/prepare/mine-x2.json")  # fmt: skip


def _change_weights(config: Config) -> None:
    write_text(trained(config) / "weights.safetensors", "others")


def _lose_weights(config: Config) -> None:
    (trained(config) / "weights.safetensors").unlink()


def _change_log(config: Config) -> None:
    write_text(trained(config) / "log.jsonl", "others")


def _lose_log(config: Config) -> None:
    (trained(config) / "log.jsonl").unlink()


def _damage_record(config: Config) -> None:
    write_text(trained(config) / "record.json", "{")


def _train_another_recipe(config: Config) -> None:
    recipe = config.train.recipe.model_copy(update={"steps": 2})
    train = config.train.model_copy(update={"recipe": recipe})
    trained(config.model_copy(update={"train": train}))


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        (_lose_set, "1 of 1 sets of pictures are missing"),
        (_empty_set, "no picture"),
        (_lose_picture, "1 pictures of the last run are missing: emu"),
        (_change_weights, "not the weights that the run trained"),
        (_lose_weights, "weights.safetensors"),
        (_change_log, "not the log of the training"),
        (_lose_log, "log.jsonl"),
        (_damage_record, "not a record"),
        (_train_another_recipe, "the file belongs to job"),
    ],
)
def test_what_a_config_lacks_fails_and_is_named(
    config: Config, harm: Callable[[Config], None], told: str
):
    harm(config)
    (found,) = missing(config)
    assert told in found.what


def test_records_that_cannot_be_used_are_told_unless_their_job_is_done_anew(config: Config):
    plan = plan_of(config)
    job = next(job for job in plan.jobs if isinstance(job, CountJob))
    assert job.output is not None
    write_text(job.output, "{")
    assert missing(config) == []  # its job file is not there, so Snakemake does it anew
    job.save(plan.layout.job(job.kind, job.name))
    (found,) = missing(config)
    assert (found.area, f"{job.output}: not a record" in found.what) == ("results", True)
    job.model_copy(update={"output_size": (8, 8)}).save(plan.layout.job(job.kind, job.name))
    assert missing(config) == []


def test_strays_among_results_are_noted(config: Config):
    stray = config.folder / "jobs/latency/notes.txt"
    write_text(stray, "notes")
    findings = examine(plan_of(config), REPORTS)
    noted = [found for found in findings if found.area == "results" and found.status == "note"]
    assert [str(stray) in found.what for found in noted] == [True]
    assert not fails(findings)


@pytest.mark.parametrize("value", [1.0, float("nan")])
def test_released_weights_are_read(config: Config, value: float):
    released = Weights(root=Path("released"), scales=(2,))
    config = config.model_copy(update={"train": None, "weights": released})
    state = create("hit_sir", 2).state_dict()
    state["first.bias"] *= value
    released.root.mkdir()
    torch.save(state, released.root / "hit_sir_x2.pth")
    told = [found.what for found in missing(config)]
    assert [("first.bias is not finite" in what) for what in told] == [True] * (value != 1)
    save_weights(create("swinir_light", 2), released.root / "hit_sir_x2.pth", {})
    (found,) = missing(config)
    assert "weights of another network or scale than hit_sir x2" in found.what


def test_little_memory_and_disk_are_noted_and_do_not_fail(
    config: Config, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(doctor, "_LEAST_MEMORY_GB", 1e9)
    monkeypatch.setattr(doctor, "_LEAST_DISK_GB", 1e9)
    findings = examine(plan_of(config), REPORTS)
    assert {f.area for f in findings if f.status == "note"} >= {"memory", "disk"}
    assert not fails(findings)


def test_exit_status_follows_what_is_missing(config: Config, tmp_path: Path):
    file = tmp_path / "tiny.yaml"
    file.write_text(config.model_dump_json())
    asked = ["doctor", str(file), "--reports", str(REPORTS)]
    assert CliRunner().invoke(app, asked).exit_code == 0
    _lose_set(config)
    failed = CliRunner().invoke(app, [*asked, "--json"])
    assert failed.exit_code == 1
    assert "missing" in {found["status"] for found in json.loads(failed.stdout)}
