"""Files for the published code: names, shapes, buffers, and the way there and back.

Names and shapes of weights stand in `tests/golden`; those of buffers, and of the upsamplers that
the six networks do not have, are of the published classes' state dicts.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import hitsr
from hitsr.base.errors import SpecError
from hitsr.models.backbone import SuperResolver
from hitsr.models.own import load_own
from hitsr.share.published import published_state, save_published

CONTEXT = "ngram_window_partition.ngram_context.ngram_attn.relative_position_index"
# In every block, and beside them in those with a shift.
INDICES: dict[str, dict[str, tuple[int, ...]]] = {
    "swinir_light": {"attn.relative_position_index": (64, 64)},
    "swinir_ng": {"attn.relative_position_index": (64, 64), CONTEXT: (4, 4)},
    "srformer_light": {"attn.aligned_relative_position_index": (256, 64)},
    "hit_sir": {},
    "hit_sng": {f"correlation.{CONTEXT}": (4, 4)},
    "hit_srf": {},
}
MASKS = {"swinir_light": (64, 64, 64), "swinir_ng": (64, 64, 64), "srformer_light": (16, 256, 64)}
ENDS = {
    ("one_step", 2): {"upsample.0": (12, 12)},
    ("one_step", 3): {"upsample.0": (27, 12)},
    ("one_step", 4): {"upsample.0": (48, 12)},
    ("two_stage", 2): {"upsample.0": (256, 64)},
    ("two_stage", 3): {"upsample.0": (576, 64)},
    ("two_stage", 4): {"upsample.0": (256, 64), "upsample.2": (256, 64)},
}


def _small(name: str, scale: int, upsampler: str = "one_step") -> SuperResolver:
    changes: dict[str, Any] = {
        "depths": [2], "width": 12, "mixer.heads": 2, "windows.base": 4, "upsampler": upsampler,
        "windows.ratios": [2, 2],
    }  # fmt: skip
    if name.startswith("hit"):
        changes |= {"width": 48, "windows.ratios": [0.5, 2]}
    torch.manual_seed(0)
    return hitsr.create(hitsr.NETWORKS[name].with_changes(changes, "test"), scale).eval()


@pytest.mark.parametrize("name", hitsr.NETWORKS)
def test_names_shapes_and_types_are_those_of_the_published_code(name: str, golden: Callable):
    expected = {key: (tuple(value.shape), value.dtype) for key, value in golden(name).state.items()}
    for group in range(4):
        for block in range(6):
            where = f"layers.{group}.residual_group.blocks.{block}."
            for index, shape in INDICES[name].items():
                expected[where + index] = (shape, torch.int64)
            if name in MASKS and block % 2:
                expected[f"{where}attn_mask"] = (MASKS[name], torch.float32)
    found = published_state(hitsr.create(name, 2))
    assert {key: (tuple(value.shape), value.dtype) for key, value in found.items()} == expected


@pytest.mark.parametrize(("upsampler", "scale"), ENDS)
def test_upsamplers_have_their_published_names(upsampler: str, scale: int):
    expected = {f"{name}.weight": (*shape, 3, 3) for name, shape in ENDS[upsampler, scale].items()}
    if upsampler == "two_stage":
        expected |= {
            "conv_before_upsample.0.weight": (64, 12, 3, 3),
            "conv_last.weight": (3, 64, 3, 3),
        }
    state = published_state(_small("swinir_light", scale, upsampler))
    found = {
        name: tuple(value.shape)
        for name, value in state.items()
        if name.endswith(".weight")
        and not name.startswith(("layers.", "norm.", "patch_embed.", "conv_first.", "conv_after_"))
    }
    assert found == expected


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("upsampler", ["one_step", "two_stage"])
@pytest.mark.parametrize("name", hitsr.NETWORKS)
def test_weights_go_there_and_back_unchanged(name: str, upsampler: str, scale: int, tmp_path: Path):
    model = _small(name, scale, upsampler)
    save_published(model, tmp_path / "model.pth", is_average=scale == 3)
    back = _small(name, scale, upsampler)
    for parameter in back.parameters():
        parameter.data.zero_()
    hitsr.load_weights(back, tmp_path / "model.pth")
    expected = model.state_dict()
    for key, value in back.state_dict().items():
        assert value.dtype == expected[key].dtype
        assert value.numpy().tobytes() == expected[key].numpy().tobytes(), key


def test_queries_come_before_keys_and_values():
    model = _small("srformer_light", 2)
    block = "layers.0.residual_group.blocks.0.attn."
    state = published_state(model)
    joined = torch.cat([state[f"{block}q.weight"], state[f"{block}kv.weight"]])
    assert torch.equal(joined, model.groups[0].blocks[0].mixer.qkv.weight)
    assert state[f"{block}q.weight"].shape == (12, 12)


@pytest.mark.parametrize("is_average", [False, True])
def test_files_are_wrapped_as_their_code_expects(is_average: bool, tmp_path: Path):
    file = tmp_path / "model.pth"
    save_published(_small("hit_sir", 2), file, is_average)
    saved = torch.load(file, weights_only=True)
    assert [*saved] == (["params", "params_ema"] if is_average else ["params"])
    assert all(
        torch.equal(each["norm.bias"], saved["params"]["norm.bias"]) for each in saved.values()
    )
    save_published(_small("swinir_ng", 2), file, is_average)
    assert "conv_first.weight" in torch.load(file, weights_only=True)


def test_a_network_that_the_published_code_lacks_is_refused(tmp_path: Path):
    network = _small("hit_sir", 2).network.patch({"mixer.softmax": True})
    with pytest.raises(SpecError, match=r"mixer\.softmax is False, not True"):
        save_published(hitsr.create(network, 2), tmp_path / "model.pth", is_average=False)
    assert not [*tmp_path.iterdir()]


@pytest.mark.filterwarnings("ignore:torch.meshgrid")
@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("upsampler", ["one_step", "two_stage"])
def test_spandrels_swinir_gives_the_same_picture(upsampler: str, scale: int, tmp_path: Path):
    pytest.importorskip("spandrel")
    model = _small("swinir_light", scale, upsampler)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    save_published(model, tmp_path / "model.pth", is_average=False)
    other = load_own(f"spandrel:{tmp_path}/model.pth", scale)
    # At its training patch the loaded masks are used, elsewhere its own.
    for size in ((64, 64), (24, 40)):
        x = torch.rand(1, 3, *size)
        with torch.inference_mode():
            expected = model(x)
            assert (other(x) - expected).abs().max() < 1e-5 * expected.abs().max()


def test_indices_and_masks_of_permuted_attention_are_those_of_their_definition():
    state, side = published_state(_small("srformer_light", 2)), 8
    block = "layers.0.residual_group.blocks.1."
    index = state[f"{block}attn.aligned_relative_position_index"]
    for token in range(side * side):
        for key in range(side * side // 4):
            (y, x), (v, u) = divmod(token, side), divmod(key, side // 2)
            assert index[token, key] == (y // 2 - v + 3) * 7 + (x // 2 - u + 3)
    mask = state[f"{block}attn_mask"]
    assert mask.shape == (64, 64, 16)
    for window in (0, 7, 56, 63):
        assert torch.equal(mask[window], _mask(*divmod(window, 8), side))


def _mask(row: int, column: int, side: int) -> Tensor:
    """-100 where a shift by half of a window brought together what lay far apart."""
    lower, right = row == 7, column == 7  # of 8 x 8 windows
    mask = torch.zeros(side * side, side * side // 4)
    for token in range(side * side):
        for key in range(side * side // 4):
            (y, x), (v, u) = divmod(token, side), divmod(key, side // 2)
            apart_y = lower and (y < side // 2) != (v < side // 4)
            apart_x = right and (x < side // 2) != (u < side // 4)
            mask[token, key] = -100.0 if apart_y or apart_x else 0.0
    return mask
