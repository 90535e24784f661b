import re
import xml.etree.ElementTree as ElementTree
from itertools import pairwise
from pathlib import Path

import pytest
from matplotlib.font_manager import findfont

from hitsr.report.bars import Bar, bars, cost_panels
from hitsr.report.costs import Cost
from hitsr.report.curves import curve_panels
from hitsr.report.names import FAMILIES, Setup
from hitsr.report.plots import Frame, apart, plot
from hitsr.report.svg import PALETTE, blank, inline, standalone, to_panel, to_pdf


@pytest.fixture
def panels(full):
    evidence = full.evidence()
    return [
        *cost_panels(evidence, 2),
        *curve_panels(evidence, "validation_psnr_db", 2),
        *curve_panels(evidence, "loss", 2),
    ]


def test_panels_are_the_same_bytes_each_time(full, panels):
    again = cost_panels(full.evidence(), 2)
    assert [panel.svg for panel in again] == [panel.svg for panel in panels[: len(again)]]


def test_panels_are_well_formed_with_text_as_text(panels):
    for panel in panels:
        ElementTree.fromstring(standalone(panel))
        assert "<text" in panel.svg
        assert "<image" not in panel.svg
        assert "date" not in panel.svg.lower()


def test_ids_of_inlined_panels_do_not_collide(panels):
    ids = [name for panel in panels for name in re.findall(r'\bid="([^"]+)"', panel.svg)]
    assert len(ids) == len(set(ids))
    for panel in panels:
        targets = re.findall(r'(?:url\(#|href="#)([^")]+)', panel.svg)
        assert set(targets) <= set(re.findall(r'\bid="([^"]+)"', panel.svg))


def test_inlined_panels_are_themed_and_described(panels):
    for panel in panels:
        text = inline(panel)
        assert not any(value in text for value in PALETTE.values())
        assert "DejaVu" not in text
        assert f'aria-label="{panel.description}"' in text


def test_ids_have_no_character_that_links_and_css_would_read():
    figure = blank(100, 100)
    figure.add_axes((0, 0, 1, 1)).plot([0, 1], marker="o")  # markers are referred to by id
    panel = to_panel(figure, "a \"b' (c)#%20/<d>", "")
    ids = set(re.findall(r'\bid="([^"]*)"', panel.svg))
    targets = re.findall(r'(?:url\(#|href="#)([^")]+)', panel.svg)
    assert targets
    assert {*targets} <= ids
    assert all(each.startswith("a__b___c___20__d_-") for each in ids)
    ElementTree.fromstring(inline(panel))


def test_descriptions_are_escaped():
    panel = to_panel(blank(100, 100), "name", 'a <b> "c"')
    assert 'aria-label="a &lt;b&gt; &#34;c&#34;"' in inline(panel)


def test_a_pdf_takes_each_letter_from_a_font_that_has_it():
    figure = blank(100, 100)
    texts = [figure.text(0, 0, words) for words in ("PSNR, µs", "✓")]
    assert to_pdf(to_panel(figure, "name", "")).startswith(b"%PDF")
    light, full = (Path(findfont(text.get_fontproperties())) for text in texts)
    assert light.name == full.name == "DejaVuSans.ttf"
    assert light.stat().st_size < full.stat().st_size / 2


PARAMS = Cost("params")


def test_an_absent_cost_is_said_and_compared_with_nothing():
    panel = bars(PARAMS, [Bar("swinir_light", None), Bar("hit_sir", 2.0)])
    assert "not run" in panel.svg
    assert "%" not in panel.svg
    assert panel.description == "Parameters in K, exact: SwinIR-Light not run, HiT-SIR 2"


def test_a_cost_beside_its_baselines_is_said_in_per_cent_or_as_speed(full):
    for network, samples_ms in (
        ("swinir_light", [1000, 3000, 1100]),
        ("hit_sir", [900, 500, 1100]),
    ):
        full.edit("latency", f"{network}-x2.cpu.fused", samples_ms=samples_ms, session="one")
    evidence = full.evidence()
    panels = {panel.name: panel.svg for panel in cost_panels(evidence, 2)}
    assert "−15\u202f%" in panels["parameters"]
    # The median of the ratios of neighbours, as in the table; medians would give 1.2.
    assert "1.1× as fast" in panels["latency-cpu-fused"]
    speedup = evidence.speedup(FAMILIES[0], 2, Setup("cpu", "fused"))
    assert speedup.median == pytest.approx(1000 / 900)


def test_a_printed_count_is_said_where_it_differs_as_printed():
    assert "paper 3" in bars(PARAMS, [Bar("hit_sir", 2.0, 3.0)]).svg
    assert "paper" not in bars(PARAMS, [Bar("hit_sir", 2.0, 2.2)]).svg


def test_bars_of_nothing_are_drawn():
    assert "not run" in bars(PARAMS, [Bar("hit_sir", None)]).svg


def test_no_training_gives_no_panel(folder):
    assert curve_panels(folder.evidence(), "validation_psnr_db", 2) == []
    assert curve_panels(folder.evidence(), "loss", 2) == []


@pytest.mark.parametrize("heights", [[0.1, 0.5, 0.9], [0.5, 0.5, 0.5], [0.97, 0.98, 0.99], [0.1]])
def test_labels_stay_in_order_apart_and_below_the_top(heights):
    moved = apart(heights, gap=0.2, top=1)
    assert all(above - below > 0.2 - 1e-9 for below, above in pairwise(moved))
    assert moved[-1] <= 1
    assert apart([0.1, 0.5, 0.9], gap=0.2, top=1) == [0.1, 0.5, 0.9]


def test_every_curve_and_bicubic_are_named_beside_the_plot(full):
    steps, _ = curve_panels(full.evidence(), "validation_psnr_db", 2)
    svg = ElementTree.fromstring(standalone(steps))
    texts = {node.text: node for node in svg.iter("{http://www.w3.org/2000/svg}text")}
    assert {"SwinIR-L", "HiT-SIR", "bicubic", "31.00", "31.50", "30.50"} <= set(texts)


def test_a_pdf_is_the_same_bytes_each_time_and_tells_no_date(full):
    def pdf():
        return to_pdf(curve_panels(full.evidence(), "validation_psnr_db", 2)[0])

    assert pdf().startswith(b"%PDF")
    assert pdf() == pdf()
    assert b"Date" not in pdf()


def test_ticks_of_less_than_a_second_differ():
    _, axes = plot("", "", "seconds", Frame())
    axes.set_xlim(0, 0.3)
    ticks = axes.xaxis.get_major_ticks()
    axes.figure.draw_without_rendering()
    shown = [tick.label1.get_text() for tick in ticks]
    assert shown[:3] == ["0", "0.08", "0.16"]
    assert len(set(shown)) == len(shown)
