"""Training on a GPU: it repeats every bit, with a graph and without, and near float32 otherwise."""

import sys
from pathlib import Path
from runpy import run_path
from typing import Any

import numpy as np
import pytest
import torch

from hitsr.data.patches import Patches
from hitsr.models.backbone import create
from hitsr.runtime.memory import watching
from hitsr.specs.recipe import Recipe
from hitsr.specs.zoo import NETWORKS
from hitsr.training.feeding import fed
from hitsr.training.kernels import autocast_of, kernels
from hitsr.training.recomputed import recompute_activations
from hitsr.training.spawning import run_together
from hitsr.training.step import TrainingStep

TESTS = Path(__file__).parents[1] / "training"
STEPS = run_path(str(TESTS / "test_step.py"))
PUBLISHED = {"batch": 4, "patch": 64, "learning_rate": 5e-4}


def _trained(out: Path, gpu: torch.device, name: str, graph: bool, **recipe: Any) -> Any:
    """Record, log without clock and weights file of a training at published size."""
    return STEPS["trained"](
        out, network=NETWORKS[name], device=gpu, graph=graph, **PUBLISHED | recipe
    )


@pytest.mark.parametrize("name", NETWORKS)
def test_two_trainings_with_a_graph_and_one_without_give_equal_bytes(
    tmp_path: Path, gpu: torch.device, name: str
):
    (record, *one), (_, *other), (plain, *without) = (
        _trained(tmp_path / folder, gpu, name, graph=folder != "plain")
        for folder in ("one", "other", "plain")
    )
    assert record.no_graph is None
    assert (record.graph, plain.graph) == (True, False)
    assert record.settings["deterministic_algorithms"] == "True"
    assert one == other
    assert one == without


@pytest.mark.parametrize("name", ["hit_sir", "swinir_light"])
def test_losses_are_near_those_of_deterministic_float32(
    tmp_path: Path, gpu: torch.device, name: str
):
    _, expected, _ = _trained(tmp_path / "exact", gpu, name, graph=True)
    for changes in ({"precision": "bfloat16"}, {"precision": "tf32"}, {"deterministic": False}):
        folder = tmp_path / "".join(changes) / str(*changes.values())
        record, found, _ = _trained(folder, gpu, name, graph=True, **changes)
        assert record.graph, changes
        assert [line.loss for line in found] == pytest.approx(
            [line.loss for line in expected], rel=0.05
        ), changes


@pytest.mark.parametrize(
    "recipe",
    [
        {"precision": "float16"},  # whose scale is found in the first steps
        {"precision": "float16", "clip": 0.1, "parts": 2},
        {"parts": 4, "ema": 0.9},
        {"upsampler_only": 4},
    ],
)
@pytest.mark.parametrize("name", ["hit_sir", "swinir_light"])
def test_whatever_a_recipe_wants_a_graph_holds(
    tmp_path: Path, gpu: torch.device, name: str, recipe: dict[str, Any]
):
    steps = {"steps": 24, **recipe}
    record, *found = _trained(tmp_path / "graph", gpu, name, graph=True, **steps)
    plain, *expected = _trained(tmp_path / "plain", gpu, name, graph=False, **steps)
    assert (record.graph, record.no_graph) == (True, None)
    assert record.skipped == plain.skipped
    assert len(record.skipped) < 20
    assert found == expected


@pytest.mark.parametrize("graph", [False, True])
@pytest.mark.parametrize("precision", ["float32", "float16"])
@pytest.mark.parametrize("name", ["hit_sir", "swinir_light"])
def test_blocks_that_are_computed_again_give_the_same_weights_with_less_memory(
    gpu: torch.device, name: str, precision: str, graph: bool
):
    states, peaks = [], []
    for recomputes in (False, True):
        step = _step(gpu, name, graph, recomputes=recomputes, precision=precision)
        with watching(gpu) as memory:
            _take(step, gpu, 6)
            peaks.append(memory.peak_bytes)
        assert step.is_captured == graph
        states.append(step.state())
    assert peaks[1] < 0.7 * peaks[0]
    for key, value in states[0].items():
        assert torch.equal(states[1][key], value), key


@pytest.mark.parametrize(
    "recipe", [{"ema": 0.9}, {"precision": "float16"}, {"parts": 2}, {"upsampler_only": 5}]
)
def test_a_step_with_a_graph_goes_on_from_its_state_to_the_bit(
    gpu: torch.device, recipe: dict[str, Any]
):
    whole, first, second = (_step(gpu, "hit_sir", graph=True, **recipe) for _ in range(3))
    _take(whole, gpu, 10)
    _take(first, gpu, 5)
    second.load(first.state(), 5)
    _take(second, gpu, 5)
    assert second.is_captured
    found, expected = second.state(), whole.state()
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        assert torch.equal(found[key], value), key


def test_a_step_that_is_not_finite_changes_no_bit_in_a_graph(gpu: torch.device):
    step = _step(gpu, "hit_sir", graph=True)
    _take(step, gpu, 4)
    assert step.is_captured
    before = step.state()
    lr, hr = _batch(gpu, 5)
    hr[-1, 0, 0, 0] = torch.inf
    assert step(lr, hr).tolist() == [torch.inf, 1]
    for key, value in step.state().items():
        assert torch.equal(before[key], value), key
    assert step(*_batch(gpu, 6))[1] == 0


def _step(
    gpu: torch.device, name: str, graph: bool, *, recomputes: bool = False, **recipe: Any
) -> TrainingStep:
    """Of a network at published size, with few patches."""
    made = Recipe(steps=100, batch=4, patch=32, learning_rate=5e-4, **recipe)
    torch.manual_seed(0)
    model = create(name, 2, autocast=autocast_of(made)).to(gpu).train()
    if recomputes:
        recompute_activations(model)
    return TrainingStep(model, made, gpu, graph, pytest.fail)


def _take(step: TrainingStep, gpu: torch.device, steps: int) -> None:
    with kernels(Recipe(steps=100, batch=4, patch=32, learning_rate=5e-4), gpu):
        for _ in range(steps):
            step(*_batch(gpu, step.taken + 1))


def _batch(gpu: torch.device, number: int) -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(number)
    lr, hr = (torch.rand(4, 3, side, side, generator=random).to(gpu) for side in (32, 64))
    return lr, hr


def test_two_gpus_give_the_bytes_of_one(tmp_path: Path, gpu: torch.device):
    if torch.cuda.device_count() < 2:
        pytest.skip("needs two NVIDIA GPUs")
    member = str(TESTS / "member.py")
    assert run_together([sys.executable, member, str(tmp_path), "cuda"], 2) == 0
    by = run_path(member)
    for name in by["TRAININGS"]:
        by["work"](tmp_path / name, name, device=gpu, graph=True)
        expected = STEPS["results"](tmp_path / name)
        assert STEPS["results"](tmp_path / "2 processes" / name) == expected, name


def test_batches_are_those_of_a_cpu_bit_for_bit(gpu: torch.device):
    hr = np.random.default_rng(0).integers(0, 256, (300, 300, 3), np.uint8)
    patches = Patches([(hr[::3, ::3], hr)], scale=3, patch=64, batch=16, seed=1)
    steps = range(3, 43)
    with fed(patches, steps, gpu) as batches:
        for step, batch in zip(steps, batches, strict=True):
            torch.cuda._sleep(1_000_000)  # keeps the device behind the loader
            for found, expected in zip(batch, patches.at(step), strict=True):
                assert found.device == gpu
                assert found.cpu().numpy().tobytes() == expected.tobytes()
