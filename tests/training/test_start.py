from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from hitsr.base.errors import WeightsError
from hitsr.base.files import sha256
from hitsr.models.backbone import create
from hitsr.models.checkpoints import load_weights, metadata_of, save_weights
from hitsr.share.published import published_state
from hitsr.specs.network import NetworkSpec
from hitsr.specs.recipe import Recipe
from hitsr.specs.run import RunSpec, StartWeights
from hitsr.specs.zoo import NETWORKS
from hitsr.training.start import load_initial_weights, transfer_weights

TINY = NETWORKS["hit_sir"].patch(
    {"depths": [1], "windows.ratios": [2], "width": 12, "windows.base": 4, "mixer.heads": 2}
)


def _run(network: NetworkSpec, scale: int, file: Path) -> RunSpec:
    recipe = Recipe(steps=1, batch=1, patch=8, learning_rate=1e-3)
    start = StartWeights(name=file.name, sha256=sha256(file) if file.is_file() else "")
    return RunSpec(
        network=network, scale=scale, recipe=recipe, data="a", validation="a", seed=1,
        start_from=start,
    )  # fmt: skip


@pytest.fixture(params=["pth", "safetensors"])
def file(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Weights of TINY at x2, as others or we save them."""
    torch.manual_seed(0)
    model, path = create(TINY, 2), tmp_path / f"weights.{request.param}"
    if request.param == "pth":
        torch.save({"params": model.state_dict()}, path)
    else:
        save_weights(model, path, metadata_of(model.subject))
    return path


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_weights_of_a_file_are_taken_but_for_the_upsampler_of_another_scale(file: Path, scale: int):
    torch.manual_seed(0)
    source = create(TINY, 2)
    model = create(TINY, scale)
    fresh = {name: value.clone() for name, value in model.state_dict().items()}
    kept = load_initial_weights(model, _run(TINY, scale, file), file)
    assert kept == (() if scale == 2 else ("upsample.0.weight", "upsample.0.bias"))
    for name, value in model.state_dict().items():
        expected = fresh[name] if name in kept else source.state_dict()[name]
        assert torch.equal(value, expected)


# What BasicSR (`net_g_*.pth`) and KAIR (`*_G.pth`, `*_E.pth`) save of a network's state dict.
LAYOUTS: dict[str, Callable[[dict[str, Tensor]], Any]] = {
    "BasicSR": lambda state: {"params": state},
    "BasicSR, averaged alone": lambda state: {"params_ema": state},
    "BasicSR, averaged too": lambda state: {"params": _zeros(state), "params_ema": state},
    "KAIR": lambda state: state,
    "DataParallel": lambda state: {f"module.{name}": value for name, value in state.items()},
    "BasicSR, DataParallel": lambda state: {"params": LAYOUTS["DataParallel"](state)},
    "float16": lambda state: {name: _half(value) for name, value in state.items()},
    "BasicSR, float16": lambda state: {"params": LAYOUTS["float16"](state)},
}


def _zeros(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: torch.zeros_like(value) for name, value in state.items()}


def _half(value: Tensor) -> Tensor:
    return value.half() if value.is_floating_point() else value


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", NETWORKS)
def test_checkpoints_of_basicsr_and_kair_fill_networks_and_start_runs(
    name: str, layout: str, tmp_path: Path
):
    changes = {"depths": [2], "windows.ratios": [1, 1], "width": 12, "windows.base": 4}
    network = NETWORKS[name].patch({**changes, "mixer.heads": 2})
    torch.manual_seed(0)
    source, file = create(network, 2), tmp_path / "net_g_500000.pth"
    torch.save(LAYOUTS[layout](published_state(source)), file)  # with indices and masks
    filled, same, larger = create(network, 2), create(network, 2), create(network, 3)
    said: list[str] = []
    load_weights(filled, file, said.append)
    load_initial_weights(same, _run(network, 2, file), file, said.append)
    kept = load_initial_weights(larger, _run(network, 3, file), file, said.append)
    assert kept == ("upsample.0.weight", "upsample.0.bias")
    takes = f"{file}: takes params_ema, not params"
    assert said == (3 * [takes] if layout == "BasicSR, averaged too" else [])
    for key, value in source.state_dict().items():
        expected = value.half().float() if "float16" in layout else value
        for model in (filled, same, larger):
            if model is not larger or key not in kept:
                found = model.state_dict()[key]
                assert found.dtype == torch.float32
                assert torch.equal(found, expected)


def test_a_larger_classical_upsampler_fits_a_smaller_one(tmp_path: Path):
    classical = TINY.patch({"upsampler": "two_stage"})
    torch.save(create(classical, 4).state_dict(), tmp_path / "x4.pth")
    model = create(classical, 2)
    load_initial_weights(model, _run(classical, 2, tmp_path / "x4.pth"), tmp_path / "x4.pth")


def test_other_files_than_the_run_s_are_refused(file: Path):
    run, model = _run(TINY, 3, file), create(TINY, 3)
    other = file.with_name("other.pth")
    with pytest.raises(WeightsError, match="no such file"):
        load_initial_weights(model, run, other)
    torch.save(create(TINY, 2).state_dict(), other)
    with pytest.raises(WeightsError, match=f"not the file {file.name} that hit_sir-x3-s1 starts"):
        load_initial_weights(model, run, other)


def test_weights_of_another_network_are_no_start(file: Path):
    wider = TINY.patch({"width": 24})
    with pytest.raises(WeightsError, match=r"another network or scale than hit_sir x3|not of"):
        load_initial_weights(create(wider, 3), _run(wider, 3, file), file)


class Toy(nn.Module):
    """A body and an upsampler; only the upsampler depends on the scale."""

    def __init__(self, scale: int, width: int = 4) -> None:
        super().__init__()
        self.body = nn.Linear(3, width)
        self.upsample = nn.Linear(width, 3 * scale**2)


def _same(one: nn.Module, other: nn.Module) -> dict[str, bool]:
    others = other.state_dict()
    return {name: torch.equal(value, others[name]) for name, value in one.state_dict().items()}


def test_all_but_the_upsampler_is_copied_to_another_scale():
    source, target = Toy(2), Toy(3)
    fresh = target.upsample.weight.detach().clone()
    assert transfer_weights(source, target) == ("upsample.weight", "upsample.bias")
    assert torch.equal(target.body.weight, source.body.weight)
    assert torch.equal(target.upsample.weight, fresh)


def test_everything_is_copied_to_the_same_scale():
    source, target = Toy(2), Toy(2)
    assert transfer_weights(source, target) == ()
    assert all(_same(source, target).values())


def test_another_network_is_refused_and_nothing_copied():
    source, target = Toy(2), Toy(3, width=5)
    before = {name: value.clone() for name, value in target.state_dict().items()}
    with pytest.raises(WeightsError, match=r"body\.weight, body\.bias"):
        transfer_weights(source, target)
    assert all(torch.equal(value, before[name]) for name, value in target.state_dict().items())

    target.extra = nn.Linear(1, 1)
    with pytest.raises(WeightsError, match=r"extra\.weight"):
        transfer_weights(source, target)
