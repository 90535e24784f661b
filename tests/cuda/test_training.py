"""Training on a GPU: it repeats every bit, with a graph and without, and near float32 otherwise."""

from pathlib import Path
from runpy import run_path
from typing import Any

import numpy as np
import pytest
import torch

from hitsr.data.patches import Patches
from hitsr.specs.zoo import NETWORKS
from hitsr.training.feeding import fed

STEPS = run_path(str(Path(__file__).parents[1] / "training" / "test_step.py"))
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
