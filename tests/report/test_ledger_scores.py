"""Claims about PSNR and SSIM: printed scores, gains over baselines, and pairs of one's own."""

import pytest

from hitsr.report.ledger import rulings
from hitsr.report.ledger_words import heading, here_words, paper_words, why
from hitsr.specs.config import runs

SEEDS = [1, 2, 3]
RELEASED = {"train": None, "data__train": None, "data__validation": None}
GAIN = {"datasets": ("Set5",), "quantities": {"psnr_db": 0.05}}
# Set5 at x2, as the table prints: 38.14 and 38.22 dB. The first of two pictures, one dB apart:
SWINIR_DB = 38.14 - 0.5


def score_seeds(folder, gains_db):
    """Set5 with three seeds: the baseline's as printed, the conversion's by gains above."""
    for name, run in runs(folder.config).items():
        gain_db = gains_db[run.seed - 1] if run.network.name == "hit_sir" else 0
        folder.quality(name, "Set5", (SWINIR_DB + gain_db, SWINIR_DB + 1 + gain_db * 0.9))


def test_released_scores_as_printed_reproduce_the_claims_that_they_are_part_of(configured, ruling):
    weights = {"root": "weights", "scales": [4]}
    printed = {
        "Set5": (32.55, 0.8999), "Set14": (28.87, 0.7880),
        "B100": (27.75, 0.7432), "Urban100": (26.80, 0.8069),
    }  # fmt: skip
    folder = configured(networks=["hit_srf"], weights=weights, data__test=list(printed), **RELEASED)
    for dataset, (psnr_db, ssim) in printed.items():
        folder.quality("hit_srf-x4", dataset, (psnr_db,), pictures=("one",), ssim=ssim)
    for claim in ("psnr_printed", "ssim_printed"):
        found = ruling(folder, claim)
        assert found.verdict == "reproduced"
        assert here_words(found).startswith("holds in 4 of 4 run, ")
        assert here_words(found).endswith(f"{len(found.numbers) - 4} not run")
    # What was not run, and what needs a baseline beside it, stays open.
    assert ruling(folder, "fewer_parameters").verdict == "not_testable"
    assert ruling(folder, "gain_hit_srf_x4").verdict == "not_testable"
    evidence = folder.evidence()
    said = heading(rulings(evidence), evidence.networks)
    assert said == "2 claims can be tested on HiT-SRF: two reproduced"


def test_released_weights_have_no_room_beyond_the_printed_digits(configured, ruling):
    folder = configured(weights={"root": "weights", "scales": [2]}, data__test=["Set5"], **RELEASED)
    for network, psnr_db in (("swinir_light", 38.1449), ("hit_sir", 38.231)):  # 38.14, 38.22
        folder.quality(f"{network}-x2", "Set5", (psnr_db,), pictures=("one",))
    found = ruling(folder, "psnr_printed")
    assert {n.name: n.verdict for n in found.numbers if n.here} == {
        "SwinIR-Light, Set5 ×2": "reproduced", "HiT-SIR, Set5 ×2": "not_reproduced",
    }  # fmt: skip
    assert ruling(folder, "gain_hit_sir_x2", **GAIN).numbers[0].here.interval is None


@pytest.mark.parametrize(
    ("gains_db", "verdict"),
    [
        ([0.08, 0.08, 0.08], "reproduced"),  # as printed
        ([0.07, 0.09, 0.09], "reproduced"),
        ([-0.15, 0.1, 0.24], "within"),  # the interval is wider than the band
        ([0.2, 0.2, 0.2], "not_reproduced"),
        ([0.0, 0.0, 0.0], "not_reproduced"),  # 0.08 below, and no gain at all
    ],
)
def test_three_seeds_of_the_papers_budget_are_judged(papers, ruling, gains_db, verdict):
    folder = papers(train__seeds=SEEDS)
    score_seeds(folder, gains_db)
    assert ruling(folder, "gain_hit_sir_x2", **GAIN).verdict == verdict


def test_one_seed_is_shown_without_an_interval_and_not_judged(papers, ruling):
    folder = papers()
    score_seeds(folder, [0.08])
    found = ruling(folder, "gain_hit_sir_x2", **GAIN)
    assert found.verdict == "not_testable"
    assert why(found) == "Not judged: one seed, and what another would give is not known."
    assert found.numbers[0].here.interval is None


