import os
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from hitsr.base.errors import SpecError
from hitsr.specs.recipe import Recipe
from hitsr.training.kernels import allow_deterministic_products, kernels, settings

CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)


def _recipe(**changes: Any) -> Recipe:
    return Recipe(steps=10, batch=1, patch=8, learning_rate=0.8, **changes)


@pytest.fixture(params=[True, False], autouse=True)
def _global_settings(request: pytest.FixtureRequest) -> Iterator[None]:
    """Whatever was set before must not matter, and comes back."""
    before = _state()
    torch.use_deterministic_algorithms(request.param, warn_only=request.param)
    torch.backends.cudnn.benchmark = request.param
    changed = _state()
    yield
    assert _state() == changed
    torch.use_deterministic_algorithms(before[0], warn_only=before[1])
    torch.utils.deterministic.fill_uninitialized_memory, torch.backends.cudnn.benchmark = before[2:]


def _state() -> tuple[bool, bool, bool, bool]:
    return (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
        torch.utils.deterministic.fill_uninitialized_memory,
        torch.backends.cudnn.benchmark,
    )


def test_kernels_are_deterministic_unless_the_recipe_wants_the_fastest() -> None:
    with kernels(_recipe(), CPU):
        assert _state() == (True, False, False, False)
    with kernels(_recipe(deterministic=False), CPU):
        assert _state() == (False, False, False, True)
    with pytest.raises(KeyError), kernels(_recipe(), CPU):
        raise KeyError


def test_no_kernels_are_tried_for_pictures_of_many_sizes() -> None:
    recipe = _recipe(deterministic=False)
    with kernels(recipe, CPU):
        with kernels(recipe, CPU, of_one_size=False):
            assert _state() == (False, False, False, False)
        assert _state() == (False, False, False, True)


def test_the_settings_of_a_gpu_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (8, 0))
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    with kernels(_recipe(deterministic=False, precision="tf32"), GPU):
        assert "CUBLAS_WORKSPACE_CONFIG" not in os.environ
        fast = settings(GPU)
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", "")  # to be put back after the test
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG")
    with kernels(_recipe(), GPU):
        exact = settings(GPU)
    assert {name: (fast[name], exact[name]) for name in exact if fast[name] != exact[name]} == {
        "deterministic_algorithms": ("False", "True"),
        "CUBLAS_WORKSPACE_CONFIG": ("", ":4096:8"),
        "cuda.matmul.allow_tf32": ("True", "False"),
        "cudnn.allow_tf32": ("True", "False"),
        "cudnn.benchmark": ("True", "False"),
    }


def test_what_a_user_set_for_deterministic_products_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":16:8")
    allow_deterministic_products()
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":16:8"


def test_a_cpu_has_no_tf32() -> None:
    with pytest.raises(SpecError, match="precision tf32: cpu has no TF32"):
        kernels(_recipe(precision="tf32"), CPU).__enter__()
