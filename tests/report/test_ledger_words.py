from dataclasses import replace

import pytest

from hitsr.report.judging import (
    ANY,
    JudgedNumber,
    Measured,
    Style,
    above,
    gain_of,
    judge,
    near,
)
from hitsr.report.ledger import rulings
from hitsr.report.ledger_words import (
    heading,
    here_words,
    ledger_sentence,
    number_words,
    paper_words,
    tally,
    verdict_words,
    why,
)
from hitsr.report.ruling import Ruling

GAIN, COUNT = Style(2, "dB", plus=True), Style(1, "G")
BOTH = ["swinir_light", "hit_sir"]


def number(name, expected, here=None, style=GAIN, reason="") -> JudgedNumber:
    return JudgedNumber(name, style, expected, expected.value, here, judge(expected, here, reason))


@pytest.fixture
def ruled(evidence):
    """A ruling of any claim that records decide, about these numbers."""
    return lambda *numbers, noun="", note="": Ruling(evidence.claims[0], numbers, noun, note)


PRINTED = gain_of(0.26, 0.05, 2)


def test_one_number_has_its_interval_and_several_their_range(ruled):
    one = number("Set5", PRINTED, Measured(0.24, (0.2, 0.28)))
    two = number("Set14", PRINTED, Measured(0.27))
    assert here_words(ruled(one)) == "+0.24\u202fdB [+0.20, +0.28]"
    assert here_words(ruled(one, two)) == "+0.24 to +0.27\u202fdB"
    assert paper_words(ruled(one, two)) == "+0.26\u202fdB"
    assert (
        here_words(ruled(one, number("B100", PRINTED))) == "+0.24\u202fdB [+0.20, +0.28], 1 not run"
    )
    assert here_words(ruled(number("B100", PRINTED))) == "not run"


def test_counted_numbers_hold_or_not_by_what_was_judged(ruled):
    run = [number(name, above(0), Measured(x)) for name, x in (("a", 0.1), ("b", -0.1), ("c", 0.2))]
    found = ruled(*run, number("d", above(0)), noun="cell")
    assert here_words(found) == "holds in 2 of 3 run, −0.10 to +0.20\u202fdB, 1 not run"
    assert why(found) == "Not so for b (−0.10\u202fdB here)."
    assert paper_words(found) == "no number printed"
    open_ = ruled(number("a", above(0), Measured(0.1), reason="another budget"), noun="cell")
    assert here_words(open_) == "1 of 1 cell, not judged, +0.10\u202fdB (a)"
    assert why(open_) == "Another budget."


def test_printed_numbers_near_which_others_must_be_are_counted(ruled):
    found = ruled(*(number(name, near(274.1, 0.1, 1), style=COUNT) for name in "abc"), noun="count")
    assert paper_words(found) == "3 counts"


def test_why_names_three_that_fail_and_counts_the_rest(ruled):
    failing = [number(name, near(274.1, 0.1, 1), Measured(247.7), COUNT) for name in "abcdef"]
    words = why(ruled(*failing, noun="count"))
    assert words.startswith("Not so for a (274.1\u202fG printed, 247.7\u202fG here), b ")
    assert words.endswith("and three more.")


def test_within_and_reproduced_say_how_near_they_are(ruled):
    exact = number("a", near(274.1, 0.1, 1), Measured(274.14), COUNT)
    near_by = number("b", near(274.1, 0.1, 1), Measured(274.19), COUNT)
    assert why(ruled(exact)) == "Equal to the printed digits."
    assert "not to the printed digit" in why(ruled(exact, near_by))
    assert verdict_words(ruled(exact, near_by)) == "Within tolerance"
    assert why(ruled(exact, note="A note.")) == "Equal to the printed digits. A note."


def test_several_hindrances_are_said_with_their_counts_those_of_measured_numbers_first(ruled):
    found = ruled(
        number("a", above(0)), number("b", ANY, Measured(1.0), reason="one seed"), number("c", ANY)
    )
    assert why(found) == "One seed (1 of 3 numbers). Not run (2 of 3 numbers)."


def test_both_sides_of_a_number_are_written_alike():
    shown = number("a", PRINTED, Measured(0.241, (0.2, 0.28)))
    assert number_words(shown) == ("+0.26\u202fdB", "+0.24\u202fdB [+0.20, +0.28]")
    assert number_words(number("a", above(0))) == ("none printed", "not run")


def test_the_ledgers_sentence_and_heading_count_verdicts(evidence):
    found = rulings(evidence)
    counts = tally(found, "records")
    assert sum(counts.values()) == sum(each.claim.basis == "records" for each in found)
    claims = sum(counts.values())
    assert ledger_sentence(found).startswith(f"The paper makes {claims} claims that a run can test")
    assert f"{counts['not_testable']} are not testable here" in ledger_sentence(found)
    assert heading(found, BOTH).startswith(f"Of {claims} claims, ")
    assert heading(found, BOTH).endswith(f"{counts['not_testable']} not testable here")


def test_a_heading_of_one_network_speaks_of_what_it_can_test(evidence):
    found = [each for each in rulings(evidence) if each.claim.basis == "records"]
    tested = sum(each.verdict != "not_testable" for each in found)
    words = heading(found, ["hit_srf"])
    assert words.startswith(f"{tested} claims can be tested on HiT-SRF: ")
    assert "not testable" not in words


def test_no_claims_make_no_sentence(evidence):
    assert heading([], BOTH) == "What the paper claims"
    assert ledger_sentence([]) == ""
    assert rulings(replace(evidence, claims=())) == []
