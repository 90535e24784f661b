from typing import Any

import pytest

from hitsr.base.errors import SpecError
from hitsr.specs.network import ScaledNetwork
from hitsr.specs.published import patch_side, published_form
from hitsr.specs.zoo import NETWORKS, OTHERS

# Of option files: options/Train of HiT-SR, options/train/SRFormer of SRFormer.
OPTIONS: dict[str, dict[str, Any]] = {
    "hit_srf": {
        "upscale": 2, "in_chans": 3, "img_size": 64, "base_win_size": [8, 8], "img_range": 1.0,
        "depths": [6, 6, 6, 6], "embed_dim": 60, "num_heads": [6, 6, 6, 6],
        "resi_connection": "1conv", "hier_win_ratios": [0.5, 1, 2, 4, 6, 8],
        "upsampler": "pixelshuffledirect",
    },
    "srformer_light": {
        "upscale": 2, "in_chans": 3, "img_size": 64, "window_size": 16, "img_range": 1.0,
        "depths": [6, 6, 6, 6], "embed_dim": 60, "num_heads": [6, 6, 6, 6], "mlp_ratio": 2,
        "upsampler": "pixelshuffledirect", "resi_connection": "1conv",
    },
    "srformer": {
        "upscale": 2, "in_chans": 3, "img_size": 48, "window_size": 24, "img_range": 1.0,
        "depths": [6] * 6, "embed_dim": 180, "num_heads": [6] * 6, "mlp_ratio": 2,
        "upsampler": "pixelshuffle", "resi_connection": "1conv",
    },
}  # fmt: skip


@pytest.mark.parametrize("name", OPTIONS)
def test_arguments_are_those_of_the_published_option_files(name: str):
    network = {**NETWORKS, **OTHERS}[name]
    arguments = published_form(ScaledNetwork(network=network, scale=2)).arguments
    assert OPTIONS[name].items() <= arguments.items()


@pytest.mark.parametrize(("window", "side"), [(8, 64), (16, 64), (24, 48), (48, 96), (64, 128)])
def test_training_patches_have_whole_windows_and_more_than_one(window: int, side: int):
    assert patch_side(window) == side


def _form(name: str, changes: dict[str, Any]) -> str:
    network = NETWORKS[name].patch(changes)
    return published_form(ScaledNetwork(network=network, scale=3)).made_by.name


@pytest.mark.parametrize(
    ("name", "changes", "made_by"),
    [
        ("swinir_light", {"width": 24, "mixer.heads": 2, "ffn.ratio": 4}, "SwinIR"),
        ("swinir_ng", {"windows.base": 4, "windows.ratios": [2] * 6}, "SwinIRNG"),
        ("hit_sir", {"windows.ratios": [8, 6, 4, 2, 1, 0.5]}, "HiT_SIR"),
        ("hit_srf", {"width": 96, "mixer.position_width": 6}, "HiT_SRF"),
        ("hit_sir", {"ffn": {"kind": "conv"}}, "HiT_SRF"),  # another's network by another name
    ],
)
def test_changes_that_the_published_code_takes(name: str, changes: dict[str, Any], made_by: str):
    assert _form(name, changes) == made_by


@pytest.mark.parametrize(
    ("name", "changes", "told"),
    [
        ("hit_sir", {"mixer.softmax": True}, "in HiT_SIR of XiangZ-0/HiT-SR, mixer.softmax is Fa"),
        ("hit_sir", {"norm": "before"}, "norm is after, not before"),
        ("hit_sng", {"windows.shift": True}, "windows.shift is False, not True"),
        ("hit_srf", {"mixer.features": "conv"}, "mixer.features is dual, not conv"),
        ("hit_srf", {"width": 24}, "mixer.position_width is 1, not 3"),
        ("swinir_light", {"mixer.position": "none"}, "mixer.position is table, not none"),
        ("swinir_light", {"windows.ratios": [0.5, 1, 1, 1, 1, 1]}, "windows.ratios is"),
        ("swinir_light", {"ffn": {"kind": "conv"}}, "ffn.kind is mlp, not conv"),
        ("srformer_light", {"mean": [0, 0, 0]}, "mean is"),
        ("srformer_light", {"mixer": {"kind": "transposed_attention"}}, "mixer.kind is"),
    ],
)
def test_changes_that_it_does_not_take_are_named(name: str, changes: dict[str, Any], told: str):
    with pytest.raises(SpecError, match="no class of the published code computes it") as caught:
        _form(name, changes)
    assert told in str(caught.value)
    assert "export it as safetensors" in str(caught.value)
