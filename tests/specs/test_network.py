from typing import Any

import pytest

from hitsr.base.errors import SpecError
from hitsr.base.values import Value
from hitsr.specs.network import (
    Correlation,
    NetworkSpec,
    Ngram,
    PermutedAttention,
    ScaledNetwork,
    TransposedAttention,
    WindowAttention,
    Windows,
    kernel_of,
)
from hitsr.specs.zoo import NETWORKS

HIT_SIR, SWINIR, SRFORMER = (
    NETWORKS[name] for name in ("hit_sir", "swinir_light", "srformer_light")
)


def _refused(network: NetworkSpec, changes: dict[str, Any], *words: str) -> None:
    with pytest.raises(SpecError) as caught:
        network.patch(changes, "file.yaml: variants.a")
    message = str(caught.value)
    assert message.startswith("file.yaml: variants.a: ")
    for word in words:
        assert word in message


@pytest.mark.parametrize("name", NETWORKS)
def test_json_gives_the_network_back(name: str):
    network = NETWORKS[name]
    again = NetworkSpec.model_validate_json(network.to_json())
    assert again == network
    assert again.hash == network.hash


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"width": 48}, lambda n: n.width == 48),
        ({"depths": [6]}, lambda n: n.depths == (6,)),
        ({"windows.base": 4}, lambda n: n.windows.sizes == (2, 4, 8, 16, 24, 32)),
        ({"windows.ratios": [8] * 6}, lambda n: n.windows.sizes == (64,) * 6),
        ({"mixer.position_width": 8}, lambda n: n.mixer.position_width == 8),
        ({"mixer.heads": 3, "width": 36}, lambda n: (n.mixer.heads, n.width) == (3, 36)),
        ({"context": {"grams": 2}}, lambda n: n.context == Ngram()),
        ({"ffn.kind": "conv"}, lambda n: n.ffn.kind == "conv"),
        ({"norm": "before"}, lambda n: n.norm == "before"),
        ({"stochastic_depth": 0.2}, lambda n: n.stochastic_depth == 0.2),
        ({"mixer": {"kind": "window_attention"}}, lambda n: n.mixer == WindowAttention()),
        (
            {"mixer": {"kind": "transposed_attention", "heads": 10}},
            lambda n: n.mixer == TransposedAttention(heads=10),
        ),
        ({"mixer.branches": ["spatial"]}, lambda n: n.mixer.branches == ("spatial",)),
        ({"mixer.features": "linear"}, lambda n: n.mixer.features == "linear"),
        ({"mixer.features": "conv"}, lambda n: n.mixer.features == "conv"),
        ({"mixer.softmax": True}, lambda n: n.mixer.softmax),
        ({"mixer.position": "table"}, lambda n: n.mixer.position == "table"),
        ({"mixer.position": "none"}, lambda n: n.mixer.position == "none"),
        ({"windows.shift": True}, lambda n: n.windows.shift),
        ({"upsampler": "two_stage"}, lambda n: n.upsampler == "two_stage"),
        ({"mean": [0, 0, 0]}, lambda n: n.mean == (0, 0, 0)),
        ({"name": "mine"}, lambda n: n.name == "mine"),
    ],
)
def test_a_patch_changes_what_it_names_alone(changes: dict[str, Any], expected):
    patched = HIT_SIR.patch(changes)
    assert expected(patched)
    assert patched.hash != HIT_SIR.hash
    roots = {path.split(".")[0] for path in changes}
    for field in NetworkSpec.model_fields:
        assert (getattr(patched, field) != getattr(HIT_SIR, field)) == (field in roots)


def test_an_empty_patch_is_the_base_itself():
    assert HIT_SIR.patch({}) == HIT_SIR


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        ("windows.shfit", "no field 'windows.shfit'; did you mean 'windows.shift'?"),
        ("widht", "no field 'widht'; did you mean 'width'?"),
        ("windos.shift", "no field 'windos.shift'; did you mean 'windows'?"),
        ("mixer.hads", "no field 'mixer.hads'; did you mean 'mixer.heads'?"),
        ("windows.zzz", "known: windows.base, windows.ratios, windows.shift"),
        ("windows.ratios.0", "windows.ratios is (0.5, 1.0, 2.0, 4.0, 6.0, 8.0)"),
        ("width.inner", "width is 60"),
        ("context.grams", "context is null; change 'context' as a whole"),
        ("", "no field ''"),
    ],
)
def test_an_unknown_path_is_refused_with_the_nearest(path: str, answer: str):
    _refused(HIT_SIR, {path: 1}, answer)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("width", "wide"),
        ("width", "60"),
        ("width", 48.5),
        ("width", True),
        ("width", -60),
        ("width", None),
        ("windows.shift", "no"),
        ("windows.shift", 1),
        ("windows.base", 0),
        ("windows.ratios", 1),
        ("windows.ratios", [1, 1, 1, 1, 1, "one"]),
        ("windows.ratios", [1, 1, 1, 1, 1, float("nan")]),
        ("depths", []),
        ("depths", 6),
        ("mixer.softmax", "yes"),
        ("mixer.position_width", 2),
        ("mixer.branches", []),
        ("mixer.branches", ["spectral"]),
        ("mixer.branches", ["channel", "spatial"]),
        ("mixer.branches", ["spatial", "spatial"]),
        ("mixer.branches", "spatial"),
        ("mixer.features", "all"),
        ("mixer.position", "learned"),
        ("upsampler", "three_stage"),
        ("mixer.kind", "attention"),
        ("ffn.kernel", 3),
        ("norm", "both"),
        ("stochastic_depth", 1),
        ("context", {"grams": 3}),
        ("name", "My Network"),
    ],
)
def test_a_value_of_the_wrong_type_or_range_names_its_path(path: str, value: Any):
    _refused(HIT_SIR, {path: value}, path.removesuffix(".kind"))


