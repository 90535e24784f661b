import math

import pytest

from hitsr.report.verdicts import (
    ANY,
    Judgement,
    Measured,
    above,
    below,
    combined,
    gain_of,
    judge,
    near,
)


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


def test_a_claim_fails_with_one_part_and_holds_with_all():
    assert combined(["reproduced", "not_testable", "not_reproduced"]) == "not_reproduced"
    assert combined(["reproduced", "within", "not_testable"]) == "not_testable"
    assert combined(["reproduced", "within"]) == "within"
    assert combined(["reproduced", "reproduced"]) == "reproduced"
    assert combined([]) == "not_testable"
