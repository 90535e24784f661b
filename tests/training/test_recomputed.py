from collections.abc import Callable
from functools import partial
from pathlib import Path
from runpy import run_path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from hitsr.models.backbone import create
from hitsr.models.fused.backend import Backend, forced
from hitsr.runtime import trials
from hitsr.training.compiled import compile_training
from hitsr.training.recomputed import recompute_activations

STEPS = run_path(str(Path(__file__).with_name("test_step.py")))
TINY = STEPS["TINY"]  # with stochastic depth


def _model(name: str, is_recomputed: bool, **options: Any) -> nn.Module:
    torch.manual_seed(0)
    model = create(TINY[name], 2, **options).train()
    if is_recomputed:
        recompute_activations(model)
    return model


@pytest.mark.usefixtures("graphs_on_cpu")
@pytest.mark.parametrize("backend", ["cpu", "cuda"])  # that for a GPU, with torch's operators
@pytest.mark.parametrize("name", TINY)
def test_weights_are_the_same_to_the_bit(name: str, backend: Backend):
    take = STEPS["_take"]
    plain = STEPS["_step"](model=_model(name, is_recomputed=False))
    step = STEPS["_step"](model=_model(name, is_recomputed=True), graph=True)
    with forced(backend):
        take(plain), take(step)
    assert step.is_captured
    assert STEPS["_equal"](step.state(), plain.state())


@pytest.mark.parametrize(
    "recipe",
    [
        {"parts": 2, "ema": 0.9},
        {"precision": "float16", "clip": 0.1},
        {"precision": "bfloat16", "upsampler_only": 3},
    ],
)
def test_so_they_are_with_parts_and_in_half_precision(tmp_path: Path, recipe: dict[str, Any]):
    half = {"float16": torch.float16, "bfloat16": torch.bfloat16}.get(recipe.get("precision", ""))
    found = {}
    for is_recomputed in (False, True):
        model = _model("swinir_light", is_recomputed, autocast=half or False)
        record, *found[is_recomputed] = STEPS["trained"](
            tmp_path / str(is_recomputed), model=model, network=TINY["swinir_light"],
            graph=False, **recipe
        )  # fmt: skip
        assert record.settings["recompute"] == str(is_recomputed)
    assert found[True] == found[False]


def test_blocks_keep_only_their_input():
    kept = [_kept_bytes(_model("hit_sir", is_recomputed=each)) for each in (False, True)]
    assert kept[1] < 0.3 * kept[0]


def _kept_bytes(model: nn.Module) -> int:
    """Of tensors that a forward keeps for gradients, but for those that blocks hand on."""
    sizes: dict[int, int] = {}

    def note(x: Tensor) -> Tensor:
        sizes[x.untyped_storage().data_ptr()] = x.untyped_storage().nbytes()
        return x

    with torch.autograd.graph.saved_tensors_hooks(note, lambda x: x):
        out = model(torch.rand(2, 3, 16, 16))
        total = sum(sizes.values())
    out.sum().backward()
    return total


def test_only_training_computes_twice():
    seen: list[Tensor] = []
    model = _model("hit_sir", is_recomputed=True)
    for block in model.groups[0].blocks:
        block.mixer.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    model(torch.rand(2, 3, 8, 8)).sum().backward()
    assert len(seen) == 4
    seen.clear()
    model.eval()(torch.rand(2, 3, 8, 8)).sum().backward()
    assert len(seen) == 2


def test_a_trial_in_a_block_is_made_once(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(trials, "_chosen", {})
    monkeypatch.setattr(trials, "_misfits", {})
    x = torch.rand(3, 4, requires_grad=True)
    runs: list[str] = []

    def squared(name: str, x: Tensor) -> Tensor:
        runs.append(name)
        return (x * 2).exp() * x

    ways = {name: partial(squared, name) for name in ("one", "other")}

    def timed(run: Callable[[], object], _: torch.device) -> float:
        run()
        return 1.0

    def block(x: Tensor) -> Tensor:
        x = x.sin()
        assert trials.agrees("square", ways["other"], ways["one"], (x,))
        return trials.fastest("square", ways, (x,), timed)(x).cos()

    (expected,) = torch.autograd.grad(block(x).sum(), x)
    trials._chosen.clear(), trials._misfits.clear(), runs.clear()
    (found,) = torch.autograd.grad(checkpoint(block, x, use_reentrant=False).sum(), x)
    assert torch.equal(found, expected)
    assert runs.count("other") == 1 + trials._UNTIMED + trials._TIMED


def test_compiled_steps_have_parts_averages_and_blocks_computed_again(
    monkeypatch: pytest.MonkeyPatch,
):
    """By torch.compile's own tracing, of which the compiler itself is left out."""
    monkeypatch.setattr("hitsr.training.compiled.check_compiler", lambda: None)
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))
    steps = []
    for is_compiled in (False, True):
        model = _model("hit_sir", is_recomputed=is_compiled)
        for block in model.groups[0].blocks:
            block.drop_rate = 0.0
        if is_compiled:
            compile_training(model)
        steps.append(STEPS["_step"](model=model, parts=2, ema=0.9, learning_rate=1e-4))
    plain, compiled = (torch.stack(STEPS["_take"](step, 2)) for step in steps)
    torch.testing.assert_close(compiled, plain, rtol=1e-5, atol=0)
    found, expected = (STEPS["_named"](step.state(), "average/") for step in steps)
    # A step moves weights by the rate at most, and averages by a tenth of it.
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-5)
