import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import hitsr
from hitsr.base.errors import SpecError, WeightsError
from hitsr.models.backbone import SuperResolver
from hitsr.share.pretrained import save_config, save_pretrained

SMALL = {"depths": [2], "width": 12, "mixer.heads": 2, "windows.base": 4}
X = torch.rand(1, 3, 9, 10, generator=torch.Generator().manual_seed(0))
# Part of what PyTorchModelHubMixin writes for the authors' classes.
PUBLISHED = {"upscale": 2, "embed_dim": 60, "base_win_size": [8, 8], "upsampler": "pixelshuffle"}


def _model(name: str) -> SuperResolver:
    torch.manual_seed(0)
    changes = {**SMALL, "windows.ratios": [0.5, 2] if name.startswith("hit") else [1, 1]}
    return hitsr.create(hitsr.NETWORKS[name].patch(changes), 3).eval()


@pytest.mark.parametrize("name", ["swinir_light", "hit_srf"])
def test_a_folder_read_back_gives_the_same_bits(name: str, tmp_path: Path):
    model = _model(name)
    save_pretrained(model, tmp_path)
    found = hitsr.from_pretrained(str(tmp_path))
    assert (found.network, found.scale, found.training) == (model.network, 3, False)
    with torch.inference_mode():
        assert torch.equal(found(X), model(X))


def test_same_network_same_bytes(tmp_path: Path):
    for folder in ("a", "b"):
        save_pretrained(_model("hit_sir"), tmp_path / folder)
    for file in ("model.safetensors", "config.json"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


@pytest.mark.parametrize("config", [PUBLISHED, {}])
def test_a_published_folder_is_read(config: dict[str, object], tmp_path: Path, golden: Callable):
    expected = golden("hit_sir")
    save_file(dict(expected.state), tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps(config))
    scale = None if config else 2
    model = hitsr.from_pretrained(tmp_path, "hit_sir", scale)
    with torch.inference_mode():
        output = model(expected.input)
    down, right = expected.stride
    assert (output[:, :, ::down, ::right] - expected.output).abs().max() < 2e-5


@pytest.mark.parametrize(
    ("config", "network", "scale", "message"),
    [
        (PUBLISHED, None, None, "does not say the network; pass it as `network`"),
        ({}, "hit_sir", None, "does not say the scale; pass it as `scale`"),
        (PUBLISHED, "hit_sir", 4, "scale is 2, but 4 was asked for"),
        (PUBLISHED, "hit_sirr", None, "did you mean 'hit_sir'"),
        ([1], "hit_sir", 2, "holds list"),
    ],
)
def test_missing_and_contradicting_settings_are_refused(
    config: object, network: str | None, scale: int | None, message: str, tmp_path: Path
):
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(SpecError, match=message):
        hitsr.from_pretrained(tmp_path, network, scale)


def test_another_network_than_the_folder_s_is_refused(tmp_path: Path):
    save_pretrained(_model("hit_srf"), tmp_path)
    with pytest.raises(SpecError, match="network is hit_srf, but hit_sir was asked for"):
        hitsr.from_pretrained(tmp_path, "hit_sir")


def test_a_folder_without_weights_is_refused(tmp_path: Path):
    save_pretrained(_model("hit_srf"), tmp_path)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(WeightsError, match="no such file"):
        hitsr.from_pretrained(tmp_path)


def test_weights_that_contradict_the_folder_s_config_are_refused(tmp_path: Path):
    model = _model("hit_srf")
    save_pretrained(hitsr.create(model.network.patch({"norm": "before"}), 3), tmp_path)
    save_config(model, tmp_path)
    with pytest.raises(WeightsError, match="norm is before, not after"):
        hitsr.from_pretrained(tmp_path)
