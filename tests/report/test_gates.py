import xml.etree.ElementTree as ElementTree

import pytest

from hitsr.report.curves import curve_panels, shown_bicubic_db
from hitsr.report.gates import gate_finding, gate_table, gates_at
from hitsr.report.svg import standalone
from hitsr.specs.config import runs


def trained(folder, *gates, gain=0.5):
    """Both networks trained; hit_sir met these gates: 29.5 + gain at step 25, + 0.5 at 50, ..."""
    for run in runs(folder.config).values():
        of_it = {"gates": gates} if run.network.name == "hit_sir" else {}
        folder.training(run, gain=gain, **of_it)
    return folder.evidence()


def drawn(evidence):
    """Texts and descriptions of the panels by steps and by seconds."""
    panels = curve_panels(evidence, "validation_psnr_db", 2)
    space = "{http://www.w3.org/2000/svg}text"
    return [
        ([node.text for node in ElementTree.fromstring(standalone(panel)).iter(space)], panel)
        for panel in panels
    ]


def test_gates_are_numbered_by_step_and_passed_within_their_tolerance(folder, new_gate):
    later, early = new_gate(75, 31.0, 31.0), new_gate(50, 30.6, 30.51)
    found = gates_at(trained(folder, later, early), 2)
    assert [(met.number, met.gate.step, met.missed) for met in found] == [(1, 50, []), (2, 75, [])]
    assert gates_at(folder.evidence(), 3) == []
    assert gate_finding({2: found}) == "Every early gate was passed."
    assert gate_finding({2: found[:1]}) == "The early gate was passed."


def test_a_missed_gate_is_marked_in_the_table_with_its_quote_and_source(folder, new_gate):
    evidence = trained(folder, new_gate(50, 30.6, 30.51), new_gate(75, 31.2, 31.0))
    (group,) = gate_table({2: gates_at(evidence, 2)}).groups
    passed, missed = group.rows
    assert [cell.text for cell in missed.cells] == [
        "75", "31.20", "0.10", "31.00", "−0.20", "a log",
    ]  # fmt: skip
    assert [cell.kind for cell in missed.cells if cell.kind == "paper"] == ["paper"] * 2
    assert [row.cells[4].mark for row in (passed, missed)] == [None, "outside"]
    assert missed.label == "2: HiT-SIR, seed 1"


def test_what_is_marked_is_seen_to_be_outside(folder, new_gate):
    (group,) = gate_table({2: gates_at(trained(folder, new_gate(50, 30.6, 30.499)), 2)}).groups
    assert [cell.text for cell in group.rows[0].cells][3:5] == ["30.499", "−0.101"]


def test_the_finding_names_gates_and_seeds_that_missed_them(configured, new_gate):
    folder = configured(train__seeds=[1, 2])
    for run in runs(folder.config).values():
        if run.network.name == "hit_sir":
            folder.training(run, gates=(new_gate(50, 30.6, 30.6 - 0.2 * (run.seed - 1)),))
    found = gates_at(folder.evidence(), 2)
    assert gate_finding({2: found}) == "HiT-SIR ×2 was below gate 1 at step 50, with 1 of 2 seeds."


def test_the_panel_by_steps_shows_numbers_marks_and_says_them(folder, new_gate):
    evidence = trained(folder, new_gate(50, 30.6, 30.51), new_gate(75, 31.2, 31.0))
    (texts, steps), (others, seconds) = drawn(evidence)
    assert {"1", "2 missed"} <= set(texts)
    assert not {"1", "2 missed"} & set(others)
    assert "gate 1, HiT-SIR at step 50: passed, 30.51 of 30.60" in steps.description
    assert "gate 2, HiT-SIR at step 75: missed, 31.00 of 31.20" in steps.description
    assert "gate" not in seconds.description
    assert all("gate" not in panel.description for panel in curve_panels(evidence, "loss", 2))


def test_every_gate_lies_inside_the_plot(folder, new_gate):
    evidence = trained(folder, new_gate(50, 35.0, 30.5), new_gate(75, 26.0, 31.0))
    low, high = drawn(evidence)[0][1].figure.axes[0].get_ylim()
    assert low < 25.9
    assert high > 35


def test_gates_of_neighbouring_steps_keep_their_numbers_apart(folder, new_gate):
    gates = [new_gate(step, 30.5, 30.5) for step in (50, 52, 54)]
    axes = drawn(trained(folder, *gates))[0][1].figure.axes[0]
    places = {text.get_text(): text.get_position() for text in axes.texts}
    assert len({places[name] for name in ("1", "2", "3")}) == 3


@pytest.mark.parametrize(("bicubic_db", "is_shown"), [(30.0, True), (27.0, True), (15.0, False)])
def test_bicubic_is_left_out_where_it_would_flatten_the_curves(full, bicubic_db, is_shown):
    full.quality("bicubic-x2", "test", (bicubic_db, bicubic_db))
    evidence = full.evidence()
    assert shown_bicubic_db(evidence, 2) == (bicubic_db if is_shown else None)
    texts, panel = drawn(evidence)[0]
    assert ("bicubic" in texts) == is_shown
    low, high = panel.figure.axes[0].get_ylim()
    assert high - low < 6
