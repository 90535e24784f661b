from typing import Any

import pytest

from hitsr.errors import SpecError
from hitsr.spec import Correlation, NetworkSpec, Ngram, ScaledNetwork, WindowAttention, Windows
from hitsr.values import Value
from hitsr.zoo import NETWORKS

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
        ("context.grams", "context is None; change 'context' as a whole"),
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
        ("mixer.softmax", True),
        ("mixer.position_width", 2),
        ("mixer.branches", ["channel"]),
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
        (HIT_SIR, {"mixer.kind": "window_attention"}, ["mixer.branches", "mixer.position_width"]),
        (HIT_SIR, {"mixer": {"kind": "window_attention", "branches": []}}, ["mixer.branches"]),
        (SWINIR, {"mixer.position_width": 3}, ["mixer.position_width"]),
        (SWINIR, {"mixer.kind": "correlation"}, ["mixer.position", "mixer.softmax"]),
    ],
)
def test_a_mixer_takes_its_own_fields_alone(network: NetworkSpec, changes, words):
    _refused(network, changes, *words)


@pytest.mark.parametrize(
    ("network", "changes", "words"),
    [
        (HIT_SIR, {"windows.ratios": [0.3] + [1] * 5}, ["windows", "0.3", "whole"]),
        (HIT_SIR, {"windows.ratios": [0] + [1] * 5}, ["windows", "whole"]),
        (HIT_SIR, {"windows.ratios": [1.5] + [1] * 5}, ["windows", "12", "multiple"]),
        (HIT_SIR, {"windows.ratios": [1, 1]}, ["depths", "6 blocks", "2"]),
        (HIT_SIR, {"depths": [5]}, ["depths", "5 blocks", "6"]),
        (HIT_SIR, {"windows.shift": True}, ["windows.shift"]),
        (HIT_SIR, {"padding": "picture"}, ["padding", "mixer"]),
        (HIT_SIR, {"mixer.heads": 7}, ["mixer.heads", "7", "30"]),
        (HIT_SIR, {"width": 61}, ["width", "61", "odd"]),
        (SWINIR, {"mixer.heads": 7}, ["mixer.heads", "7", "60"]),
        (SWINIR, {"context": {"grams": 2}, "mixer.heads": 20}, ["context", "20", "30"]),
        (SRFORMER, {"context": {"grams": 2}}, ["context"]),
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
