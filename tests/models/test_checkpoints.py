import copy
import io
import json
import pickle
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import hitsr
from hitsr.base.errors import WeightsError
from hitsr.models.backbone import SuperResolver
from hitsr.models.checkpoints import load_weights, metadata_of, save_weights

BASELINES = ["swinir_light", "swinir_ng", "srformer_light"]
X = torch.rand(1, 3, 9, 10, generator=torch.Generator().manual_seed(0))


def _model(name: str = "swinir_light", scale: int = 2) -> SuperResolver:
    torch.manual_seed(0)
    return hitsr.create(name, scale).eval()


def _small(base: int = 4) -> SuperResolver:
    changes = {"depths": [2], "width": 12, "windows": {"base": base, "ratios": [1, 1]}}
    return hitsr.create(hitsr.NETWORKS["swinir_light"].patch(changes), 2).eval()


def _output(model: nn.Module) -> Tensor:
    with torch.inference_mode():
        return model(X)


@pytest.fixture
def published(golden: Callable) -> dict[str, Tensor]:
    """A checkpoint of SwinIR-Light, with the published names and buffers."""
    return _with_buffers(golden("swinir_light").state)


def _with_buffers(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Add the indices and masks that published checkpoints contain, next to each block's norm1."""
    blocks = [key.removesuffix("norm1.weight") for key in state if key.endswith("norm1.weight")]
    assert len(blocks) == 24
    buffers = {}
    for block in blocks:
        buffers[f"{block}attn_mask"] = torch.full((4, 64, 64), float("nan"))
        buffers[f"{block}attn.relative_position_index"] = torch.arange(9)
        buffers[f"{block}attn.aligned_relative_position_index"] = torch.arange(9)
    return {**state, **buffers}


@pytest.mark.parametrize("name", hitsr.NETWORKS)
def test_every_published_weight_arrives_and_no_buffer(name: str, golden: Callable):
    state = golden(name).state
    model = _model(name)
    load_weights(model, _with_buffers(state))
    arrived = torch.cat([value.flatten() for value in model.state_dict().values()])
    sent = torch.cat([value.flatten() for value in state.values()])
    assert torch.equal(arrived.sort().values, sent.sort().values)


def _linear(name: str, given: int, made: int, kernel: int = 0) -> dict[str, tuple[int, ...]]:
    area = (kernel, kernel) if kernel else ()
    return {f"{name}.weight": (made, given, *area), f"{name}.bias": (made,)}


def _classical(scale: int) -> dict[str, tuple[int, ...]]:
    """Names and shapes of SwinIR-M's published weights (SwinIR, models/network_swinir.py)."""
    c = 180
    shapes = _linear("conv_first", 3, c, 3)
    for norm in ("patch_embed.norm", "norm"):
        shapes |= {f"{norm}.weight": (c,), f"{norm}.bias": (c,)}
    for group in range(6):
        for block in range(6):
            name = f"layers.{group}.residual_group.blocks.{block}."
            for norm in ("norm1", "norm2"):
                shapes |= {f"{name}{norm}.weight": (c,), f"{name}{norm}.bias": (c,)}
            shapes[f"{name}attn.relative_position_bias_table"] = (15**2, 6)
            shapes |= _linear(f"{name}attn.qkv", c, 3 * c) | _linear(f"{name}attn.proj", c, c)
            shapes |= _linear(f"{name}mlp.fc1", c, 2 * c) | _linear(f"{name}mlp.fc2", 2 * c, c)
        shapes |= _linear(f"layers.{group}.conv", c, c, 3)
    shapes |= _linear("conv_after_body", c, c, 3) | _linear("conv_before_upsample.0", c, 64, 3)
    for layer, factor in {2: {0: 2}, 3: {0: 3}, 4: {0: 2, 2: 2}}[scale].items():
        shapes |= _linear(f"upsample.{layer}", 64, 64 * factor**2, 3)
    return shapes | _linear("conv_last", 64, 3, 3)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_a_classical_networks_weights_arrive(scale: int):
    shapes = _classical(scale)
    state = {key: torch.full(shape, float(i)) for i, (key, shape) in enumerate(shapes.items())}
    model = hitsr.create("swinir_m", scale)
    load_weights(model, {"params": state})
    arrived = model.state_dict()
    assert len(arrived) == len(state)
    assert sorted(float(value.flatten()[0]) for value in arrived.values()) == list(
        map(float, range(len(state)))
    )
    for ours, published in {
        "upsample.narrow.weight": "conv_before_upsample.0.weight",
        "upsample.0.weight": "upsample.0.weight",
        "upsample.colours.bias": "conv_last.bias",
    }.items():
        assert torch.equal(arrived[ours], state[published])


@pytest.mark.parametrize("wrapper", [None, "params", "params_ema"])
@pytest.mark.parametrize("as_file", [False, True])
def test_wrapped_or_as_a_file_it_is_the_same_network(
    wrapper: str | None, as_file: bool, published: dict[str, Tensor], tmp_path: Path
):
    source: Any = {wrapper: OrderedDict(published)} if wrapper else published
    expected, found = _model(), _model()
    load_weights(expected, published)
    if as_file:
        torch.save(source, tmp_path / "published.pth")
        source = tmp_path / "published.pth"
    load_weights(found, source)
    assert torch.equal(_output(found), _output(expected))


def _prefixed(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {prefix + key: value for key, value in state.items()}


@pytest.mark.parametrize(
    "wrapper",
    ["state_dict", "model_state_dict", "model", "network", "net", "net_g", "generator", "mine"],
)
def test_weights_are_found_beside_the_state_of_the_training(
    wrapper: str, published: dict[str, Tensor], tmp_path: Path
):
    expected, found = _model(), _model()
    load_weights(expected, published)
    adam = torch.optim.Adam(found.parameters())
    found(X).sum().backward()
    adam.step()  # its state holds tensors, too
    training = {"epoch": 3, "best": np.float64(38.2), "optimizer": adam.state_dict()}
    torch.save({**training, wrapper: _prefixed(published, "module.")}, tmp_path / "all.pth")
    load_weights(found, tmp_path / "all.pth")
    assert torch.equal(_output(found), _output(expected))


@pytest.mark.parametrize(
    "prefix", ["module.", "_orig_mod.", "model.", "module._orig_mod.", "net_g.module.", "any."]
)
@pytest.mark.parametrize("ours", [True, False])
def test_a_prefix_of_all_names_is_left_out(prefix: str, ours: bool, published: dict[str, Tensor]):
    expected, found = _model(), _model()
    load_weights(expected, published)
    state = expected.state_dict() if ours else published
    load_weights(found, _prefixed(state, prefix))
    assert torch.equal(_output(found), _output(expected))


def test_a_prefix_of_some_names_is_an_error(published: dict[str, Tensor]):
    published["module.conv_first.weight"] = published.pop("conv_first.weight")
    _refused(published, "unknown: module.conv_first.weight", "missing: first.weight")


def test_weights_of_pytorchs_wrappers_are_read(published: dict[str, Tensor]):
    model, found = _model(), _model()
    load_weights(model, published)
    averaged = torch.optim.swa_utils.AveragedModel(model)
    compiled = copy.deepcopy(model)
    compiled.groups[0] = torch.compile(compiled.groups[0])
    for wrapped in (averaged, compiled):
        load_weights(found, wrapped.state_dict())
        assert torch.equal(_output(found), _output(model))


@pytest.mark.parametrize(
    "names", [("model", "state_dict"), ("net_g_ema", "net_d_ema"), ("left", "right")]
)
def test_several_networks_in_a_file_are_refused(
    names: tuple[str, str], published: dict[str, Tensor]
):
    _refused(dict.fromkeys(names, published), "holds several networks", *names)


def test_the_generator_goes_before_the_discriminator(published: dict[str, Tensor]):
    found, expected = _model(), _model()
    load_weights(expected, published)
    load_weights(found, {"generator": published, "discriminator": {"x": torch.ones(2)}})
    assert torch.equal(_output(found), _output(expected))


def test_the_state_of_a_training_is_told():
    adam = torch.optim.Adam(_small().parameters()).state_dict()
    for state in (adam, {"epoch": 1, "optimizers": [adam], "schedulers": []}):
        _refused(state, "not named tensors", "the state of a training")


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("experiments/a/training_states/5000.state", "in BasicSR models/net_g_5000.pth"),
        ("500000_optimizerG.pth", "in KAIR 500000_E.pth (averaged) or 500000_G.pth"),
        ("adam.pth", "the state of a training: name the file of the weights"),
    ],
)
def test_for_the_state_of_a_training_its_weights_are_named(name: str, told: str, tmp_path: Path):
    adam = torch.optim.Adam([nn.Parameter(torch.ones(2))])
    state: Any = adam.state_dict()
    if name.endswith(".state"):  # as BasicSR writes it, whose milestones are a Counter
        schedule = torch.optim.lr_scheduler.MultiStepLR(adam, [4000, 6000])
        state = {"epoch": 3, "iter": 5000, "optimizers": [state]}
        state["schedulers"] = [schedule.state_dict()]
    file = tmp_path / name
    file.parent.mkdir(parents=True, exist_ok=True)
    torch.save(state, file)
    _refused(file, str(file), "the state of a training", told, model=_small())


