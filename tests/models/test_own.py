"""Networks of one's own, by file, by installed package, and what is refused."""

from pathlib import Path

import pytest
import torch

from hitsr.base.errors import SpecError
from hitsr.models.own import load_own
from hitsr.specs.source import is_source

NEAREST = """
from torch import nn

def build(scale):
    return nn.Upsample(scale_factor=scale)

def wrong(scale):
    return nn.Upsample(scale_factor=scale + 1)

def nothing(scale):
    return None
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "mine.py"
    path.write_text(NEAREST)
    return path


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_function_in_a_file_makes_a_network_in_eval_mode(file: Path, scale: int) -> None:
    model = load_own(f"{file}:build", scale)
    assert not model.training
    assert model(torch.zeros(2, 3, 5, 7)).shape == (2, 3, 5 * scale, 7 * scale)


def test_function_of_an_importable_package_makes_a_network(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(file.parent)
    assert load_own("mine:build", 3)(torch.zeros(1, 3, 2, 2)).shape == (1, 3, 6, 6)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("biuld", "no function 'biuld' there; did you mean 'build'"),
        ("wrong", r"made \(1, 3, 48, 72\) of \(1, 3, 16, 24\); at x2 want \(1, 3, 32, 48\)"),
        ("nothing", "made NoneType, want a torch.nn.Module"),
    ],
)
def test_what_does_not_upscale_is_refused(file: Path, name: str, told: str) -> None:
    with pytest.raises(SpecError, match=told):
        load_own(f"{file}:{name}", 2)


def test_missing_file_and_package_are_told() -> None:
    with pytest.raises(SpecError, match=r"absent\.py: no such file"):
        load_own("absent.py:build", 2)
    with pytest.raises(SpecError, match="No module named 'absent_package'"):
        load_own("absent_package.networks:build", 2)


def test_names_and_files_of_specs_are_not_own() -> None:
    assert is_source("mine.py:build")
    assert is_source("spandrel:weights.pth")
    assert not is_source("hit_sir")
    assert not is_source("networks/hit_sir-x2.json")