@pytest.mark.parametrize(
    ("network", "changes", "words"),
    [
        (HIT_SIR, {"mixer": {"kind": "window_attention", "position": "dynamic"}}, ["position"]),
        (HIT_SIR, {"mixer": {"kind": "transposed_attention", "softmax": True}}, ["mixer.softmax"]),
        (HIT_SIR, {"mixer": {"kind": "window_attention", "branches": []}}, ["mixer.branches"]),
        (SWINIR, {"mixer.position_width": 3}, ["mixer.position_width"]),
        (SWINIR, {"mixer": {"kind": "correlation", "position_width": 2}}, ["position_width", "3"]),
    ],
)
def test_a_mixer_takes_its_own_fields_alone(network: NetworkSpec, changes, words):
    _refused(network, changes, *words)


@pytest.mark.parametrize("kind", ["window_attention", "correlation", "attention"])
def test_a_mixer_is_replaced_as_a_whole(kind: str):
    for changes in ({"mixer.kind": kind}, {"mixer.kind": kind, "mixer.heads": 3}):
        _refused(
            HIT_SIR, changes, "change 'mixer' as a whole", f"mixer: {{kind: {kind}, heads: 6}}"
        )


def test_a_part_of_what_is_replaced_is_refused():
    mixer = {"kind": "window_attention"}
    for changes in ({"mixer": mixer, "mixer.heads": 3}, {"mixer.heads": 3, "mixer": mixer}):
        _refused(HIT_SIR, changes, "mixer.heads is part of mixer, which is also changed")


def test_channels_know_no_positions():
    """One line makes the ablation, and the same network is the same value however it was said."""
    alone = HIT_SIR.patch({"mixer.branches": ["channel"]})
    assert alone.mixer.position == "none"
    said = {"kind": "correlation", "branches": ["channel"], "position": "none"}
    assert HIT_SIR.patch({"mixer": said}) == alone
    assert NetworkSpec.model_validate_json(alone.to_json()) == alone
    assert alone.patch({"mixer.branches": ["spatial"]}).mixer.position == "none"


CHANNEL = {"mixer.branches": ["channel"]}
SPATIAL_ONLY = "to the spatial branch, which is not in mixer.branches"


@pytest.mark.parametrize(
    ("network", "changes", "path", "reason"),
    [
        (HIT_SIR, {**CHANNEL, "mixer.position": "none"}, "mixer.position", SPATIAL_ONLY),
        (HIT_SIR, {**CHANNEL, "mixer.position": "dynamic"}, "mixer.position", SPATIAL_ONLY),
        (HIT_SIR, {**CHANNEL, "mixer.position": "table"}, "mixer.position", SPATIAL_ONLY),
        (HIT_SIR, {**CHANNEL, "mixer.softmax": True}, "mixer.softmax", SPATIAL_ONLY),
        (HIT_SIR, {**CHANNEL, "mixer.softmax": False}, "mixer.softmax", SPATIAL_ONLY),
        (HIT_SIR, {**CHANNEL, "mixer.heads": 3}, "mixer.heads", SPATIAL_ONLY),
        (
            HIT_SIR,
            {"mixer.position": "none", "mixer.position_width": 8},
            "mixer.position_width",
            "dynamic",
        ),
        (
            SWINIR,
            {"depths": [1], "windows.ratios": [1], "windows.shift": False},
            "windows.shift",
            "second block",
        ),
    ],
)
def test_what_the_network_does_not_read_cannot_be_patched(network, changes, path: str, reason: str):
    _refused(network, changes, path, reason)


def test_heads_of_a_context_count_without_a_spatial_branch():
    patched = NETWORKS["hit_sng"].patch({**CHANNEL, "mixer.heads": 3})
    assert patched.mixer.heads == 3
    _refused(NETWORKS["hit_sng"], {**CHANNEL, "mixer.heads": 7}, "context", "7", "30")


