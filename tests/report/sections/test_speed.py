import pytest

from hitsr.report.budget import budget_of
from hitsr.report.cells import NOT_RUN, REFERENCE
from hitsr.report.csv_tables import frames
from hitsr.report.sections import sections
from hitsr.report.sections.speed import (
    missing_sentence,
    speed_finding,
    speed_heading,
    speed_section,
    speed_table,
    step_sentences,
)
from hitsr.report.taken_apart import places

ONE_PAIR = {"swinir_light": (700, 80, 90, 60, 40, 8.0), "hit_sir": (100, 85, 50, 45, 30, 5.0)}


@pytest.fixture
def place(on_gpu):
    (found,) = places(on_gpu().evidence())
    return found


def test_the_heading_says_what_the_step_that_changes_most_leaves(place):
    assert speed_heading([place]) == (
        "As released, conversions run 6.2 to 7.1 times as fast; with masks built on the device, "
        "0.8 to 0.9 times"
    )


def test_the_heading_is_neutral_without_steps_and_where_none_changes_anything(on_gpu):
    assert speed_heading([]) == "Where the speed comes from"
    same = {"swinir_light": (200, 100), "hit_sir": (100, 50)}
    (place,) = places(on_gpu(same).evidence())
    assert speed_heading([place]) == "Where the speed comes from"


def test_the_finding_names_the_device_and_what_remains_after_each_step(place):
    assert speed_finding(place) == (
        "NVIDIA H200, ×2: as released, conversions run 6.2 to 7.1 times as fast as their "
        "baselines; with masks built on the device 0.8 to 0.9, fused 1.6, in TF32 1.2 to 1.3, in "
        "half precision 1.2 to 1.3 and in one launch 1.3 to 1.5."
    )


def test_a_pair_alone_is_named_in_the_finding(on_gpu):
    (alone,) = places(on_gpu(ONE_PAIR, "NVIDIA L4").evidence())
    assert speed_finding(alone).startswith(
        "NVIDIA L4, ×2: as released, HiT-SIR runs 7.0 times as fast as SwinIR-Light; with"
    )


def test_each_step_says_what_it_is_worth_to_both_sides(place):
    sentences = step_sentences(place)
    assert len(sentences) == 5
    assert sentences[0] == (
        "Masks on the device: baselines run 8.90 to 9.38 times as fast as the step before, "
        "conversions 0.96 to 1.37 times; the speed-up is then 0.77 to 0.95."
    )


def test_what_was_not_timed_is_said_and_not_drawn(on_gpu):
    times = ONE_PAIR | {"swinir_ng": (890, 100), "hit_sng": (125, 130), "hit_srf": (130, 95)}
    evidence = on_gpu(times).evidence()
    (place,) = places(evidence)
    assert missing_sentence(evidence, place) == (
        "Not timed here: fused (HiT-SNG), TF32 (HiT-SNG), half precision (HiT-SNG), one launch "
        "(HiT-SNG) and HiT-SRF beside SRFormer-Light."
    )
    assert speed_finding(place).endswith("with masks built on the device 0.8 to 0.9.")
    (_, panel) = speed_section(evidence).panels
    assert "masks on the device" in panel.svg
    assert "TF32" not in panel.svg
    row = speed_table(evidence, [place]).groups[1].rows[3]
    assert row.label == "TF32"
    assert {cell.text for cell in row.cells} == {NOT_RUN.text}


def test_the_table_has_times_gains_and_what_remains(on_gpu):
    evidence = on_gpu().evidence()
    first, masks, *_, launch = speed_table(evidence, places(evidence)).groups[0].rows
    assert (first.cells[1], first.cells[3]) == (REFERENCE, REFERENCE)
    assert [cell.text for cell in masks.cells] == ["80", "9.38", "85", "1.24", "0.94"]
    assert [cell.text for cell in launch.cells] == ["8.0", "5.00", "5.5", "5.45", "1.45"]
    assert launch.label == "one launch"


def test_forwards_that_took_no_turns_are_named(configured):
    folder = configured(efficiency__latency={"scales": [2], "formulations": ["paper", "fused"]})
    for form in ("paper", "fused"):
        for network in ("swinir_light", "hit_sir"):
            folder.latency(network, 50.0, formulation=form)
    (view,) = speed_section(folder.evidence()).tables
    assert "HiT-SIR ×2 (A CPU) did not take turns" in view.caption.conditions


def test_a_figure_is_described_by_its_numbers(on_gpu):
    (panel,) = speed_section(on_gpu(ONE_PAIR).evidence()).panels
    assert panel.name == "taken-apart-cuda-x2-sir"
    assert panel.description.startswith(
        "Times of HiT-SIR and SwinIR-L on NVIDIA H200: as released: SwinIR-Light 700 ms, HiT-SIR "
        "100 ms, 7.0 times as fast; masks on the device: "
    )
    for written in ("7.0× as fast", "×8.75", "one launch"):
        assert written in panel.svg


def test_the_csv_has_a_row_per_step_with_quartiles(on_gpu):
    table = frames(on_gpu().evidence())["taken_apart"]
    assert len(table) == 3 * 6
    row = table[(table.conversion == "hit_sir") & (table.launch == "graph")].iloc[0]
    assert (row.formulation, row.precision, row.device_name) == ("fused", "float16", "NVIDIA H200")
    assert row.baseline_gain_median == pytest.approx(5)
    assert row.times_as_fast_lower_quartile <= row.times_as_fast_median
    first = table[table.formulation == "released"]
    assert first.baseline_gain_median.isna().all()


@pytest.mark.parametrize(("asked", "shown"), [(False, False), (True, True)])
def test_the_section_is_there_where_it_was_asked_for(configured, asked, shown):
    folder = configured(efficiency__latency={"scales": [2], "taken_apart": asked})
    evidence = folder.evidence()
    keys = [section.key for section in sections(evidence, budget_of(evidence))]
    assert ("speed" in keys) == shown
    assert speed_section(evidence).heading == "Where the speed comes from"
    page = (folder.render() / "index.html").read_text()
    assert ("No pair was timed at two steps" in page) == shown
