import re

import pytest

from hitsr.report.budget import budget_of
from hitsr.report.ledger import rulings
from hitsr.report.ledger.gauge import axis_of, gauge


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


def drawn(folder):
    evidence = folder.evidence()
    return {each.claim.id: gauge(each) for each in rulings(evidence, budget_of(evidence))}


def test_a_claim_that_is_counted_has_a_square_per_part(full):
    svg = drawn(full)["printed_psnr_higher"]
    assert svg.count("<rect") == 45
    assert svg.count('class="cross"') == 1


def test_what_is_not_judged_is_hollow(full):
    svg = drawn(full)["gain_hit_sir_x2"]
    assert 'class="hollow"' in svg
    assert 'class="dot"' not in svg
    assert svg.count('class="qm"') == 5


def test_a_single_number_stands_in_its_band(full):
    evidence = full.evidence()
    found = next(
        r for r in rulings(evidence, budget_of(evidence)) if r.claim.id == "linear_in_windows"
    )
    one = type(found)(found.claim, found.parts[:1])
    assert 'class="band"' in gauge(one)


def test_every_gauge_says_in_words_what_it_shows(full):
    for svg in filter(None, drawn(full).values()):
        assert re.search(r'role="img" aria-label="Paper: [^"]+\. Here: [^"]+\."', svg)
        assert "inf" not in svg
        assert "nan" not in svg


def test_nothing_is_drawn_without_a_number(full):
    svg = drawn(full)["speed_by_design"]
    assert "hollow" in svg  # one formulation was timed
    (full.path / "records/latency/hit_sir-x2.cpu.fused.json").unlink()
    assert drawn(full)["speed_by_design"] == ""