def test_averaged_weights_go_before_the_last_ones(published: dict[str, Tensor]):
    last = {key: torch.zeros_like(value) for key, value in published.items()}
    expected, found, told = _model(), _model(), list[str]()
    load_weights(expected, published, told.append)
    assert not told
    load_weights(found, {"params": last, "params_ema": published}, told.append)
    assert told == ["state dict: takes params_ema, not params"]
    assert torch.equal(_output(found), _output(expected))


@pytest.mark.parametrize("name", ["srformer_light", "hit_sng"])
def test_our_own_file_gives_the_same_network_to_the_bit(
    name: str, golden: Callable, tmp_path: Path
):
    model, other = _model(name), hitsr.create(name, 2).eval()
    load_weights(model, golden(name).state)
    save_weights(model, tmp_path / "weights.safetensors", {"run": "a"})
    load_weights(other, str(tmp_path / "weights.safetensors"))
    assert torch.equal(_output(other), _output(model))
    save_weights(other, tmp_path / "again.safetensors", {"run": "a"})
    written = [(tmp_path / f"{stem}.safetensors").read_bytes() for stem in ("weights", "again")]
    assert written[0] == written[1]


def test_a_saved_file_holds_weights_in_any_memory_layout(tmp_path: Path):
    model, other = _small(), _small()
    model.to(memory_format=torch.channels_last)
    save_weights(model, tmp_path / "weights.safetensors", {})
    load_weights(other, tmp_path / "weights.safetensors")
    assert torch.equal(_output(other), _output(model))


