import pytest

from hitsr.base.errors import SpecError
from hitsr.specs.convert import EXPANDING, to_hierarchical
from hitsr.specs.network import Correlation, NetworkSpec
from hitsr.specs.zoo import BASELINE, NETWORKS

BASELINES = [NETWORKS[name] for name in BASELINE.values()]
CHANGED = {"name", "mixer", "windows", "norm", "padding", "stochastic_depth"}


@pytest.mark.parametrize("baseline", BASELINES, ids=lambda spec: spec.name)
def test_conversion_changes_mixer_windows_norm_and_padding_only(baseline: NetworkSpec):
    converted = to_hierarchical(baseline)
    for field in set(NetworkSpec.model_fields) - CHANGED:
        assert getattr(converted, field) == getattr(baseline, field)
    assert isinstance(converted.mixer, Correlation)
    assert converted.mixer.heads == baseline.mixer.heads
    assert converted.windows.base == 8
    assert converted.windows.ratios == EXPANDING == (0.5, 1, 2, 4, 6, 8)
    assert not converted.windows.shift
    assert (converted.norm, converted.padding) == ("after", "mixer")
    assert converted.stochastic_depth == 0


@pytest.mark.parametrize("name", BASELINE)
def test_the_paper_conversions_are_conversions(name: str):
    assert NETWORKS[name] == to_hierarchical(NETWORKS[BASELINE[name]], name=name)


def test_conversion_keeps_the_upsampler():
    classical = NETWORKS["swinir_light"].patch({"upsampler": "two_stage"})
    assert to_hierarchical(classical).upsampler == "two_stage"


def test_it_has_a_name_of_its_own():
    assert to_hierarchical(NETWORKS["swinir_light"]).name == "hit_swinir_light"
    assert to_hierarchical(NETWORKS["swinir_light"], name="mine").name == "mine"


def test_windows_may_be_others():
    converted = to_hierarchical(NETWORKS["swinir_light"], base=4, ratios=(1, 1, 2, 2, 4, 4))
    assert converted.windows.sizes == (4, 4, 8, 8, 16, 16)


def test_a_wider_network_has_a_wider_position_bias():
    wide = NETWORKS["swinir_light"].patch({"width": 180})
    assert to_hierarchical(wide).mixer.position_width == 11
    narrow = NETWORKS["swinir_light"].patch({"width": 24})
    assert to_hierarchical(narrow).mixer.position_width == 3


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"ratios": (1, 2)}, "depths: 6 blocks"),
        ({"ratios": (0.3,) * 6}, "windows: ratio 0.3"),
        ({"ratios": ()}, "depths"),
        ({"base": 0}, "windows.base"),
        ({"base": 3}, "windows: ratio 0.5 of base 3"),
    ],
)
def test_windows_that_cannot_be_are_refused(changes, word: str):
    with pytest.raises(SpecError, match="conversion of swinir_light: ") as caught:
        to_hierarchical(NETWORKS["swinir_light"], **changes)
    assert word in str(caught.value)


def test_heads_that_do_not_divide_half_the_width_are_refused():
    many = NETWORKS["swinir_light"].patch({"mixer.heads": 12})
    with pytest.raises(SpecError, match=r"mixer\.heads: 12 heads do not divide 30"):
        to_hierarchical(many)
