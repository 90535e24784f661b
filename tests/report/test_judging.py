import math

import numpy as np
import pytest

from hitsr.report.estimates import difference
from hitsr.report.judging import (
    ANY,
    Judgement,
    Measured,
    Style,
    above,
    absence,
    below,
    combined,
    gain_of,
    judge,
    near,
    of_difference,
    printed_number,
    tolerance_of,
)
from hitsr.report.ledger import rulings
from hitsr.specs.claims import NetworkClaim


@pytest.mark.parametrize(
    ("here", "verdict"),
    [
        (247.66, "not_reproduced"),
        (274.14, "reproduced"),  # prints as 274.1
        (274.0, "within"),  # exactly at the tolerance
        (274.2, "within"),  # though 274.2 - 274.1 is above 0.1 in binary
        (274.3, "not_reproduced"),
    ],
)
def test_an_exact_number_must_print_alike_or_be_in_the_band(here, verdict):
    assert judge(near(274.1, 0.1, 1), Measured(here)).verdict == verdict


@pytest.mark.parametrize(
    ("interval", "verdict"),
    [
        ((0.21, 0.31), "reproduced"),  # both ends touch the band
        ((0.21, 0.32), "within"),  # one end is outside
        ((0.0, 1.0), "within"),
    ],
)
def test_a_whole_interval_in_the_band_is_reproduced(interval, verdict):
    assert judge(near(0.26, 0.05, 2), Measured(0.24, interval)).verdict == verdict


def test_an_estimate_outside_fails_however_wide_its_interval():
    assert judge(near(0.26, 0.05, 2), Measured(0.1, (-1, 1))).verdict == "not_reproduced"


def test_an_estimate_that_prints_alike_is_reproduced_however_wide_its_interval():
    assert judge(near(0.26, 0.05, 2), Measured(0.2599, (-1, 1))).verdict == "reproduced"


@pytest.mark.parametrize(
    ("expected", "here", "verdict"),
    [
        (above(0), Measured(0.0), "not_reproduced"),
        (above(0), Measured(1e-6), "reproduced"),
        (above(0), Measured(0.1, (0.0, 0.2)), "within"),  # the interval touches zero
        (above(0), Measured(0.1, (0.01, 0.2)), "reproduced"),
        (below(0), Measured(-0.7), "reproduced"),
        (below(0), Measured(0.0), "not_reproduced"),
    ],
)
def test_a_direction_excludes_its_limit(expected, here, verdict):
    assert judge(expected, here).verdict == verdict


def test_a_lost_gain_is_never_within_tolerance():
    assert judge(gain_of(0.03, 0.05, 2), Measured(0.0, (-0.1, 0.1))).verdict == "not_reproduced"
    assert judge(gain_of(0.03, 0.05, 2), Measured(0.001, (-0.1, 0.1))).verdict == "within"
    assert judge(gain_of(-0.03, 0.05, 2), Measured(0.0)).verdict == "not_reproduced"
    assert judge(gain_of(0.0, 0.05, 2), Measured(-0.02, (-0.04, 0.0))).verdict == "reproduced"


@pytest.mark.parametrize("number", [math.inf, -math.inf, math.nan])
def test_an_infinite_mean_is_not_judged(number):
    found = judge(above(0), Measured(number))
    assert found.verdict == "not_testable"
    assert "no finite mean" in found.reason


def test_what_was_not_measured_is_not_testable():
    assert judge(above(0), None) == Judgement("not_testable", "not run")
    assert judge(above(0), None, "no GPU") == Judgement("not_testable", "no GPU")


def test_a_hindrance_keeps_any_number_from_being_judged():
    for value in (0.26, 5.0):
        found = judge(near(0.26, 0.05, 2), Measured(value), "1 seed instead of 3")
        assert found == Judgement("not_testable", "1 seed instead of 3")


def test_anything_holds_where_nothing_is_expected():
    assert ANY.holds(-1e9)
    assert not ANY.prints_as(0)


