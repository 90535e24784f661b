import re
import xml.etree.ElementTree as ElementTree
from itertools import pairwise

import pytest

from hitsr.report.bars import Bar, bars, cost_panels
from hitsr.report.curves import loss_panels, psnr_panels
from hitsr.report.plots import apart
from hitsr.report.svg import PALETTE, inline, standalone, to_pdf


@pytest.fixture
def panels(full):
    evidence = full.evidence()
    return [
        *cost_panels(evidence, 2),
        *psnr_panels(evidence, 2),
        *loss_panels(evidence, 2),
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


def test_descriptions_are_escaped():
    panel = bars("b", 'a <b> "c"', "K", [Bar("hit_sir", 1.0)], 0, str)
    assert 'aria-label="a &lt;b> &quot;c&quot; in K: HiT-SIR 1"' in inline(panel)


def test_an_absent_cost_is_said_and_compared_with_nothing():
    panel = bars("b", "Title", "K", [Bar("swinir_light", None), Bar("hit_sir", 2.0)], 0, str)
    assert "not run" in panel.svg
    assert "SwinIR-Light not run" in panel.description


def test_bars_of_nothing_are_drawn():
    assert "not run" in bars("b", "Title", "K", [Bar("hit_sir", None)], 0, str).svg


def test_no_training_gives_no_panel(folder):
    assert psnr_panels(folder.evidence(), 2) == []
    assert loss_panels(folder.evidence(), 2) == []


@pytest.mark.parametrize("heights", [[0.1, 0.5, 0.9], [0.5, 0.5, 0.5], [0.97, 0.98, 0.99], [0.1]])
def test_labels_stay_in_order_apart_and_below_the_top(heights):
    moved = apart(heights, gap=0.2, top=1)
    assert all(above - below > 0.2 - 1e-9 for below, above in pairwise(moved))
    assert moved[-1] <= 1
    assert apart([0.1, 0.5, 0.9], gap=0.2, top=1) == [0.1, 0.5, 0.9]


def test_every_curve_and_bicubic_are_named_beside_the_plot(full):
    steps, _ = psnr_panels(full.evidence(), 2)
    svg = ElementTree.fromstring(standalone(steps))
    texts = {node.text: node for node in svg.iter("{http://www.w3.org/2000/svg}text")}
    assert {"SwinIR-L", "HiT-SIR", "bicubic", "31.00", "31.50", "30.50"} <= set(texts)


def test_a_pdf_is_the_same_bytes_each_time_and_tells_no_date(full):
    def pdf():
        return to_pdf(psnr_panels(full.evidence(), 2)[0])

    assert pdf().startswith(b"%PDF")
    assert pdf() == pdf()
    assert b"Date" not in pdf()
