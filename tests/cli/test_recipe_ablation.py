"""The ablation of recipes, trained for real: six networks, four recipes, averages on and off."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

from hitsr.base.seeds import derive
from hitsr.base.shipped import SHIPPED
from hitsr.cli import app
from hitsr.data.images import write_png
from hitsr.models.backbone import create
from hitsr.plan.jobs import PrepareJob, TrainJob
from hitsr.plan.planning import Plan, make_plan
from hitsr.records import TrainingRecord
from hitsr.specs.ablation import Ablation
from hitsr.specs.config import Config
from hitsr.specs.run import RunSpec
from hitsr.specs.zoo import NETWORKS

Weights = dict[str, torch.Tensor]
STUDY = Ablation.read(SHIPPED / "ablations" / "recipe.yaml")
PAIRS = {
    "hit_sr": "hit_sr_ema",
    "swinir_light_no_ema": "swinir_light",
    "srformer_light": "srformer_light_ema",
    "swinir_ng": "swinir_ng_ema",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recipes")
    noise = np.random.default_rng(0)
    for name in ("first", "second"):
        image = noise.integers(0, 256, (48, 40, 3), dtype=np.uint8)
        write_png(folder / "data/mine/HR" / f"{name}.png", image)
    return folder


def _plan(folder: Path, steps: int) -> Plan:
    sets = {"train": "mine", "validation": "mine", "test": ["mine"]}
    recipe = {"steps": steps, "batch": 2, "parts": 1, "patch": 16, "learning_rate": 1e-3}
    changes = {"depths": [2], "width": 24, "windows": {"base": 4, "ratios": [1, 1], "shift": False}}
    config: dict[str, Any] = {
        "name": f"tiny_{steps}", "title": "Tiny", "networks": [], "ablations": ["recipe"],
        "data": {"root": str(folder / "data"), "source": "folder", **sets},
        "train": {"scales": [2], "device": "cpu", "recipe": recipe, "changes": changes},
        "efficiency": {"latency": {"scales": [2], "device": "cpu"}},
    }  # fmt: skip
    return make_plan(Config.parse(config, "test"), {"recipe": STUDY})


def _trained(plan: Plan, folder: Path, jobs: list[TrainJob]) -> dict[str, Weights]:
    """The weights of these jobs' runs, by name."""
    prepared = [job for job in plan.jobs if isinstance(job, PrepareJob)]
    for job in [*prepared, *jobs]:
        file = folder / plan.layout.job(job.kind, job.name)
        job.save(file)
        done = CliRunner().invoke(app, [job.kind, "--job", str(file)])
        assert done.exit_code == 0, (job.name, done.output, done.exception)
    found = {}
    for job in jobs:
        assert job.output is not None
        assert TrainingRecord.load(job.output, job_hash=job.hash).run == job.run
        found[job.run.name] = load_file(job.output.parent / "weights.safetensors")
    return found


def _runs(plan: Plan) -> dict[tuple[str, str], RunSpec]:
    return {(row.base, row.variant): row.runs[0] for row in plan.ablations["recipe"]}


def _begun(run: RunSpec) -> Weights:
    """The weights that a run begins with."""
    torch.manual_seed(derive(run.seed, "weights"))
    return create(run.network, run.scale).state_dict()


def _moved(weights: Weights, begun: Weights) -> float:
    """How far weights are from those of the beginning."""
    return sum(float((weights[key] - begun[key]).square().sum()) for key in weights) ** 0.5


@pytest.fixture(scope="module")
def plan(folder: Path) -> Plan:
    return _plan(folder, 2)


@pytest.fixture(scope="module")
def trained(plan: Plan, folder: Path) -> dict[str, Weights]:
    """All networks by hit_sr, with averages and without; hit_sir by every recipe."""
    runs = _runs(plan)
    wanted = {
        run.name
        for (base, variant), run in runs.items()
        if base == "hit_sir" or variant.startswith("hit_sr")
    }
    jobs = [job for job in plan.jobs if isinstance(job, TrainJob) and job.run.name in wanted]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return _trained(plan, folder, jobs)


def test_every_network_meets_every_recipe_with_and_without_an_average(plan: Plan) -> None:
    runs = _runs(plan)
    assert len(runs) == len({run.name for run in runs.values()}) == len(NETWORKS) * 8
    assert {variant for _, variant in runs} == {*PAIRS, *PAIRS.values()}
    for base in NETWORKS:
        for off, on in PAIRS.items():
            plain, averaged = runs[base, off].recipe, runs[base, on].recipe
            assert (plain.ema, averaged.ema) == (None, 0.999)
            assert averaged == plain.model_copy(update={"ema": 0.999})
            assert (plain.steps, plain.batch, plain.patch) == (2, 2, 16)


def test_recipes_train_different_weights(plan: Plan, trained: dict[str, Weights]) -> None:
    runs = _runs(plan)
    first = [trained[runs["hit_sir", variant].name]["first.weight"] for variant in PAIRS]
    assert all(not torch.equal(a, b) for i, a in enumerate(first) for b in first[:i])


def test_averages_stay_near_the_beginning(plan: Plan, trained: dict[str, Weights]) -> None:
    """After two steps an average with decay 0.999 has moved by less than 0.2 % of the way."""
    runs = _runs(plan)
    for base in NETWORKS:
        begun = _begun(runs[base, "hit_sr"])
        plain = _moved(trained[runs[base, "hit_sr"].name], begun)
        averaged = _moved(trained[runs[base, "hit_sr_ema"].name], begun)
        assert 0 < averaged < 0.0021 * plain


def test_the_average_is_that_of_the_weights_after_each_step(
    plan: Plan, trained: dict[str, Weights], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A step's weights depend on no later step, so a run of one step shows those between."""
    monkeypatch.chdir(folder)
    shorter = _plan(folder, 1)
    runs, between = _runs(plan), _runs(shorter)["hit_sir", "hit_sr"]
    jobs = [job for job in shorter.jobs if isinstance(job, TrainJob) and job.run == between]
    (after_one,) = _trained(shorter, folder, jobs).values()
    begun = _begun(between)
    after_two = trained[runs["hit_sir", "hit_sr"].name]
    for key, found in trained[runs["hit_sir", "hit_sr_ema"].name].items():
        once = 0.999 * begun[key] + 0.001 * after_one[key]
        torch.testing.assert_close(found, 0.999 * once + 0.001 * after_two[key])