def _refused(source: Any, *words: str, model: SuperResolver | None = None) -> str:
    """WeightsError that holds all words, with the model as it was."""
    model = model or _model()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(WeightsError) as caught:
        load_weights(model, source)
    message = str(caught.value)
    for word in words:
        assert word in message
    for key, value in model.state_dict().items():
        assert torch.equal(value, before[key])
    return message


def test_missing_unknown_and_misshaped_keys_are_named(published: dict[str, Tensor]):
    block = "layers.0.residual_group.blocks.1."
    del published[f"{block}mlp.fc1.bias"]
    published[f"{block}attn.logit_scale"] = torch.ones(6)
    published[f"{block}norm2.weight"] = torch.ones(59)
    message = _refused(published, "state dict: ", "swinir_light x2")
    assert message.splitlines()[1:] == [
        "  missing: groups.0.blocks.1.ffn.expand.bias",
        f"  unknown: {block}attn.logit_scale",
        "  misshaped: groups.0.blocks.1.norm2.weight is (59,), expected (60,)",
    ]


def test_many_wrong_keys_are_counted_not_listed():
    _refused({}, "missing: ", "; ", " and ", " more")


@pytest.mark.parametrize("name", hitsr.NETWORKS)
def test_another_networks_weights_are_refused(name: str, golden: Callable):
    for other in hitsr.NETWORKS:
        if other != name:
            _refused(golden(name).state, f"{other} x2", model=_model(other))


@pytest.mark.parametrize("scale", [3, 4])
def test_another_scales_weights_are_refused(scale: int, published: dict[str, Tensor]):
    message = _refused(published, f"swinir_light x{scale}", model=_model(scale=scale))
    assert "upsample.0.weight is (12, 60, 3, 3)" in message
    assert "missing" not in message


def test_another_window_is_refused(tmp_path: Path):
    save_weights(_small(base=8), tmp_path / "eight.safetensors", {})
    _refused(tmp_path / "eight.safetensors", "bias_table", "misshaped", model=_small(base=4))


BASE = {"depths": [6], "width": 24, "windows.base": 4}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"mixer.softmax": True}, "mixer.softmax is True, not False"),
        ({"windows.shift": True}, "windows.shift is True, not False"),
        ({"norm": "before"}, "norm is before, not after"),
        ({"mean": [0, 0, 0]}, "mean is"),
        ({"padding": "picture", "windows.ratios": [0.5, 1, 2, 4, 8, 8]}, "padding is picture"),
    ],
)
def test_metadata_tell_networks_apart_whose_shapes_agree(
    change: dict[str, Any], told: str, tmp_path: Path
):
    base = hitsr.NETWORKS["hit_sir"].patch(BASE)
    base = (
        base
        if base.windows.shift != change.get("windows.shift")
        else base.patch({"windows.shift": False})
    )
    other = hitsr.create(base.patch(change), 2)
    file = tmp_path / "other.safetensors"
    save_weights(other, file, metadata_of(other.subject))
    _refused(file, str(file), "weights of hit_sir x2, not of hit_sir x2", told,
             model=hitsr.create(base, 2))  # fmt: skip
    load_weights(hitsr.create(other.network, 2), file)


