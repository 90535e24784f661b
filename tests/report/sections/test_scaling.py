import pytest

from hitsr.report.budget import budget_of
from hitsr.report.growth import growth_panels
from hitsr.report.sections import sections
from hitsr.report.sections.scaling import (
    picture_finding,
    scaling_heading,
    scaling_section,
    scaling_table,
    window_finding,
)


@pytest.fixture
def scaled(configured):
    return configured(scaling={"samples": 2})


def test_the_exponents_of_the_records_are_in_the_table(scaled):
    scaled.scaling("swinir_light", "window", 1.0)
    scaled.scaling("hit_sir", "window", 0.0)
    scaled.scaling("hit_sir", "picture", 1.0)
    baseline, conversion = scaling_table(scaled.evidence()).groups[0].rows
    assert [cell.text for cell in baseline.cells] == ["2.00"] + 3 * ["1.00"] + 3 * ["not run"]
    assert [cell.text for cell in conversion.cells] == ["1.00"] + 3 * ["0.00"] + 3 * ["1.00"]
    assert conversion.cells[0].spread == "±0.00"


def test_linear_is_said_where_conversions_are_and_baselines_are_not(scaled):
    scaled.scaling("swinir_light", "window", 0.8)
    scaled.scaling("hit_sir", "window", 0.0)
    evidence = scaled.evidence()
    assert scaling_heading(evidence).startswith("Conversions’ cost is linear")
    assert window_finding(evidence) == (
        "FLOPs of one window grow as its tokens to the power of 1.00 in conversions, 1.80 in their "
        "baselines."
    )


def test_what_is_not_linear_is_not_called_so(scaled):
    scaled.scaling("swinir_light", "window", 0.8)
    scaled.scaling("hit_sir", "window", 0.2)
    assert scaling_heading(scaled.evidence()) == "How costs grow with windows and pictures"


def test_half_a_pair_gives_no_finding(scaled):
    scaled.scaling("hit_sir", "window", 0.0)
    evidence = scaled.evidence()
    assert window_finding(evidence) == "Cost against the size of windows."
    assert picture_finding(evidence) == "Cost against the size of pictures."


def test_every_line_is_named_with_its_exponent_and_error(scaled):
    scaled.scaling("swinir_light", "picture", 1.0)
    scaled.scaling("hit_sir", "picture", 0.5)
    panels = growth_panels(scaled.evidence(), "picture")
    assert [panel.name for panel in panels] == [
        "scaling-picture-flops",
        "scaling-picture-activations",
        "scaling-picture-peak-activation-bytes",
    ]
    for panel in panels:
        assert "1.00 ± 0.00" in panel.svg
        assert "0.50 ± 0.00" in panel.svg
        assert "SwinIR-Light 1.00, HiT-SIR 0.50" in panel.description


def test_the_section_stands_only_where_asked_for(finished, scaled):
    def keys(evidence):
        return [section.key for section in sections(evidence, budget_of(evidence))]

    assert "scaling" not in keys(finished.evidence())
    asked = scaled.evidence()
    assert "scaling" in keys(asked)
    assert scaling_section(asked).parts["view"] is None


def test_measured_times_have_a_panel_and_columns_of_their_own(scaled):
    for network, power in (("swinir_light", 0.7), ("hit_sir", 0.1)):
        scaled.scaling(network, "window", round(power))
        scaled.scaling_time(network, power, 1.0)
    evidence = scaled.evidence()
    panel = growth_panels(evidence, "window")[0]
    assert panel.name == "scaling-window-time-cpu-fused"
    assert "SwinIR-Light 0.70, HiT-SIR 0.10" in panel.description
    heads = [column.head for _, column in scaling_table(evidence).columns]
    assert heads.count("time, CPU, fused") == 2
    baseline, conversion = scaling_table(evidence).groups[0].rows
    assert [row.cells[4].text for row in (baseline, conversion)] == ["0.70", "0.10"]
    assert "Time as measured (CPU, fused): 1.10 and 1.70." in window_finding(evidence)
    conditions = scaling_section(evidence).parts["view"].caption.conditions
    assert "median of 2 forwards at pictures of 8, 16 and 32 pixels a side" in conditions
    assert "A CPU" in conditions


def test_times_alone_make_the_section(scaled):
    scaled.scaling_time("hit_sir", 0.1, 1.0)
    assert len(growth_panels(scaled.evidence(), "picture")) == 1
    assert scaling_section(scaled.evidence()).parts["view"] is not None
