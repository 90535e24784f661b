import re

import pytest

from hitsr.report.gauge import axis_of, gauge
from hitsr.report.judging import JudgedNumber, Measured, Style, judge, near
from hitsr.report.ledger import rulings
from hitsr.report.ruling import Ruling


@pytest.mark.parametrize(
    ("values", "ticks"),
    [
        ((-22.0, -10.4, 0.0), (-30, -20, -10, 0)),
        ((6.9, 7.8, 1.1), (0, 2.5, 5, 7.5, 10)),
        ((0.04, 0.26, 0.0), (0, 0.1, 0.2, 0.3)),
        ((1.0, 1.0), (0.9, 1.0, 1.1)),
        ((0.0,), (-0.1, 0.0, 0.1)),
    ],
)
def test_an_axis_has_round_ticks_around_its_values(values, ticks):
    assert axis_of(values).ticks == pytest.approx(ticks)


@pytest.mark.parametrize("scale", [1e-4, 0.03, 1, 700, 1e6])
@pytest.mark.parametrize("values", [(0.9, 3.1), (-1, 1), (0, 0.99), (2.01, 2.02)])
def test_every_value_lies_between_the_first_tick_and_the_last(values, scale):
    scaled = [value * scale for value in values]
    axis = axis_of(scaled)
    assert axis.ticks[0] <= min(scaled) + 1e-9 * scale
    assert axis.ticks[-1] >= max(scaled) - 1e-9 * scale
    assert 3 <= len(axis.ticks) <= 6
    places = [axis.at(value) for value in scaled]
    assert places == sorted(places)


def drawn(evidence):
    return {each.claim.id: gauge(each) for each in rulings(evidence)}


def test_a_claim_that_is_counted_has_a_square_for_each_number_that_was_run(evidence):
    svg = drawn(evidence)
    assert svg["printed_psnr_higher"].count("<rect") == 45
    assert svg["printed_psnr_higher"].count('class="cross"') == 1
    assert svg["fewer_parameters"].count('<rect class="reproduced"') == 1


def test_what_is_not_judged_is_hollow(evidence):
    svg = drawn(evidence)["gain_hit_sir_x2"]
    assert 'class="hollow"' in svg
    assert 'class="dot"' not in svg
    assert svg.count('class="qm"') == 5


def test_a_single_number_stands_in_its_band_with_its_interval(evidence):
    claim = next(claim for claim in evidence.claims if claim.id == "gain_hit_sir_x2")
    expected = near(0.26, 0.05, 2)
    here = Measured(0.24, (0.2, 0.3))
    number = JudgedNumber("a", Style(2, "dB"), expected, 0.26, here, judge(expected, here))
    svg = gauge(Ruling(claim, (number,)))
    for kind in ("band", "qm", "dot", "dot-bar"):
        assert svg.count(f'class="{kind}"') == 1


def test_every_gauge_says_in_words_what_it_shows(evidence):
    for svg in filter(None, drawn(evidence).values()):
        assert re.search(r'role="img" aria-label="Paper: [^"]+\. Here: [^"]+\."', svg)
        assert "inf" not in svg
        assert "nan" not in svg


def test_nothing_is_drawn_without_a_number(folder):
    assert drawn(folder.evidence())["speed_by_design"] == ""
    folder.latency("hit_sir", 400.0)
    folder.latency("swinir_light", 1000.0)
    assert "hollow" in drawn(folder.evidence())["speed_by_design"]  # one formulation was timed
