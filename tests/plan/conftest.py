"""Small configs, changed by dotted path, and their plans."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hitsr.base.changes import patched
from hitsr.plan.planning import Plan, make_plan
from hitsr.specs.ablation import Ablation, read_ablations
from hitsr.specs.config import Config

ROOT = Path(__file__).parents[2]
Planned = Callable[..., Plan]
TINY: dict[str, Any] = {
    "name": "tiny",
    "title": "Tiny",
    "networks": ["swinir_light", "hit_sir"],
    "own": {"mine": {"source": "package.mine:build", "scales": [2]}},
    "data": {
        "root": "data", "source": "folder", "packs": None,
        "train": "big", "validation": "small", "test": ["small", "other"],
    },
    "train": {
        "scales": [2], "seeds": [1], "start_from": {}, "device": "cpu", "compile": False,
        "graph": "auto", "gpus": 1,
        "recipe": {"steps": 2, "batch": 1, "patch": 8, "learning_rate": 1e-3},
    },
    "weights": None,
    "efficiency": {
        "scales": [2, 3],
        "output_size": [1280, 720],
        "latency": {
            "scales": [2], "formulations": ["paper", "fused"], "samples": 3, "device": "cpu",
            "batches": [], "precisions": [], "launches": [],
        },
    },
    "lam": {"sets": ["small"], "scales": [2], "crop": 64},
    "scaling": {"over": ["window"], "scale": 2, "samples": 0},
    "ablations": ["softmax"],
}  # fmt: skip


@pytest.fixture(scope="session")
def ablations() -> dict[str, Ablation]:
    return read_ablations(ROOT / "ablations")


@pytest.fixture
def planned(ablations: dict[str, Ablation]) -> Planned:
    """The plan of the tiny config: `planned({"train.scales": [2, 3]})`."""

    def plan(changes: dict[str, Any] | None = None) -> Plan:
        config = Config.parse(patched(TINY, changes or {}, "test"), "test")
        return make_plan(config, ablations)

    return plan
