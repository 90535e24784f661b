"""Verbs on job files: the same records as from flags, and many jobs in one process."""

import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import hitsr
from hitsr.base.errors import HitsrError
from hitsr.base.files import sha256
from hitsr.base.writers import sole_writer
from hitsr.cli import app
from hitsr.data.images import write_png
from hitsr.models.checkpoints import metadata_of, save_weights
from hitsr.plan.jobs import Job
from hitsr.plan.planning import Plan, make_plan
from hitsr.records import (
    AttributionRecord,
    ComplexityRecord,
    DatasetRecord,
    LatencyRecord,
    QualityRecord,
    Record,
    ScalingRecord,
    TrainingRecord,
)
from hitsr.specs.config import Config
from hitsr.specs.network import NetworkSpec, ScaledNetwork

RUNNER = CliRunner()
OWN = """
import torch
from torch import nn

class Own(nn.Sequential):
    def __init__(self, scale):
        super().__init__(nn.Upsample(scale_factor=scale), nn.Conv2d(3, 3, 3, padding=1))

class Broken(Own):
    def forward(self, x):
        assert x.shape[-1] == 24, "only for the first look"
        return super().forward(x)

class InBlocks(Own):
    def forward(self, x):
        b, c, h, w = x.shape
        return super().forward(x.view(b, c, h // 8, 8, w // 8, 8).reshape(x.shape))

def build(scale):
    return Own(scale)

def in_blocks(scale):
    return InBlocks(scale)

def nearest(scale):
    return nn.Upsample(scale_factor=scale)

def broken(scale):
    return Broken(scale)
"""


def run(*arguments: object) -> str:
    result = RUNNER.invoke(app, [str(each) for each in arguments])
    assert result.exit_code == 0, (result.output, result.exception)
    return result.stdout


def refused(*arguments: object) -> str:
    result = RUNNER.invoke(app, [str(each) for each in arguments])
    assert isinstance(result.exception, HitsrError), (result.output, result.exception)
    return str(result.exception)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A set of two small pictures, and networks of somebody's own."""
    folder = tmp_path_factory.mktemp("jobs")
    noise = np.random.default_rng(0)
    for name in ("first", "second"):
        image = noise.integers(0, 256, (64, 48, 3), dtype=np.uint8)
        write_png(folder / "data/mine/HR" / f"{name}.png", image)
    (folder / "own.py").write_text(OWN)
    return folder


@pytest.fixture(scope="module")
def plan(folder: Path) -> Plan:
    """One tiny network, trained, and one of somebody's own; results beside the data."""
    recipe = {"steps": 2, "batch": 1, "patch": 8, "learning_rate": 1e-3}
    changes = {"depths": [1], "windows.ratios": [1], "width": 24, "windows.base": 4}
    sets = {"train": "mine", "validation": "mine", "test": ["mine"]}
    config: dict[str, Any] = {
        "name": "tiny", "title": "Tiny", "networks": ["hit_sir"],
        "own": {"own": {"source": f"{folder}/own.py:build", "scales": [2]}},
        "data": {"root": str(folder / "data"), "source": "folder", **sets},
        "train": {"scales": [2], "device": "cpu", "recipe": recipe, "changes": changes},
        "efficiency": {
            "scales": [2], "output_size": [32, 24],
            "latency": {"scales": [2], "device": "cpu", "warmup": 0, "samples": 1},
        },
        "lam": {"sets": ["mine"], "scales": [2], "crop": 32},
        "scaling": {"over": ["window"]},
    }  # fmt: skip
    return make_plan(Config.parse(config, "test"), {})


