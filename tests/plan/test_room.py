"""Room on disk, against sizes that are known otherwise."""

from pathlib import Path

import pytest
import torch

import hitsr
from hitsr.plan.planning import Plan, make_plan
from hitsr.plan.reasons import steps_of
from hitsr.plan.room import Disk, Need, disks_of, known_parameters, needs_of
from hitsr.specs.config import Config
from hitsr.specs.zoo import NETWORKS

ROOT = Path(__file__).parents[2]


@pytest.fixture
def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Plan:
    monkeypatch.chdir(tmp_path)
    train = {
        "scales": [2, 3, 4], "device": "cpu",
        "recipe": {"steps": 9, "batch": 1, "patch": 8, "learning_rate": 1e-3, "ema": 0.9},
    }  # fmt: skip
    config = {
        "name": "room", "title": "Room", "networks": ["hit_sir"], "train": train,
        "data": {
            "root": "data", "source": "folder", "train": "DIV2K", "validation": "Set5",
            "test": ["Set5"],
        },
        "efficiency": {
            "scales": [2], "output_size": [48, 32], "latency": {"scales": [2], "device": "cpu"},
        },
        "lam": {"sets": ["Set5"], "scales": [2], "crop": 64},
    }  # fmt: skip
    return make_plan(Config.model_validate(config), {})


SIZES = {"DIV2K": [(2040, 1356)] * 800, "Set5": [(512, 512)]}


def needs(plan: Plan, sizes: dict[str, list[tuple[int, int]]]) -> dict[str, Need]:
    parameters = known_parameters(plan.layout.results, ROOT / "reports")
    found = needs_of(plan, steps_of(plan, None, {}), sizes, parameters)
    return {need.what: need for need in found}


def test_packs_of_div2k_take_the_nine_gigabytes_that_the_docs_say(plan: Plan) -> None:
    found = needs(plan, SIZES)
    assert found["decoded pictures (packs)"].known / 1e9 == pytest.approx(9.45, abs=0.05)
    assert found["decoded pictures (packs)"].folder == Path("data/packs")


def test_weights_take_what_torch_says_of_the_parameters(plan: Plan) -> None:
    found = needs(plan, SIZES)
    with torch.device("meta"):
        counts = [
            sum(each.numel() for each in hitsr.create("hit_sir", scale).parameters())
            for scale in (2, 3, 4)
        ]
    # Published counts are in thousands.
    assert found["weights"].known == pytest.approx(4 * sum(counts), rel=2e-3)
    # A checkpoint has weights, their average and two moments; a training at work has two.
    expected = 4 * found["weights"].known + 4 * 4 * max(counts)
    assert found["checkpoints"].known == pytest.approx(expected, rel=2e-3)


def test_pictures_take_at_most_their_samples_and_unknown_ones_are_counted(plan: Plan) -> None:
    found = needs(plan, SIZES)
    # Of the network, bicubic and HR, at three scales.
    assert found["restored pictures"].known == 9 * 512 * 512 * 3
    assert found["restored pictures"].is_most
    # One map: float32 at 32x32, drawn in three panels of 64x64.
    assert found["attribution maps"].known == 3 * (4 * 32 * 32 + 3 * 64 * 64)
    found = needs(plan, {})
    assert (found["restored pictures"].known, found["restored pictures"].unknown) == (0, 9)


def test_what_is_there_needs_no_room(plan: Plan) -> None:
    for folder in ("data/packs/DIV2K/HR", "data/packs/Set5/HR"):
        Path(folder).mkdir(parents=True)
    found = needs(plan, SIZES)
    assert found["decoded pictures (packs)"].known / 1e9 == pytest.approx(2.81, abs=0.02)


def test_parameters_of_all_six_networks_are_known_as_published(tmp_path: Path) -> None:
    known = known_parameters(tmp_path / "a", ROOT / "reports")
    assert len(known) == 3 * len(NETWORKS)


def test_a_full_disk_is_noticed(tmp_path: Path) -> None:
    small = Need("files", tmp_path / "a", 1, 0, False)
    large = small._replace(folder=tmp_path / "b", known=10**18)
    (disk,) = disks_of([small])
    assert disk.suffices
    (disk,) = disks_of([small, large])
    assert isinstance(disk, Disk)
    assert not disk.suffices
    assert disk.folders == (tmp_path / "a", tmp_path / "b")
