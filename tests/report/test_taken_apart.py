import math
from itertools import pairwise

import pytest

from hitsr.report.estimates import Quartiles
from hitsr.report.taken_apart import places, share_taken, step_words
from hitsr.specs.steps import STEPS, Step

TIMES = {"swinir_light": (700, 80, 90, 60, 40, 8.0), "hit_sir": (100, 85, 50, 45, 30, 5.0)}
MASKS = Step("paper")


@pytest.fixture
def pair(on_gpu):
    """The one pair of made-up times, of which some steps may be left out."""

    def make(times=TIMES):
        (place,) = places(on_gpu(times).evidence())
        (found,) = place.pairs
        return found

    return make


def test_gains_multiply_to_the_whole_way(pair):
    found = pair()
    for side in (0, 1):
        gains = [step.sides[side].gain.median for step in found.timed[1:]]
        first, last = (found.timed[i].sides[side].time.samples[1] for i in (0, -1))
        assert math.prod(gains) == pytest.approx(first / last)


def test_what_remains_is_what_was_there_times_how_the_gains_differ(pair):
    steps = pair().timed
    for before, after in pairwise(steps):
        baseline, conversion = (side.gain.median for side in after.sides)
        assert after.ratio.median == pytest.approx(before.ratio.median * conversion / baseline)


def test_steps_that_were_not_timed_are_named(pair):
    short = {name: times[:3] for name, times in TIMES.items()}
    assert pair(short).missing == ["TF32", "half precision", "one launch"]


def test_a_step_that_one_side_lacks_is_missing(configured):
    forms = ["released", "paper", "fused"]
    folder = configured(efficiency__latency={"scales": [2], "formulations": forms})
    for network, form, ms in (
        ("swinir_light", "released", 90.0), ("hit_sir", "released", 30.0),
        ("swinir_light", "paper", 60.0),
    ):  # fmt: skip
        folder.latency(network, ms, formulation=form)
    assert places(folder.evidence()) == []
    for network in ("swinir_light", "hit_sir"):
        folder.latency(network, 20.0)
    ((pair,),) = (place.pairs for place in places(folder.evidence()))
    assert pair.missing == ["step by step"]
    baseline, conversion = pair.timed[-1].sides
    assert baseline.gain.median == pytest.approx(90 / 20)  # over the released, as of its pair
    assert conversion.gain.median == pytest.approx(30 / 20)
    assert not pair.is_in_turns


def test_neighbouring_forwards_make_the_ratios(configured):
    folder = configured(efficiency__latency={"scales": [2], "formulations": ["paper", "fused"]})
    for form in ("paper", "fused"):
        folder.latency("swinir_light", samples_ms=(2, 9, 4), formulation=form, session="one")
        folder.latency("hit_sir", samples_ms=(1, 3, 4), formulation=form, session="one")
    (place,) = places(folder.evidence())
    assert place.pairs[0].is_in_turns
    assert place.ratios(Step("fused")) == [2]  # the ratio of medians is 1.3


def test_gpus_stand_first(configured):
    forms = ["released", "paper", "fused"]
    folder = configured(efficiency__latency={"scales": [2], "formulations": forms})
    for device in ("A CPU", "NVIDIA H200"):
        for network in ("swinir_light", "hit_sir"):
            for form in forms:
                folder.latency(network, 50.0, formulation=form, device_name=device)
    assert [place.device_name for place in places(folder.evidence())] == ["NVIDIA H200", "A CPU"]


def test_each_step_of_a_device_has_a_name_of_its_own():
    for device, steps in STEPS.items():
        names = [step_words(device, step)[0] for step in steps]
        assert len(names) == len(set(names))
    assert step_words("cpu", MASKS) != step_words("cuda", MASKS)


def exactly(ratio):
    return Quartiles(ratio, ratio, ratio)


@pytest.mark.parametrize(
    ("before", "after", "share"), [(7, 1, 100), (7, 7, 0), (9, 3, 50), (4, 0.5, 150), (4, 8, -50)]
)
def test_a_share_is_of_the_logarithm(before, after, share):
    found = share_taken(exactly(before), exactly(after))
    assert found.value == pytest.approx(share)
    assert found.interval == pytest.approx((share, share))


def test_a_shares_interval_has_the_widest_ends():
    found = share_taken(Quartiles(4, 8, 16), Quartiles(1, 2, 4))
    assert found.interval == pytest.approx((0, 100))


@pytest.mark.parametrize("before", [exactly(0.9), exactly(1), Quartiles(0.9, 1.1, 1.2)])
def test_where_nothing_is_faster_there_is_no_share(before):
    assert share_taken(before, exactly(0.5)) is None
