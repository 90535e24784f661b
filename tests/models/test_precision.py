"""Half precision, with activations as large as those of trained networks.

In HiT-SRF's released weights (x4, pictures of B100 and Set5), features of the correlation reach
96,000, base cells 34,000, sums over a window's tokens 8e11 and outputs of the mixer 1.7e14. float16
ends at 65504.
"""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import hitsr
from hitsr.models.correlation import Correlation, DualFeatures
from hitsr.models.precision import layer_norm, linear

FEATURES = 96_000.0  # largest of a correlation, in trained weights
BRANCH = 788.0  # largest of one of the two branches that features are products of
QUERIES = 12.0  # largest of an attention here: scores of some tens
LARGEST = torch.finfo(torch.float16).max
LEAST_DB = {torch.float16: 60, torch.bfloat16: 45}
OF_64 = {"depths": [2], "windows.ratios": [8, 8], "windows.shift": True}
VARIANTS: list[tuple[str, dict[str, Any]]] = [
    ("hit_sir", {"depths": [1], "windows.ratios": [8]}),
    ("hit_sng", {"depths": [1], "windows.ratios": [2]}),
    ("hit_srf", {"depths": [1], "windows.ratios": [2], "mixer.softmax": True}),
    ("hit_sir", {"depths": [1], "windows.ratios": [2], "mixer.features": "linear"}),
    ("hit_sir", {"depths": [1], "windows.ratios": [2], "mixer.position": "none"}),
    ("swinir_ng", {"depths": [2], "windows.ratios": [1, 1]}),
    ("srformer_light", {"depths": [2], "windows.ratios": [1, 1]}),
    ("hit_sir", {**OF_64, "mixer": {"kind": "transposed_attention"}}),
]


def _psnr(a: Tensor, b: Tensor) -> float:
    return -10 * float(torch.log10((a.float() - b.float()).square().mean()))


def _with_trained_sizes(
    name: str, changes: dict[str, Any], formulation: str = "fused"
) -> tuple[nn.Module, Tensor]:
    """A network whose activations are of trained sizes, and a picture of 64x64 pixels."""
    torch.manual_seed(0)
    model = hitsr.create(hitsr.NETWORKS[name].patch(changes), 2, formulation=formulation).eval()
    x = torch.rand(1, 3, 64, 64)

    def enlarge(module: nn.Module, _: object, out: Tensor) -> Tensor:
        layers, wanted = [module], QUERIES
        if isinstance(module, DualFeatures):  # a product of two layers, or one of them alone
            names = [key for key in ("expand", "gate") if hasattr(module, key)]
            layers = [module.get_submodule(key) for key in names]
            wanted = FEATURES if len(names) == 2 else BRANCH
        factor = wanted / float(out.abs().max())
        for layer in layers:
            for parameter in layer.parameters():
                parameter.mul_(factor ** (1 / len(layers)))
        return out * factor

    hooks = [
        module.register_forward_hook(enlarge)
        for key, module in model.named_modules()
        if isinstance(module, DualFeatures) or key.endswith("mixer.qkv")
    ]
    with torch.no_grad():
        model(x)
    for hook in hooks:
        hook.remove()
    return model, x


def _check(model: nn.Module, x: Tensor, dtype: torch.dtype, formulation: str) -> None:
    """Converted to a dtype, and under autocast to it."""
    half = hitsr.create(model.network, 2, formulation=formulation).eval()
    half.load_state_dict(model.state_dict())
    with torch.inference_mode():
        expected = model(x)
        with torch.autocast("cpu", dtype):
            assert _psnr(half(x), expected) > LEAST_DB[dtype]
        found = half.to(dtype)(x.to(dtype))
    assert found.dtype == dtype
    assert _psnr(found, expected) > LEAST_DB[dtype]


@pytest.mark.parametrize("dtype", LEAST_DB, ids=str)
@pytest.mark.parametrize("name", hitsr.NETWORKS)
def test_half_precision_is_float32_to_45_db(name: str, dtype: torch.dtype):
    _check(*_with_trained_sizes(name, {"depths": [6]}), dtype, "fused")


@pytest.mark.parametrize("dtype", LEAST_DB, ids=str)
@pytest.mark.parametrize(("name", "changes"), VARIANTS, ids=str)
def test_both_formulations_are_as_exact_in_every_variant(
    name: str, changes: dict[str, Any], dtype: torch.dtype
):
    for formulation in ("paper", "fused"):
        _check(*_with_trained_sizes(name, changes), dtype, formulation)


def test_the_networks_of_these_tests_hold_what_float16_cannot():
    model, x = _with_trained_sizes("hit_sir", {"depths": [6]})
    largest = dict.fromkeys((DualFeatures, Correlation), 0.0)

    def note(module: nn.Module, _: object, out: Tensor) -> None:
        largest[type(module)] = max(largest[type(module)], float(out.abs().max()))

    for module in model.modules():
        if type(module) in largest:
            module.register_forward_hook(note)
    with torch.inference_mode():
        model(x)
    assert largest[DualFeatures] > LARGEST
    assert largest[Correlation] > 1e12


def test_windows_of_64_attend_in_float16():
    """With biases for a few rows of queries at a time."""
    changes = {**OF_64, "mixer": {"kind": "window_attention", "heads": 2}, "width": 12}
    _check(*_with_trained_sizes("hit_sir", changes), torch.float16, "fused")


def test_channels_that_are_zero_have_no_direction_and_are_finite():
    changes = {**OF_64, "mixer": {"kind": "transposed_attention"}}
    for formulation in ("paper", "fused"):
        model = hitsr.create(
            hitsr.NETWORKS["hit_sir"].patch(changes), 2, formulation=formulation
        ).eval()
        with torch.inference_mode():
            for parameter in model.parameters():
                parameter.zero_()
            assert model.half()(torch.zeros(1, 3, 64, 64).half()).isfinite().all()


def test_layers_take_features_wider_than_their_weights():
    torch.manual_seed(0)
    norm, layer = nn.LayerNorm(4).half(), nn.Linear(4, 3).half()
    x = 1e12 * torch.randn(5, 4)
    assert linear(layer, x).isfinite().all()
    torch.testing.assert_close(layer_norm(norm, x), layer_norm(norm.float(), x))
