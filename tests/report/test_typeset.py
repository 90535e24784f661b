import math

import pytest

from hitsr.report.typeset import (
    between,
    duration,
    fixed,
    listed,
    number_word,
    percent,
    share,
    signed,
    times,
)


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [(1181.4, 0, "1\u202f181"), (-0.04, 1, "0.0"), (-26.4, 1, "−26.4"), (math.inf, 2, "∞")],
)
def test_fixed_has_thin_spaces_true_minus_and_no_negative_zero(value, digits, text):
    assert fixed(value, digits) == text


@pytest.mark.parametrize(("value", "text"), [(0.214, "+0.21"), (-0.2, "−0.20"), (0.004, "0.00")])
def test_signed_has_a_sign_unless_it_prints_as_zero(value, text):
    assert signed(value, 2) == text


@pytest.mark.parametrize(
    ("ratios", "text"),
    [([6.22, 7.14], "6.2 to 7.1"), ([0.9], "0.9"), ([0.034, 1.2], "0.03 to 1.20")],
)
def test_ratios_have_more_decimals_where_one_would_show_nothing(ratios, text):
    assert times(ratios) == text


def test_percent_is_a_change():
    assert percent(-15.2) == "−15\u202f%"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.44, "0.4 s"), (45, "45 s"), (500, "8 min 20 s"), (112_800, "31 h 20 min")],
)
def test_duration_has_two_units_at_most(seconds, text):
    assert duration(seconds).replace("\u202f", " ") == text


@pytest.mark.parametrize(
    ("part", "whole", "text"),
    [
        (6, 6, "all six pairs"),
        (4, 6, "four of six pairs"),
        (0, 3, "none of three pairs"),
        (2, 2, "both pairs"),
        (1, 2, "one of two pairs"),
        (0, 2, "neither pair"),
        (1, 1, "the one pair"),
    ],
)
def test_share_in_words(part, whole, text):
    assert share(part, whole, "pair") == text
    assert share(part, whole) == text.removesuffix("s").removesuffix(" pair")


def test_between_says_one_number_where_both_ends_print_alike():
    assert between([0.211, 0.212], 2) == "0.21"
    assert between([0.23, 0.21], 2, "dB") == "0.21 to 0.23\u202fdB"


def test_listed_joins_as_prose():
    assert [listed(list("abc")[:n]) for n in range(4)] == ["", "a", "a and b", "a, b and c"]


def test_large_numbers_stay_digits():
    assert (number_word(12), number_word(13)) == ("twelve", "13")
