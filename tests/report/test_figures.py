import re
import xml.etree.ElementTree as ElementTree

import pytest

from hitsr.report.bars import Bar, bars, cost_panels
from hitsr.report.curves import loss_panels, psnr_panels
from hitsr.report.svg import PALETTE, inline, standalone


@pytest.fixture
def panels(full):
    evidence = full.evidence()
    return [
        *cost_panels(evidence),
        *psnr_panels(evidence, 2, "steps"),
        *loss_panels(evidence, 2, "seconds"),
    ]


def test_panels_are_the_same_bytes_each_time(full, panels):
    again = cost_panels(full.evidence())
    assert [panel.svg for panel in again] == [panel.svg for panel in panels[: len(again)]]


def test_panels_are_well_formed_with_text_as_text(panels):
    for panel in panels:
        ElementTree.fromstring(standalone(panel.svg))
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
        text = inline(panel.svg, panel.description)
        assert not any(value in text for value in PALETTE.values())
        assert "DejaVu" not in text
        assert f'aria-label="{panel.description}"' in text


def test_descriptions_are_escaped():
    svg = bars("b", "Title", "K", [Bar("hit_sir", 1.0)], 0, str).svg
    assert 'aria-label="a &lt;b> &quot;c&quot;"' in inline(svg, 'a <b> "c"')


def test_an_absent_cost_is_said_and_compared_with_nothing():
    panel = bars("b", "Title", "K", [Bar("swinir_light", None), Bar("hit_sir", 2.0)], 0, str)
    assert "not run" in panel.svg
    assert "SwinIR-Light not run" in panel.description


def test_bars_of_nothing_are_drawn():
    assert "not run" in bars("b", "Title", "K", [Bar("hit_sir", None)], 0, str).svg


def test_no_training_gives_no_panel(folder):
    assert psnr_panels(folder.evidence(), 2, "steps") == []
    assert loss_panels(folder.evidence(), 2, "steps") == []
