import math

from hitsr.report.cells import (
    NO_SOURCE,
    NOT_RUN,
    estimate,
    here,
    paper,
    ranked,
)
from hitsr.report.estimates import Estimate


def test_absent_numbers_say_why():
    assert here(None) == estimate(None, 2) == NOT_RUN
    assert paper(None) == NO_SOURCE


def test_zero_is_a_number_and_not_absent():
    assert here(0.0).text == "0"
    assert paper(0.0, 1).text == "0.0"


def test_spread_has_the_digits_of_its_value():
    assert estimate(Estimate(33.456, 0.0123), 2).spread == "±0.01"


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