def test_a_claim_is_judged_by_what_was_run_and_one_failure_is_enough():
    assert combined(["reproduced", "not_testable", "not_reproduced"]) == "not_reproduced"
    assert combined(["reproduced", "within", "not_testable"]) == "within"
    assert combined(["reproduced", "not_testable"]) == "reproduced"
    assert combined(["not_testable"]) == combined([]) == "not_testable"


def test_a_difference_of_one_seed_or_one_picture_is_not_judged():
    pictures = np.arange(6.0)[None] / 10
    one = of_difference(difference(31 + pictures, 0 * pictures, fixed_second=True))
    assert "one seed" in judge(above(0), one).reason
    alone = of_difference(difference(pictures[:, 1:2], 0 * pictures[:, 1:2], fixed_first=True,
                                     fixed_second=True))  # fmt: skip
    assert "one picture" in judge(above(0), alone).reason
    seeds = of_difference(difference(pictures + np.ones((3, 1)), pictures, fixed_second=True))
    assert judge(above(0), seeds).verdict == "reproduced"


def test_what_equals_its_hr_has_an_infinite_difference():
    found = difference(np.array([[math.inf, 30]]), np.array([[40, 30.0]]))
    assert of_difference(found).value == math.inf


def test_numbers_are_written_with_unit_and_sign():
    assert Style(1, "G").write(244.37) == "244.4\u202fG"
    assert Style(1, "×").write(7.63) == "7.6×"
    assert Style(2, "dB", plus=True).span([0.04, 0.26]) == "+0.04 to +0.26\u202fdB"
    assert Style(2).span([1.001, 1.002]) == "1.00"


def claim_about(evidence, quantity: str) -> NetworkClaim:
    return next(
        c for c in evidence.claims if isinstance(c, NetworkClaim) and quantity in c.quantities
    )


def test_tolerances_are_those_of_the_claims_alone(evidence):
    psnr, ssim = claim_about(evidence, "psnr_db"), claim_about(evidence, "ssim")
    assert tolerance_of(psnr, "psnr_db", "Set5", is_released=False) == 0.05
    assert tolerance_of(psnr, "psnr_db", "Urban100", is_released=False) == 0.1
    assert tolerance_of(psnr, "psnr_db", "Urban100", is_released=True) == 0.005
    assert tolerance_of(ssim, "ssim", "Set5", is_released=False) is None
    changed = psnr.model_copy(update={"by_set": {"Set5": 0.3}})
    assert tolerance_of(changed, "psnr_db", "Set5", is_released=False) == 0.3


@pytest.mark.parametrize(
    ("params_k", "flops_g", "verdicts"),
    [
        (910.152, 244.37, ("reproduced", "reproduced")),  # 910 and 244.4 are printed
        (910.6, 244.47, ("within", "within")),
        (911.4, 244.54, ("not_reproduced", "not_reproduced")),  # 1.4 and 0.14 away, not 1 and 0.1
    ],
)
def test_a_table_and_the_ledger_ask_about_one_number(folder, params_k, flops_g, verdicts):
    folder.complexity("swinir_light", params_k, flops_g)
    evidence = folder.evidence()
    for quantity, verdict in zip(("params", "flops"), verdicts):
        judged = printed_number(evidence, quantity, "swinir_light", 2)
        assert judged.verdict == verdict
        claim = claim_about(evidence, quantity)
        (ruling,) = (each for each in rulings(evidence) if each.claim == claim)
        assert judged in ruling.numbers


def test_what_is_not_printed_or_not_claimed_is_not_judged(evidence):
    assert printed_number(evidence, "params", "bicubic", 2) is None
    assert printed_number(evidence, "psnr_db", "hit_sir", 2, "test") is None
    assert printed_number(evidence, "latency_ms", "hit_sir", 2) is None


def test_an_absent_score_says_whether_it_was_asked_for(evidence):
    assert absence(evidence, 3, "test") == "not part of this run at this scale"
    assert absence(evidence, 2, "Set5") == "not among this run’s test sets"
    assert absence(evidence, 2, "test") == "not run"