def test_a_demos_gain_is_shown_and_not_judged(finished, ruling):
    found = ruling(finished, "gain_hit_sir_x2")
    own = [number for number in found.numbers if "“test”" in number.name]
    assert [number.here.value for number in own] == pytest.approx([0.5, 0.0])
    assert found.verdict == "not_testable"
    assert "100 of 500\u202f000 iterations" in why(found)
    assert "not among this run’s test sets" in why(found).lower()


def test_a_set_of_ones_own_is_not_judged_even_within_the_papers_budget(papers, ruling):
    folder = papers(train__seeds=SEEDS, data__test=["Set5", "mine"])
    score_seeds(folder, [0.08] * 3)
    for name in runs(folder.config):
        folder.quality(name, "mine", 30.0)
    found = ruling(folder, "gain_hit_sir_x2", **GAIN)
    assert [number.verdict for number in found.numbers] == ["reproduced", "not_testable"]
    assert found.numbers[1].judgement.reason == "not judged: no test set of the paper"


def test_an_infinite_difference_is_not_judged(papers, ruling):
    folder = papers(train__seeds=SEEDS)
    for name in runs(folder.config):
        folder.quality(name, "Set5", None if "hit_sir" in name else 38.0)
    found = ruling(folder, "gain_hit_sir_x2", **GAIN)
    assert found.verdict == "not_testable"
    assert "No finite mean" in why(found)
    assert here_words(found) == "+∞\u202fdB"


def test_a_training_may_be_further_from_print_and_its_ssim_is_not_judged(papers, ruling):
    folder = papers(train__seeds=SEEDS)
    for name, run in runs(folder.config).items():
        # Means of 38.09 to 38.11: 0.04 and 0.12 below print.
        folder.quality(name, "Set5", 37.58 + run.seed / 100, ssim=0.95)
    verdicts = {n.name: n.verdict for n in ruling(folder, "psnr_printed").numbers if n.here}
    assert verdicts == {"SwinIR-Light, Set5 ×2": "within", "HiT-SIR, Set5 ×2": "not_reproduced"}
    found = ruling(folder, "ssim_printed", datasets=("Set5",), scales=(2,), networks=("hit_sir",))
    assert why(found) == "Not judged: no tolerance was fixed for a training’s number."


def test_a_claim_about_every_pair_is_judged_by_those_that_were_run(papers, ruling):
    folder = papers(train__seeds=SEEDS)
    score_seeds(folder, [0.08, 0.09, 0.1])
    found = ruling(folder, "general_strategy")
    assert len([number for number in found.numbers if number.paper is not None]) == 45
    assert found.verdict == "reproduced"
    assert here_words(found) == (
        "holds in 1 of 1 run, +0.09\u202fdB (HiT-SIR, Set5 ×2), 44 not run"
    )
    score_seeds(folder, [-0.08, -0.09, -0.1])
    assert ruling(folder, "general_strategy").verdict == "not_reproduced"


def test_another_networks_conversion_is_found_by_its_name(configured, ruling):
    folder = configured(
        networks=["swinir_light"],
        own={name: {"source": f"{name}.py:build", "scales": [2]} for name in ("mine", "hit_mine")},
    )
    assert "no pair from outside" in why(ruling(folder, "beyond_the_paper"))
    for name, psnr_db in (("mine", 30.0), ("hit_mine", 31.0)):
        folder.quality(f"{name}-x2", "test", (psnr_db, psnr_db + 0.9))
    (number,) = ruling(folder, "beyond_the_paper").numbers
    assert number.here.value == pytest.approx(1.0)


def test_nothing_here_was_trained_on_the_larger_set(finished, ruling):
    found = ruling(finished, "more_training_data")
    assert paper_words(found) == "15 of 15 cells"
    assert why(found) == "Nothing here was trained on DF2K."


def test_runs_on_two_sets_are_paired_whatever_they_are_called(configured, ruling):
    # The ablation trains hit_sir on another set, by the config's recipe.
    folder = configured(ablations=["training_data"], **{"data__test": ["Set5"]})
    rows = folder.plan.ablations["training_data"]
    for row in rows:
        for run in row.runs:
            better = 0.25 * (run.data != folder.config.data.train)
            folder.quality(run.name, "Set5", 31.0 + better)
    other = next(run.data for row in rows for run in row.runs if run.data != "train")
    asked = {"network": rows[0].base, "smaller": "train", "larger": other, "scales": (2,)}
    found = ruling(folder, "more_training_data", **asked, datasets=("Set5",))
    assert found.numbers[0].here.value == pytest.approx(0.25)
