"""The three lists of packages say the same: pyproject.toml, requirements.lock, environment.yml."""

import math
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

REPOSITORY = Path(__file__).parents[1]
CONDA_NAMES = {"pytorch": "torch", "matplotlib-base": "matplotlib"}
PYTHON = {"python_version": "3.11", "python_full_version": "3.11.9"}
# pyiqa's metrics that need no download of weights, by how many pictures they take.
OFFLINE = {
    2: ("ms_ssim", "cw_ssim", "fsim", "vif", "vsi", "gmsd", "nlpd", "mad"),
    1: ("piqe", "entropy"),
}


def locked() -> dict[str, str]:
    """Version of each package in the lock file, for Python 3.11."""
    lines = (REPOSITORY / "requirements.lock").read_text().splitlines()
    pins = [Requirement(line.rstrip(" \\")) for line in lines if not line[0].isspace()]
    return {
        pin.name: str(pin.specifier).removeprefix("==")
        for pin in pins
        if pin.marker is None or pin.marker.evaluate(PYTHON)
    }


def required() -> list[Requirement]:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    texts = [*project["dependencies"], *extras["export"], *extras["spandrel"], *extras["dev"]]
    return [made for made in map(Requirement, texts) if made.name != "hitsr"]


def test_lock_holds_every_requirement_at_a_version_it_admits() -> None:
    pins = locked()
    for requirement in required():
        assert pins[requirement.name] in requirement.specifier, requirement


def test_conda_environment_has_the_locked_versions() -> None:
    environment = yaml.safe_load((REPOSITORY / "environment.yml").read_text())
    listed = [line for line in environment["dependencies"] if isinstance(line, str)]
    pip = next(line["pip"] for line in environment["dependencies"] if isinstance(line, dict))
    pins = dict(line.split("=") for line in listed if "=" in line and "python=" not in line)
    pins |= dict(line.split("==") for line in pip if "==" in line)
    found = {CONDA_NAMES.get(name, name): version for name, version in pins.items()}
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    names = {Requirement(text).name for text in project["dependencies"]}
    assert found == {name: version for name, version in locked().items() if name in names}


def test_lock_names_no_address() -> None:
    text = (REPOSITORY / "requirements.lock").read_text()
    assert "://" not in text
    assert " @ " not in text


def test_lock_leaves_out_what_nothing_imports() -> None:
    heavy = {"bitsandbytes", "transformers", "datasets", "accelerate", "tensorboard", "pre-commit"}
    assert not heavy & set(locked())


@pytest.mark.parametrize("name", [name for names in OFFLINE.values() for name in names])
def test_metric_without_download_runs(offline_scores: dict[str, float], name: str) -> None:
    assert math.isfinite(offline_scores[name])


@pytest.fixture(scope="module")
def offline_scores() -> dict[str, float]:
    """Each metric on two pictures, in a process of its own: pyiqa warns as it is imported."""
    script = f"""
import json, pyiqa, torch
torch.manual_seed(0)
pictures = torch.rand(2, 1, 3, 192, 192)
scores = {{}}
for count, names in {OFFLINE}.items():
    for name in names:
        scores[name] = float(pyiqa.create_metric(name, device="cpu")(*pictures[:count]))
print(json.dumps(scores))
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    scores: dict[str, float] = yaml.safe_load(done.stdout.splitlines()[-1])
    return scores
