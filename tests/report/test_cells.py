import math

import pytest

from hitsr.report.cells import (
    NO_SOURCE,
    NOT_RUN,
    difference,
    estimate,
    here,
    paper,
    ranked,
)
from hitsr.report.statistics import Estimate


def test_absent_numbers_say_why():
    assert here(None) == estimate(None, 2) == NOT_RUN
    assert paper(None) == NO_SOURCE
    assert difference(None, 1.0, 1, 0.1) == NOT_RUN
    assert difference(1.0, None, 1, 0.1) == NO_SOURCE


def test_zero_is_a_number_and_not_absent():
    assert here(0.0).text == "0"
    assert paper(0.0, 1).text == "0.0"


def test_spread_has_the_digits_of_its_value():
    assert estimate(Estimate(33.456, 0.0123), 2).spread == "±0.01"


@pytest.mark.parametrize(
    ("measured", "mark"), [(244.37, None), (244.46, None), (244.61, "outside"), (270.0, "outside")]
)
def test_difference_is_judged_at_the_printed_digits(measured, mark):
    assert difference(measured, 244.4, 1, 0.1).mark == mark


def test_difference_under_another_budget_is_shown_and_not_judged():
    cell = difference(30.0, 38.2, 2, 0.05, judged=False)
    assert (cell.text, cell.mark) == ("−8.20", "unjudged")


def test_best_and_second_by_what_is_printed():
    cells = [here(value, 1) for value in (1.0, 3.04, 2.0, 3.01, None)]
    assert [cell.rank for cell in ranked(cells)] == [None, "best", "second", "best", None]


def test_two_numbers_are_not_ranked():
    assert all(cell.rank is None for cell in ranked([here(1.0), here(2.0), NOT_RUN]))


def test_infinite_psnr_is_called_identical_and_takes_no_rank():
    assert here(math.inf, 2).text == "identical"
    assert [cell.rank for cell in ranked([here(v, 2) for v in (1.0, 3.0, 2.0, math.inf)])] == [
        None, "best", "second", None,
    ]  # fmt: skip