def test_metadata_of_another_scale_or_a_name_alone_are_checked(tmp_path: Path):
    model, file = _small(), tmp_path / "weights.safetensors"
    save_weights(model, file, metadata_of(model.subject.model_copy(update={"scale": 3})))
    _refused(file, "weights of swinir_light x3, not of swinir_light x2", model=model)
    save_weights(model, file, {"hitsr": json.dumps({"network": "hit_sir", "scale": 2})})
    _refused(file, "weights of hit_sir x2, not of swinir_light x2", model=model)
    for damaged in ({"scale": 2}, {"network": {"width": 3}, "scale": 2}):
        save_weights(model, file, {"hitsr": json.dumps(damaged)})
        _refused(file, str(file), model=model)


def test_name_and_training_of_a_network_do_not_matter(tmp_path: Path):
    model, file = _small(), tmp_path / "weights.safetensors"
    save_weights(model, file, metadata_of(model.subject, run="a"))
    changed = model.network.patch({"name": "mine", "stochastic_depth": 0.3})
    load_weights(hitsr.create(changed, 2), file)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_weights_that_are_not_finite_are_refused(value: float, published: dict[str, Tensor]):
    bias = published["conv_first.bias"].clone()
    bias[3] = value
    _refused({**published, "conv_first.bias": bias}, "conv_first.bias is not finite")


def test_other_numbers_than_floats_are_refused(published: dict[str, Tensor]):
    bias = published["conv_first.bias"]
    for other in (bias.to(torch.int8), bias.to(torch.complex64), bias.to("meta")):
        _refused({**published, "conv_first.bias": other}, "conv_first.bias holds")


@pytest.mark.parametrize("other", ["first.weight", "_orig_mod.conv_first.weight"])
def test_one_weight_under_two_names_is_refused(other: str, published: dict[str, Tensor]):
    published[other] = torch.zeros_like(published["conv_first.weight"])
    _refused(published, "first.weight", "second time")


def test_queries_that_do_not_fit_their_keys_are_refused(golden: Callable):
    state = dict(golden("srformer_light").state)
    state["layers.0.residual_group.blocks.0.attn.q.weight"] = torch.zeros(60, 59)
    told = ("missing: groups.0.blocks.0.mixer.qkv.weight", "unknown: ", "blocks.0.attn.q.weight")
    _refused(state, *told, model=_model("srformer_light"))
    del state["layers.0.residual_group.blocks.0.attn.q.weight"]
    _refused(state, "blocks.0.attn.kv.weight", model=_model("srformer_light"))


@pytest.mark.parametrize(
    ("source", "word"),
    [
        ({"conv_first.weight": [1.0, 2.0]}, "conv_first.weight"),
        ({"iteration": 5000}, "iteration"),
        ({1: torch.ones(1)}, "1"),
        ({"params": {"optimizer": {}}}, "optimizer"),
    ],
)
def test_other_things_than_named_tensors_are_refused(source: Any, word: str):
    _refused(source, "not named tensors", word)


class Mine:
    """Pickled code: unpickling this writes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize("layout", ["zip", "legacy", "pickle"])
def test_a_pickle_that_runs_code_does_not_run(layout: str, wrapped: bool, tmp_path: Path):
    bait = tmp_path / "ran"
    source: Any = {"params": {"x": Mine(bait)}} if wrapped else Mine(bait)
    file = tmp_path / "mine.pth"
    if layout == "pickle":
        file.write_bytes(pickle.dumps(source))
    else:
        torch.save(source, file, _use_new_zipfile_serialization=layout == "zip")
    _refused(file, str(file), "tensors alone", "refused")
    assert not bait.exists()
    if layout == "pickle":
        pickle.loads(file.read_bytes())
        assert bait.exists()  # the bait works


def test_a_whole_pickled_model_is_refused(tmp_path: Path):
    torch.save(_small(), tmp_path / "model.pth")
    _refused(tmp_path / "model.pth", "model.pth", "refused")


def test_a_file_of_one_tensor_is_refused(tmp_path: Path):
    torch.save(torch.ones(3), tmp_path / "tensor.pth")
    _refused(tmp_path / "tensor.pth", "holds Tensor, not a state dict")


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_missing_damaged_and_foreign_files_are_named(suffix: str, tmp_path: Path):
    file = tmp_path / f"weights{suffix}"
    _refused(file, f"{file}: no such file")
    _refused(tmp_path, f"{tmp_path}: is a folder; name a file in it")

    whole = io.BytesIO()
    torch.save(_small().state_dict(), whole)
    data = whole.getvalue()
    if suffix == ".safetensors":
        save_weights(_small(), file, {})
        data = file.read_bytes()
    for damaged in (data[: len(data) // 2], data[:7], b"", b"not weights at all"):
        file.write_bytes(damaged)
        _refused(file, f"{file}: not a ")
