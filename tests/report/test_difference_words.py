import math

import numpy as np
import pytest

from hitsr.report.difference_words import in_words, leads_in_words, p_in_words
from hitsr.report.estimates import corrected, difference


def scores(*rows: list[float]) -> np.ndarray:
    return np.array(rows, dtype=float)


def said(first: np.ndarray, second: np.ndarray, **how: bool) -> str:
    return in_words(difference(first, second, **how), "dB", 2).replace("\u202f", " ")


BASE = scores([30, 31, 32, 33])
GAINS = np.array([0.10, 0.12, 0.09, 0.13])


def test_several_seeds_are_said_with_what_the_design_detects():
    luck = scores([0], [0.02], [0.01])
    words = said(BASE + luck + GAINS, BASE + luck * 0.5, same_seeds=True)
    head, tail = words.split("; this design detects ")
    assert head == (
        "better on all 4 pictures; +0.12 dB, 95 % interval over 3 seeds and 4 pictures "
        "+0.08 to +0.15"
    )
    assert tail == "0.05 dB or more"


def test_one_seed_says_what_it_leaves_unknown():
    assert said(BASE + GAINS, BASE) == (
        "better on all 4 pictures; +0.11 dB, over these pictures +0.08 to +0.14; "
        "one seed: what another seed would give is not known"
    )
    luck = scores([0], [0.02])
    assert "pictures; one seed" not in said(BASE + luck, BASE, fixed_second=True)
    assert "one seed on one side: what another seed" in said(BASE + luck + GAINS, BASE)


def test_the_same_difference_everywhere_makes_no_interval():
    assert said(BASE + 0.07, BASE) == (
        "better on all 4 pictures; +0.07 dB; one seed: what another seed would give is not known"
    )
    assert said(BASE + 0.07, BASE, fixed_first=True, fixed_second=True).endswith(
        "+0.07 dB; no interval, as nothing varies"
    )


def test_one_picture_says_what_it_leaves_unknown():
    one = scores([30.5])
    assert said(one, one - 0.5).startswith("better on the one picture; +0.50 dB; one picture and")
    assert said(one, one - 0.5, fixed_first=True, fixed_second=True).endswith(
        "one picture: what another picture would give is not known"
    )


def test_samples_are_named_as_they_were_drawn():
    first, second = BASE + scores([0], [0.1], [0.3]) + GAINS, BASE + scores([0], [0.2])
    assert "over 3 and 2 seeds and 4 pictures" in said(first, second)
    assert "over 3 seeds and 4 pictures" in said(first, BASE, fixed_second=True)
    assert "over 4 pictures" in said(BASE + GAINS, BASE, fixed_first=True, fixed_second=True)


def test_ends_near_each_other_or_zero_get_more_digits():
    fixed = {"fixed_first": True, "fixed_second": True}
    assert "+0.1097 to +0.1103" in said(BASE + 0.11 + (GAINS - 0.11) / 100, BASE, **fixed)
    words = said(BASE + GAINS - 0.083, BASE, **fixed)
    assert "−0.002 to +0.056" in words


def test_counts_are_those_of_the_pictures():
    each = np.concatenate([np.full(87, 0.3), np.full(12, -0.16), [0]])
    second = np.full((1, 100), 30.0)
    assert said(second + each, second).startswith(
        "better on 87 of 100 pictures, equal on 1; +0.24 dB, over these pictures +0.2"
    )
    assert said(second, second + each).startswith("worse on 87 of 100 pictures, equal on 1; −0.24")
    assert said(second, second) == "equal on all 100 pictures"


def test_an_infinite_mean_is_said():
    assert said(scores([math.inf, 31]), scores([40, 30])).endswith("that the other misses")


def test_attribution_has_no_unit_and_its_own_sides():
    found = difference(BASE + GAINS, BASE)
    words = in_words(found, "", 1, sides=("higher", "lower"))
    assert words.startswith("higher on all 4 pictures; +0.1, over these pictures")


@pytest.mark.parametrize("pictures", [5, 6])
def test_p_names_its_samples_or_says_why_it_cannot_decide(pictures: int):
    found = difference(scores([31.0 + i for i in range(pictures)]), np.full((1, pictures), 30.0))
    few = "too few to decide: 5 pictures that differ cannot give p below 0.05"
    assert p_in_words(found) == (few if pictures == 5 else "p = 0.031 over pictures")
    if pictures == 6:
        assert (
            p_in_words(corrected({0: found, 1: found})[0]) == "p = 0.062 over pictures, after Holm"
        )


@pytest.mark.parametrize(
    ("gains", "expected"),
    [
        ([-0.1, -0.2, -0.3], "none of three conversions has the higher mean"),
        ([0.1, -0.2, -0.3], "one of three conversions has the higher mean"),
        ([0.1, 0.2, -0.3], "two of three conversions have the higher mean"),
        ([0.1, 0.2, 0.3], "all three conversions have the higher mean"),
    ],
)
def test_several_pairs_of_one_seed_are_counted_by_their_means(gains, expected):
    pairs = [difference(BASE + GAINS * 0.1 + gain, BASE) for gain in gains]
    words = leads_in_words(pairs)
    assert words.startswith(f"{expected} on these pictures, with one seed (")


def test_several_pairs_of_several_seeds_are_counted_by_their_intervals():
    luck = scores([0], [0.02], [0.01])
    clear = difference(BASE + luck + GAINS, BASE + luck * 0.5, same_seeds=True)
    behind = difference(BASE + luck * 0.5, BASE + luck + GAINS, same_seeds=True)
    unclear = difference(BASE + luck * 20, BASE + luck * 0, same_seeds=True)
    words = leads_in_words([clear, behind, unclear])
    assert words.startswith(
        "of three conversions, one is ahead, one is behind and the seeds do not decide one ("
    )
    assert "one is ahead" not in leads_in_words([clear, clear])
    assert "two are ahead" in leads_in_words([clear, clear])
