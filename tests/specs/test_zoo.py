from typing import Any

import pytest

from hitsr.base.errors import SpecError
from hitsr.specs.convert import to_hierarchical
from hitsr.specs.zoo import BASELINE, NETWORKS, OTHERS, find

SMALL_WINDOWS = [8, 8, 8, 8, 8, 8]
GROWING = [4, 8, 16, 32, 48, 64]


@pytest.mark.parametrize(
    ("name", "mixer", "context", "ffn", "windows", "shift", "norm", "padding", "drop"),
    [
        ("swinir_light", "window_attention", 0, "mlp", SMALL_WINDOWS, 1, "before", "picture", 0.1),
        ("swinir_ng", "window_attention", 2, "mlp", SMALL_WINDOWS, 1, "before", "picture", 0),
        ("srformer_light", "permuted_attention", 0, "conv", [16] * 6, 1, "before", "picture", 0.1),
        ("hit_sir", "correlation", 0, "mlp", GROWING, 0, "after", "mixer", 0),
        ("hit_sng", "correlation", 2, "mlp", GROWING, 0, "after", "mixer", 0),
        ("hit_srf", "correlation", 0, "conv", GROWING, 0, "after", "mixer", 0),
    ],
)
def test_the_six_networks_of_the_paper(
    name: str, mixer, context, ffn, windows, shift, norm, padding, drop
):
    network = NETWORKS[name]
    assert network.name == name
    assert network.mixer.kind == mixer
    assert (network.context.grams if network.context else 0) == context
    assert (network.ffn.kind, network.ffn.ratio, network.ffn.kernel) == (ffn, 2, 5)
    assert list(network.windows.sizes) == windows
    assert network.windows.shift == shift
    assert (network.norm, network.padding) == (norm, padding)
    assert network.stochastic_depth == drop
    assert (network.depths, network.width, network.mixer.heads) == ((6, 6, 6, 6), 60, 6)
    assert network.mean == (0.4488, 0.4371, 0.4040)


def test_there_are_six_of_them():
    assert len(NETWORKS) == len({network.hash for network in NETWORKS.values()}) == 6
    assert {*BASELINE, *BASELINE.values()} == set(NETWORKS)


@pytest.mark.parametrize("name", ["swinir_m", "srformer"])
def test_the_conversion_serves_networks_that_it_was_not_made_for(name: str):
    network, converted = OTHERS[name], OTHERS[f"hit_{name}"]
    assert (network.depths, network.width, network.upsampler) == ((6,) * 6, 180, "two_stage")
    assert converted == find(f"hit_{name}") == to_hierarchical(network)
    assert (converted.depths, converted.width, converted.upsampler) == ((6,) * 6, 180, "two_stage")
    assert not set(OTHERS) & set(NETWORKS)


def test_a_spec_is_its_own_network():
    spec = NETWORKS["hit_sir"].patch({"width": 48})
    assert find(spec) is spec
    assert find("hit_sir") is NETWORKS["hit_sir"]


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("hit_sri", "did you mean 'hit_sr"),
        ("swinir", "did you mean 'swinir_"),
        ("edsr", "known: hit_sir, hit_sng, hit_srf, hit_srformer, hit_swinir_m, srformer, "),
    ],
)
def test_an_unknown_network_names_the_nearest(name: Any, answer: str):
    with pytest.raises(SpecError, match=f"no network {name!r}; {answer}"):
        find(name)
