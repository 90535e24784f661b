"""Choose the kernels of a training: those that repeat every bit, or the fastest."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch

from hitsr.runtime.precision import computing
from hitsr.runtime.precision import settings as settings_of_precision
from hitsr.specs.recipe import Recipe
from hitsr.specs.steps import Precision

_WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"
_memory: Any = torch.utils.deterministic


def allow_deterministic_products() -> None:
    """Set what torch requires for deterministic matrix products, unless the user set it.

    The first product of a process on a GPU reads it, whatever the settings are then. So a process
    that computes something else before its training must call this first.
    """
    os.environ.setdefault(_WORKSPACE, ":4096:8")


def autocast_of(recipe: Recipe) -> torch.dtype | Literal[False]:
    """The dtype of a network's products in training, for `create`; False where it is float32."""
    halves = {"bfloat16": torch.bfloat16, "float16": torch.float16}
    return halves.get(recipe.precision, False)


@contextmanager
def kernels(recipe: Recipe, device: torch.device, *, of_one_size: bool = True) -> Iterator[None]:
    """Inside the block torch computes as the recipe says; the settings from before come back.

    With `recipe.deterministic` operators without a deterministic kernel raise. Without, and if all
    pictures are `of_one_size`, cuDNN tries its algorithms on the first and keeps the fastest.
    Autocast is the network's own (`autocast_of`): in a block around all steps, torch would keep the
    converted weights of the first.

    Raises SpecError for TF32 on a device without it.
    """
    precision: Precision = "tf32" if recipe.precision == "tf32" else "float32"
    with (
        computing(precision, device, by_trial=of_one_size and not recipe.deterministic),
        _deterministic(recipe.deterministic),
    ):
        yield


def settings(device: torch.device) -> dict[str, str]:
    """The settings of torch that hold now and choose kernels, by name."""
    found = {"deterministic_algorithms": str(torch.are_deterministic_algorithms_enabled())}
    if device.type == "cuda":
        found[_WORKSPACE] = os.environ.get(_WORKSPACE, "")
    return found | settings_of_precision(device)


@contextmanager
def _deterministic(wanted: bool) -> Iterator[None]:
    enabled = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    fills = _memory.fill_uninitialized_memory
    if wanted:
        allow_deterministic_products()
    torch.use_deterministic_algorithms(wanted)
    # Else torch writes over all memory that an operator is about to write to.
    _memory.fill_uninitialized_memory = False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(enabled, warn_only=warn_only)
        _memory.fill_uninitialized_memory = fills
