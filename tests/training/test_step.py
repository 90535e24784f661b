"""Steps as a CUDA graph, which a stand-in for CPUs captures and repeats (graph_stand_in.py)."""

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from hitsr.base.seeds import derive
from hitsr.data.patches import Patches
from hitsr.models.backbone import create
from hitsr.records import LogLine, TrainingRecord, read_log
from hitsr.runtime.tensors import evaluating
from hitsr.specs.network import NetworkSpec
from hitsr.specs.recipe import Recipe
from hitsr.specs.run import RunSpec
from hitsr.specs.zoo import NETWORKS
from hitsr.training.kernels import autocast_of
from hitsr.training.loop import train

CPU = torch.device("cpu")
# Random numbers in each step, and in eval mode cached biases.
CHANGES = {
    "depths": [2], "windows.base": 4, "width": 12, "mixer.heads": 2, "stochastic_depth": 0.5,
}  # fmt: skip


def _tiny(network: NetworkSpec) -> NetworkSpec:
    is_conversion = network.mixer.kind == "correlation"
    return network.patch({**CHANGES, "windows.ratios": [0.5, 1] if is_conversion else [1, 1]})


TINY = {name: _tiny(network) for name, network in NETWORKS.items()}


def trained(
    out: Path, *, model: nn.Module | None = None, network: NetworkSpec = TINY["hit_sir"],
    steps: int = 8, batch: int = 2, patch: int = 8, device: torch.device = CPU,
    said: list[str] | None = None, graph: Any = True, **recipe: Any,
) -> tuple[TrainingRecord, list[LogLine], bytes]:  # fmt: skip
    """Train, with a validation that sees all weights: record, log without clock, weights file."""
    values = {"learning_rate": 3e-3, "milestones": (5,), "log_every": 1, "validate_every": 2}
    run = RunSpec(
        network=network, scale=2, seed=1, data="train", validation="test",
        recipe=Recipe(steps=steps, batch=batch, patch=patch, **values | recipe),
    )  # fmt: skip
    hr = np.random.default_rng(0).integers(0, 256, (4 * patch, 4 * patch, 3), np.uint8)
    patches = Patches(
        [(hr[::2, ::2], hr)], scale=2, patch=patch, batch=batch, seed=derive(run.seed, "patches")
    )
    if model is None:
        torch.manual_seed(derive(run.seed, "weights"))
        model = create(run.network, run.scale, autocast=autocast_of(run.recipe))

    def validate(model: nn.Module) -> float:
        with evaluating(model), torch.inference_mode():
            out: Tensor = model(torch.linspace(0, 1, 3 * 64).view(1, 3, 8, 8).to(device))
        return float(50 * out.double().abs().mean().clamp(max=2))

    record = train(
        model, run, patches, validate, out, device, job_hash="0", graph=graph,
        tell=(said if said is not None else []).append, quiet=True,
    )  # fmt: skip
    clocks = {"seconds": 0, "device_seconds": 0}
    log = [line.model_copy(update=clocks) for line in read_log(out / "log.jsonl")]
    return record, log, (out / "weights.safetensors").read_bytes()


@pytest.mark.parametrize(
    ("name", "precision"),
    [*product(TINY, ["float32"]), ("hit_sir", "bfloat16"), ("swinir_light", "bfloat16")],
)
def test_a_training_with_a_graph_is_that_without(
    tmp_path: Path, graphs_on_cpu: Any, name: str, precision: str
):
    options = {"network": TINY[name], "precision": precision}
    plain, *expected = trained(tmp_path / "plain", graph=False, **options)
    graphed, *found = trained(tmp_path / "graph", **options)
    assert found == expected
    assert len({line.validation_psnr_db for line in found[0]}) == 5  # None, and four others
    assert (plain.graph, plain.no_graph, graphed.graph, graphed.no_graph) == (
        False, None, True, None,
    )  # fmt: skip
    assert (graphs_on_cpu.captures, graphs_on_cpu.replays) == (1, 5)


class Asking(nn.Module):
    """A network whose forward waits for a value, between two draws of random numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Conv2d(3, 12, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = x + torch.rand(1)
        if x.mean().item() > 100:
            raise AssertionError
        return nn.functional.pixel_shuffle(self.body(x * torch.rand(1)), 2)


def _asking() -> nn.Module:
    torch.manual_seed(0)
    return Asking()


@pytest.mark.usefixtures("graphs_on_cpu")
def test_a_step_that_waits_for_the_device_is_taken_without_a_graph(tmp_path: Path):
    said: list[str] = []
    _, *expected = trained(tmp_path / "plain", graph=False, model=_asking())
    record, *found = trained(tmp_path / "graph", model=_asking(), said=said)
    assert found == expected
    assert record.no_graph is not None
    assert "_local_scalar_dense" in record.no_graph
    assert not record.graph
    (word,) = said
    assert word.startswith("hit_sir-x2-s1: steps are launched kernel by kernel, not as a CUDA")
    assert record.no_graph in word


def test_after_a_capture_that_failed_steps_go_on_as_they_would_have(
    tmp_path: Path, graphs_on_cpu: Any
):
    said: list[str] = []
    _, *expected = trained(tmp_path / "plain", graph=False)
    graphs_on_cpu.failure = RuntimeError("no more memory")
    record, *found = trained(tmp_path / "graph", said=said)
    assert found == expected
    assert record.no_graph is not None
    assert "previous error during capture" in record.no_graph
    assert len(said) == 1


def test_a_cpu_is_told_only_when_a_graph_is_asked_for(tmp_path: Path):
    said: list[str] = []
    _, *expected = trained(tmp_path / "auto", graph="auto", said=said)
    assert said == []
    record, *found = trained(tmp_path / "graph", graph=True, said=said)
    assert found == expected
    assert record.no_graph is not None
    assert "CUDA graphs need a CUDA device" in record.no_graph
    assert len(said) == 1


@pytest.mark.usefixtures("graphs_on_cpu")
def test_a_training_of_two_steps_captures_nothing(tmp_path: Path):
    record, *_ = trained(tmp_path, steps=2, milestones=())
    assert (record.graph, record.no_graph) == (False, "only 2 steps were taken")