@pytest.mark.parametrize(
    ("network", "changes", "words"),
    [
        (HIT_SIR, {"windows.ratios": [0.3] + [1] * 5}, ["windows", "0.3", "whole"]),
        (HIT_SIR, {"windows.ratios": [0] + [1] * 5}, ["windows", "whole"]),
        (HIT_SIR, {"windows.ratios": [1.5] + [1] * 5}, ["windows", "12", "multiple"]),
        (HIT_SIR, {"windows.ratios": [1, 1]}, ["depths", "6 blocks", "2"]),
        (HIT_SIR, {"depths": [5]}, ["depths", "5 blocks", "6"]),
        (HIT_SIR, {"width": 4, "mixer.heads": 2}, ["width", "4", "mixer.features", "5"]),
        (HIT_SIR, {"mixer": {"kind": "transposed_attention", "heads": 7}}, ["heads", "7", "60"]),
        (HIT_SIR, {"mixer": {"kind": "permuted_attention"}, "windows.base": 4}, ["4 divides"]),
        (HIT_SIR, {"padding": "picture"}, ["padding", "mixer"]),
        (HIT_SIR, {"mixer.heads": 7}, ["mixer.heads", "7", "30"]),
        (HIT_SIR, {"width": 61}, ["width", "61", "odd"]),
        (SWINIR, {"mixer.heads": 7}, ["mixer.heads", "7", "60"]),
        (SWINIR, {"context": {"grams": 2}, "mixer.heads": 20}, ["context", "20", "30"]),
        (SRFORMER, {"windows.base": 6}, ["windows", "4 divides"]),
        (SRFORMER, {"width": 54}, ["width", "multiple of 4"]),
    ],
)
def test_parts_that_do_not_fit_are_refused(network: NetworkSpec, changes, words):
    _refused(network, changes, *words)


@pytest.mark.parametrize("changes", [{"width": 60}, {"windows": HIT_SIR.windows.model_dump()}])
def test_a_patch_that_changes_nothing_is_refused(changes: dict[str, Any]):
    _refused(HIT_SIR, changes, "changes nothing in hit_sir")


def test_every_field_is_in_what_is_hashed():
    def check(value: Value, plain: dict[str, Any]) -> None:
        assert set(plain) == set(type(value).model_fields)
        for field, inner in value:
            if isinstance(inner, Value):
                check(inner, plain[field])

    for network in NETWORKS.values():
        check(network, network.model_dump(mode="json"))


def test_windows_have_whole_sides():
    assert Windows(base=8, ratios=(0.5, 1, 6)).sizes == (4, 8, 48)


def test_features_are_padded_to_windows_and_their_pairs():
    assert HIT_SIR.multiples == (4, 8, 16, 32, 48, 64)
    assert NETWORKS["hit_sng"].multiples == (8, 16, 32, 64, 96, 128)
    assert NETWORKS["swinir_ng"].multiples == (8,) * 6


def test_position_width_cannot_erase_positions():
    assert Correlation.model_fields["position_width"].default == 3
    _refused(HIT_SIR, {"mixer.position_width": 1}, "mixer.position_width", "3")


def test_a_scaled_network_is_named_by_both():
    scaled = ScaledNetwork(network=HIT_SIR, scale=4)
    assert scaled.name == "hit_sir-x4"
    assert scaled.hash != ScaledNetwork(network=HIT_SIR, scale=2).hash


@pytest.mark.parametrize("heads", [2, 3, 6, 10])
def test_the_heads_of_the_ablation_divide_the_width(heads: int):
    for network in (HIT_SIR, SWINIR, SRFORMER):
        if heads != network.mixer.heads:
            assert network.patch({"mixer.heads": heads}).mixer.heads == heads


def test_context_is_padded_for_as_the_mixers_input_is():
    """The mixer does not matter: an ablation of it leaves the padding as it was."""
    window_attention = {"mixer": {"kind": "window_attention"}}
    assert NETWORKS["hit_sng"].patch(window_attention).multiples == NETWORKS["hit_sng"].multiples


@pytest.mark.parametrize(
    ("mixer", "kernel", "in_tiles"),
    [
        (WindowAttention(), "scaled_dot_product_attention", "tiles"),
        (PermutedAttention(position="none"), "scaled_dot_product_attention", "tiles"),
        (TransposedAttention(), "re-associated", "re-associated"),
        (Correlation(), "re-associated", "re-associated"),
        (Correlation(branches=("channel",)), "re-associated", "re-associated"),
        *(
            (Correlation(softmax=True, branches=branches), kernel, kernel)
            for branches, kernel in [
                (("spatial", "channel"), "scaled_dot_product_attention, re-associated"),
                (("spatial",), "scaled_dot_product_attention"),
            ]
        ),
    ],
)
def test_a_mixer_says_what_computes_it(mixer, kernel: str, in_tiles: str):
    network = NETWORKS["hit_sir"].model_copy(
        update={"mixer": mixer, "windows": Windows(base=8, ratios=(1,))}
    )
    assert kernel_of(network, "fused") == kernel
    assert kernel_of(network, "fused", in_tiles=True) == in_tiles
    assert kernel_of(network, "paper") == "as written"


def test_large_windows_are_left_to_torchs_attention():
    network = NETWORKS["hit_sir"].patch({"mixer": {"kind": "window_attention"}})
    assert kernel_of(network, "fused", in_tiles=True) == "tiles, scaled_dot_product_attention"
    large = network.patch({"windows.ratios": [8] * 6})
    assert kernel_of(large, "fused", in_tiles=True) == "scaled_dot_product_attention"