@pytest.fixture(scope="module")
def done(folder: Path, plan: Plan) -> Plan:
    """The plan, whose jobs are carried out one by one; those of costs by the kind."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for job in plan.jobs:
            job.save(plan.layout.job(job.kind, job.name))
        for job in plan.jobs:
            if job.kind not in ("complexity", "latency", "scaling"):
                run(job.kind, "--job", plan.layout.job(job.kind, job.name))
        for kind in ("complexity", "latency", "scaling"):
            files = [plan.layout.job(j.kind, j.name) for j in plan.asked_by("config")
                     if j.kind == kind]  # fmt: skip
            run(kind, *(word for file in files for word in ("--job", file)))
    return plan


def found(plan: Plan, folder: Path, kind: type[Record], output: str) -> tuple[Job, Record]:
    job = plan.find(f"results/tiny/{output}")
    return job, kind.load(folder / f"results/tiny/{output}", job_hash=job.hash)


@pytest.mark.parametrize(
    ("kind", "output"),
    [
        (DatasetRecord, "records/prepare/mine-x2.json"),
        (TrainingRecord, "weights/hit_sir-x2-s1/record.json"),
        (QualityRecord, "records/quality/hit_sir-x2-s1.mine.json"),
        (QualityRecord, "records/quality/own-x2.mine.json"),
        (QualityRecord, "records/quality/hr-x2.mine.json"),
        (AttributionRecord, "lam/hit_sir-x2-s1.mine/record.json"),
        (AttributionRecord, "lam/own-x2.mine/record.json"),
        (ComplexityRecord, "records/complexity/hit_sir-x2.json"),
        (ComplexityRecord, "records/complexity/own-x2.json"),
        (LatencyRecord, "records/latency/hit_sir-x2.cpu.fused.json"),
        (ScalingRecord, "records/scaling/hit_sir-x2.window.json"),
    ],
)
def test_every_job_writes_its_record(
    done: Plan, folder: Path, kind: type[Record], output: str
) -> None:
    job, record = found(done, folder, kind, output)
    assert record.subject in job.name


@pytest.mark.usefixtures("done")
def test_networks_that_are_not_ours_take_turns_with_ours(folder: Path) -> None:
    records = folder / "results/tiny/records/latency"
    ours = LatencyRecord.load(records / "hit_sir-x2.cpu.fused.json")
    own = LatencyRecord.load(records / "own-x2.cpu.own.json")
    assert own.formulation is None
    assert len(ours.over(own)) == 1


def test_flags_make_the_same_job(done: Plan, folder: Path, tmp_path: Path) -> None:
    own, data, run_file = f"{folder}/own.py:build", folder / "data/mine", tmp_path / "run.json"
    trained, _ = found(done, folder, TrainingRecord, "weights/hit_sir-x2-s1/record.json")
    assert trained.kind == "train"
    run_file.write_text(trained.run.to_json())
    weights = folder / "results/tiny/weights/hit_sir-x2-s1/weights.safetensors"
    small = ("--output-size", "32x24")
    asked: dict[str, tuple[object, ...]] = {
        "records/prepare/mine-x2.json":
            ("prepare", data, "--out", data, "-s", 2, "--manifest", tmp_path / "a"),
        "records/quality/hit_sir-x2-s1.mine.json":
            ("quality", "--sr", folder / "results/tiny/pictures/hit_sir-x2-s1.mine",
             "--hr", data / "HR", "-s", 2, "--run", run_file),
        "lam/own-x2.mine/record.json":
            ("lam", own, "-s", 2, "--set", data, "--crop", 32, "--out", tmp_path / "lam"),
        "lam/hit_sir-x2-s1.mine/record.json":
            ("lam", run_file, "-s", 2, "--weights", weights, "--set", data, "--crop", 32,
             "--out", tmp_path / "lam2"),
        "records/complexity/hit_sir-x2.json": ("complexity", "hit_sir", *small),
        "records/complexity/own-x2.json": ("complexity", own, *small),
        "records/latency/own-x2.cpu.own.json":
            ("latency", own, "-s", 2, *small, "--device", "cpu", "--warmup", 0, "--samples", 1),
        "records/scaling/hit_sir-x2.window.json": ("scaling", "hit_sir"),
    }  # fmt: skip
    for number, (output, words) in enumerate(asked.items()):
        job = done.find(f"results/tiny/{output}")
        out = {"prepare": tmp_path / "a", "lam": Path(str(words[-1])) / "record.json"}.get(
            job.kind, tmp_path / f"{number}.json"
        )
        run(*words, *(() if job.kind in ("prepare", "lam") else ("--out", out)))
        kind = {"prepare": DatasetRecord, "quality": QualityRecord, "lam": AttributionRecord,
                "complexity": ComplexityRecord, "latency": LatencyRecord,
                "scaling": ScalingRecord}[job.kind]  # fmt: skip
        kind.load(out, job_hash=job.hash)


def test_training_by_hand_and_by_job_are_the_same_bytes(
    done: Plan, folder: Path, tmp_path: Path
) -> None:
    job, record = found(done, folder, TrainingRecord, "weights/hit_sir-x2-s1/record.json")
    assert job.kind == "train"
    (tmp_path / "run.json").write_text(job.run.to_json())
    words = ("train", tmp_path / "run.json", "--data", folder / "data", "--out", tmp_path / "out")
    run(*words, "--device", "cpu", "--graph")
    assert isinstance(record, TrainingRecord)
    assert sha256(tmp_path / "out/weights.safetensors") == record.weights_sha256
    TrainingRecord.load(tmp_path / "out/record.json", job_hash=job.hash)
    assert "a step is launched in one of these ways" in refused(*words, "--compile", "--graph")


def test_a_device_without_the_precision_is_told_before_pictures_are_decoded(
    done: Plan, folder: Path, tmp_path: Path
) -> None:
    job = done.find("results/tiny/weights/hit_sir-x2-s1/record.json")
    assert job.kind == "train"
    recipe = job.run.recipe.model_copy(update={"precision": "tf32"})
    (tmp_path / "run.json").write_text(job.run.model_copy(update={"recipe": recipe}).to_json())
    words = ("train", tmp_path / "run.json", "--data", folder / "data", "--out", tmp_path / "out")
    assert "no TF32" in refused(*words, "--device", "cpu", "--packs", tmp_path / "packs")
    assert not (tmp_path / "packs").exists()


def test_a_network_that_cannot_run_costs_the_others_nothing(
    done: Plan, folder: Path, tmp_path: Path
) -> None:
    good = done.find("results/tiny/records/latency/own-x2.cpu.own.json")
    assert good.kind == "latency"
    subject = good.subject.model_copy(
        update={"network_name": "bad", "source": f"{folder}/own.py:broken"}
    )
    bad = good.model_copy(
        update={"name": "bad-x2.cpu.own", "subject": subject, "output": tmp_path / "bad.json"}
    )
    good = good.model_copy(update={"output": tmp_path / "good.json"})
    for job in (bad, good):
        job.save(tmp_path / f"{job.name}.job")
    words = [str(word) for job in (bad, good) for word in ("--job", tmp_path / f"{job.name}.job")]
    result = RUNNER.invoke(app, ["latency", *words])
    assert result.exit_code == 1
    assert "hitsr: bad-x2.cpu.own: 16x12 in float32 on cpu: cannot run" in result.stderr
    assert "only for the first look" in result.stderr
    assert "1 of 2 could not be measured" in result.stderr
    assert LatencyRecord.load(tmp_path / "good.json").session is None
    assert not (tmp_path / "bad.json").exists()


def test_timings_wait_for_what_a_killed_pipeline_left_at_work(done: Plan, tmp_path: Path) -> None:
    job = done.find("results/tiny/records/latency/own-x2.cpu.own.json")
    out = tmp_path / "records/latency/own.json"
    job.model_copy(update={"output": out}).save(tmp_path / "own.job")
    with sole_writer(out.parent.parent / f"timings-{platform.node()}", print):
        verb = [Path(sys.executable).with_name("hitsr"), "latency", "--job", tmp_path / "own.job"]
        second = subprocess.Popen(verb, stderr=subprocess.PIPE, text=True)
        assert second.stderr is not None
        said = second.stderr.readline()
        assert "waiting until that has ended" in said, said + second.stderr.read()
        assert not out.exists()
    second.communicate()
    assert second.returncode == 0
    assert LatencyRecord.load(out).subject == "own-x2"


def test_a_network_without_parameters_costs_its_resampling(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "cost.json"
    run("complexity", f"{folder}/own.py:nearest", "-s", 2, "--output-size", "32x24", "--out", out)
    record = ComplexityRecord.load(out)
    assert (record.params, record.flops) == (0, 3 * 32 * 24)  # as fvcore: one per element


@pytest.mark.usefixtures("done")
def test_a_network_without_parameters_makes_pictures(folder: Path, tmp_path: Path) -> None:
    data, out = folder / "data/mine", tmp_path / "sr"
    run("restore", f"{folder}/own.py:nearest", "-s", 2, "--data", data, "--out", out)
    assert sorted(path.name for path in out.iterdir()) == ["first.png", "second.png"]


@pytest.mark.parametrize("verb", ["restore", "lam"])
def test_a_network_that_cannot_take_all_pictures_of_a_set_is_told_first(
    verb: str, folder: Path, tmp_path: Path
) -> None:
    noise = np.random.default_rng(0)
    for name, height in (("a", 64), ("b", 70)):
        image = noise.integers(0, 256, (height, 48, 3), dtype=np.uint8)
        write_png(tmp_path / f"set/HR/{name}.png", image)
    run("prepare", tmp_path / "set", "--out", tmp_path / "set", "-s", 2)
    words = {
        "restore": ("--data", tmp_path / "set"),
        "lam": ("--set", tmp_path / "set", "--crop", 0),
    }
    told = refused(
        verb, f"{folder}/own.py:in_blocks", "-s", 2, *words[verb], "--out", tmp_path / "o"
    )
    assert "cannot upscale LR pictures of 24x35" in told
    assert "it needs multiples of 8" in told
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("latency",), "name NETWORK, or --job FILE"),
        (("train",), "name RUN, or --job FILE"),
        (("restore", "bicubic"), "name --scale, or --job FILE"),
        (("quality", "--sr", "a"), "name --hr, or --job FILE"),
        (
            ("complexity", "hit_sir", "--job", "FILE"),
            "the job file sets everything; leave out NETWORK",
        ),
        (
            ("complexity", "--scale", "2", "--job", "FILE"),
            "the job file sets everything; leave out --scale",
        ),
        (("complexity", "--job", "gone.json"), "rerun `snakemake`: no such file"),
        (("scaling", "--job", "FILE"), "is a job for `hitsr complexity`, not for `hitsr scaling`"),
    ],
)
def test_what_to_do_is_said_once(
    plan: Plan, tmp_path: Path, words: tuple[str, ...], told: str
) -> None:
    next(job for job in plan.jobs if job.kind == "complexity").save(tmp_path / "job.json")
    assert told in refused(*(tmp_path / "job.json" if word == "FILE" else word for word in words))


@pytest.mark.parametrize("verb", ["complexity", "latency", "scaling", "scaling-time", "convert"])
def test_a_file_of_another_scale_is_refused(verb: str, tmp_path: Path) -> None:
    network = hitsr.NETWORKS["swinir_light"]
    (tmp_path / "x3.json").write_text(ScaledNetwork(network=network, scale=3).to_json())
    told = refused(verb, tmp_path / "x3.json", "--scale", 4)
    assert "x3.json: scale is x3, but --scale is 4; make them agree" in told


def test_a_file_s_scale_is_taken_where_none_is_asked_for(tmp_path: Path) -> None:
    small: NetworkSpec = hitsr.NETWORKS["hit_sir"].patch({"depths": [1], "windows.ratios": [1]})
    (tmp_path / "x3.json").write_text(ScaledNetwork(network=small, scale=3).to_json())
    out = tmp_path / "out.json"
    run("complexity", tmp_path / "x3.json", "--output-size", "48x48", "--out", out)
    assert (ComplexityRecord.load(out).scale, ComplexityRecord.load(out).input_size) == (
        3,
        (16, 16),
    )


def test_the_scale_is_that_of_the_run_or_of_the_weights(
    done: Plan, folder: Path, tmp_path: Path
) -> None:
    record = folder / "results/tiny/weights/hit_sir-x2-s1/record.json"
    weights, spec = record.with_name("weights.safetensors"), tmp_path / "network.json"
    trained, _ = found(done, folder, TrainingRecord, "weights/hit_sir-x2-s1/record.json")
    assert trained.kind == "train"
    spec.write_text(trained.run.network.to_json())
    (tmp_path / "run.json").write_text(trained.run.to_json())
    expected = sorted((folder / "results/tiny/pictures/hit_sir-x2-s1.mine").glob("*.png"))
    for number, network in enumerate((record, tmp_path / "run.json", spec)):
        out = tmp_path / f"sr{number}"
        run("restore", network, "--weights", weights, "--data", folder / "data/mine", "--out", out,
            "--device", "cpu")  # fmt: skip
        assert [file.read_bytes() for file in sorted(out.iterdir())] == [
            file.read_bytes() for file in expected
        ]
        told = refused("restore", network, "--weights", weights, "--data", folder / "data/mine",
                       "--out", out, "--scale", 3)  # fmt: skip
        assert ("weights of hit_sir x2, not of hit_sir x3" in told) == (network == spec)
        assert ("scale is x2, but --scale is 3; make them agree" in told) == (network != spec)
    scored = ("quality", "--sr", out, "--hr", folder / "data/mine/HR")
    for each in (record, tmp_path / "run.json"):
        run(*scored, "--run", each, "--out", tmp_path / "q.json")
        assert QualityRecord.load(tmp_path / "q.json").scale == 2
        assert "scale is x2, but --scale is 3" in refused(*scored, "--run", each, "-s", 3)
    run("export", "--network", spec, "--weights", weights, "--out", tmp_path / "model")
    picture = folder / "data/mine/HR/first.png"
    for file in (weights, tmp_path / "model/model.safetensors"):
        run("upscale", picture, "--network", spec, "--weights", file, "--out", tmp_path / "large",
            "--overwrite")  # fmt: skip
    run("lam", spec, "--weights", weights, "--set", folder / "data/mine", "--crop", 32, "--steps",
        2, "--out", tmp_path / "lam")  # fmt: skip


@pytest.mark.usefixtures("done")
def test_a_scale_that_no_file_says_is_asked_for(folder: Path, tmp_path: Path) -> None:
    torch.save(hitsr.create("hit_sir", 2).state_dict(), tmp_path / "a.pth")
    words = ("hit_sir", "--weights", tmp_path / "a.pth", "--data", folder / "data/mine")
    told = refused("restore", *words, "--out", tmp_path / "sr")
    assert f"hit_sir, {tmp_path}/a.pth: neither says its scale; name --scale" in told


def test_weights_of_another_run_are_refused(done: Plan, folder: Path, tmp_path: Path) -> None:
    trained, _ = found(done, folder, TrainingRecord, "weights/hit_sir-x2-s1/record.json")
    assert trained.kind == "train"
    other = trained.run.model_copy(update={"seed": 2})
    (tmp_path / "run.json").write_text(other.to_json())
    weights = folder / "results/tiny/weights/hit_sir-x2-s1/weights.safetensors"
    told = refused(
        "restore", tmp_path / "run.json", "--weights", weights, "--data", "a", "--out", "b"
    )
    assert "weights of the run hit_sir-x2-s1" in told
    assert "not of hit_sir-x2-s2" in told


@pytest.mark.parametrize("verb", ["restore", "lam", "export", "upscale"])
def test_every_verb_refuses_weights_of_another_network(
    verb: str, folder: Path, tmp_path: Path
) -> None:
    base = hitsr.NETWORKS["hit_sir"].patch({"depths": [6], "width": 24, "windows.base": 4})
    other = hitsr.create(base.patch({"mixer.softmax": True}), 2)
    weights, spec, out = tmp_path / "w.safetensors", tmp_path / "base.json", tmp_path / "out"
    save_weights(other, weights, metadata_of(other.subject))
    spec.write_text(base.to_json())
    data = folder / "data/mine"
    words: dict[str, tuple[object, ...]] = {
        "restore": (spec, "--data", data),
        "lam": (spec, "--set", data, "--crop", 32),
        "export": ("--network", spec),
        "upscale": (data / "HR/first.png", "--network", spec),
    }
    told = refused(verb, *words[verb], "--weights", weights, "--scale", 2, "--out", out)
    assert "mixer.softmax is True, not False" in told
