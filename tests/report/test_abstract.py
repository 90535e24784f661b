"""The abstract is checked by what it claims, against records that make it true or false."""

import pytest

from hitsr.report.abstract import abstract
from hitsr.report.budget import budget_of
from hitsr.specs.config import runs


def words(folder) -> list[str]:
    evidence = folder.evidence()
    return abstract(evidence, budget_of(evidence))


def test_it_has_four_sentences_at_most(finished):
    trained, sizes, speed, claims = words(finished)
    assert trained.startswith("Two networks, reduced in size, were trained by one recipe; on ")
    assert "both beat bicubic" in trained
    assert "4 of 4 counts print as in the paper" in sizes
    assert "2.5 (CPU, fused) times as fast" in speed
    assert "not testable here" in claims


def test_networks_of_ones_own_are_not_called_trained(configured):
    own = {"mine": {"source": "examples/own_network.py:build", "scales": [2]}}
    trained = words(configured(own=own).everything())[0]
    assert trained.startswith("Two networks, reduced in size, were trained by one recipe; on ")


def test_weights_of_ones_own_are_not_called_released(configured):
    folder = configured(
        own={"mine": {"source": "examples/own_network.py:build", "scales": [2]}},
        networks=[], train=None, data__train=None, data__validation=None,
    )  # fmt: skip
    folder.quality("bicubic-x2", "test", 30.0)
    folder.quality("mine-x2", "test", 29.0)
    assert words(folder)[0].startswith("Nothing was trained here: on “test” ×2 mine is not above")


def test_one_pair_has_one_number(finished):
    _, sizes, speed, _ = words(finished)
    assert "changes parameters by −15.2\u202f% and FLOPs by −14.1\u202f%;" in sizes
    assert speed.startswith("The conversion runs 2.5 (CPU, fused) times as fast as its baseline; ")
    assert "the paper’s ratio is 7.6, " in speed


def test_counts_at_another_output_size_are_not_called_unlike_print(configured):
    folder = configured(efficiency__output_size=[48, 32]).everything()
    for name in ("swinir_light-x2", "hit_sir-x2"):
        folder.edit("complexity", name, output_size=[48, 32], flops=1_000_000)
    assert "2 of 2 counts print as in the paper" in words(folder)[1]


def test_nothing_trained_is_said(folder):
    assert words(folder)[0] == "No network has been trained yet."


def test_one_network_is_not_called_the_one_network(configured):
    folder = configured(
        networks=["hit_srf"], train=None, weights={"root": "weights", "scales": [2]},
        data__train=None, data__validation=None,
    )  # fmt: skip
    folder.quality("bicubic-x2", "test", 30.0)
    folder.quality("hit_srf-x2", "test", 31.0)
    assert words(folder)[0] == (
        "Released weights, nothing trained here: on “test” ×2 HiT-SRF is above bicubic "
        "(+1.00\u202fdB)."
    )


def test_a_changed_list_is_said_without_brackets(configured):
    folder = configured(train__changes={"depths": [6], "windows.ratios": [1] * 6})
    assert budget_of(folder.evidence()).reduction.count("ratios of the windows 1, 1") == 1


def test_neither_of_two_networks_beats_bicubic(configured):
    folder = configured().everything({"bicubic": 30.0, "swinir_light": 28.0, "hit_sir": 28.5})
    assert "neither beats bicubic" in words(folder)[0]


def with_seeds(configured, *leads: float):
    """HiT-SIR ahead of SwinIR-Light by these, seed by seed."""
    folder = configured(train__seeds=list(range(1, len(leads) + 1))).everything()
    for run in runs(folder.config).values():
        lead = leads[run.seed - 1] if run.network.name == "hit_sir" else 0.0
        folder.quality(run.name, "test", 31.0 + lead)
    return words(folder)[0]


def test_one_seed_claims_no_more_than_the_mean_on_these_pictures(configured):
    said = with_seeds(configured, 0.4)
    assert "the conversion’s mean is above its baseline’s on these pictures, with one seed" in said
    assert "ahead" not in said


def test_seeds_that_disagree_decide_nothing(configured):
    said = with_seeds(configured, 0.4, -0.1)
    assert "the seeds do not decide whether the conversion is ahead of its baseline (+0.15" in said
    assert "interval −" in said


@pytest.mark.parametrize(("lead", "side"), [(0.4, "ahead of"), (-0.4, "behind")])
def test_seeds_that_agree_decide(configured, lead, side):
    said = with_seeds(configured, lead, lead * 1.01)
    assert f"the conversion is {side} its baseline" in said
