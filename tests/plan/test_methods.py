"""What a config scores, by name, and where released weights are found."""

from pathlib import Path
from typing import Any

import pytest

from hitsr.plan.methods import find_weights, is_own, methods, own_hash, own_name, weight_names
from hitsr.specs.config import Config

RECIPE = {"steps": 2, "batch": 1, "patch": 8, "learning_rate": 1e-3}


def config(**parts: Any) -> Config:
    data = {"root": "data", "source": "wheels", "train": "train", "validation": "test"}
    return Config.parse(
        {
            "name": "a",
            "title": "A",
            "networks": ["swinir_light", "hit_sir"],
            "data": {**data, "test": ["test"]},
            "efficiency": {"latency": {"scales": [2]}},
            **parts,
        },
        "a.yaml",
    )


def test_runs_have_seeds_and_controls_do_not() -> None:
    found = methods(config(train={"scales": [2, 3], "seeds": [1, 2], "recipe": RECIPE}))
    assert [m.kind for m in found.values()].count("trained") == 2 * 2 * 2
    assert found["hit_sir-x3-s2"].network == "hit_sir"
    assert {"bicubic-x2", "hr-x3"} < set(found)


def test_released_weights_and_own_networks_stand_beside_controls_of_all_their_scales() -> None:
    own = {"mine": {"source": "mine.py:build", "scales": [4]}}
    found = methods(config(weights={"root": "w", "scales": [2]}, own=own))
    assert {name: m.kind for name, m in found.items()} == {
        "swinir_light-x2": "released",
        "hit_sir-x2": "released",
        "mine-x4": "own",
        **{f"{name}-x{scale}": "control" for name in ("bicubic", "hr") for scale in (2, 4)},
    }


def test_weights_are_found_by_any_of_their_names(tmp_path: Path) -> None:
    for path in reversed(weight_names(tmp_path, "hit_sir", 2)):
        assert find_weights(tmp_path, "hit_sir", 3) is None
        path.parent.mkdir(exist_ok=True)
        path.touch()
        assert find_weights(tmp_path, "hit_sir", 2) == path


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("nets/my-net.py:build", "my_net"),
        ("package.models.mine:build", "mine"),
        ("spandrel:weights/4x_Mine.pth", "4x_mine"),
    ],
)
def test_own_network_is_called_after_its_file(source: str, name: str) -> None:
    assert is_own(source)
    assert own_name(source) == name


def test_hash_of_an_own_network_follows_its_file(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("a = 1\n")
    source = f"{file}:build"
    before = own_hash(source, 2)
    assert before == own_hash(source, 2) != own_hash(source, 3)
    file.write_text("a = 2\n")
    assert own_hash(source, 2) != before
