import pytest

from hitsr.records import MachineState
from hitsr.report.cells import REFERENCE
from hitsr.report.sections.efficiency import (
    complexity_finding,
    complexity_table,
    count_agreement,
    efficiency_heading,
    efficiency_section,
    gains_sentence,
    latency_table,
    speed_sentence,
)
from hitsr.report.throughput import throughput_finding, throughput_table, throughput_view


def test_headings_are_neutral_before_every_pair_is_counted(configured):
    folder = configured(networks=["swinir_light", "hit_sir", "swinir_ng", "hit_sng"])
    for name in ("swinir_light", "hit_sir"):
        folder.complexity(name)
    assert efficiency_heading(folder.evidence()) == "Size, FLOPs, latency and memory"


@pytest.mark.parametrize(
    ("median_ms", "heading"),
    [
        (400.0, "Conversions are smaller, lighter and faster"),
        (2000.0, "Conversions are smaller and lighter, but not all are faster here"),
    ],
)
def test_headings_state_what_all_records_show(full, median_ms, heading):
    full.latency("hit_sir", median_ms)
    assert efficiency_heading(full.evidence()) == heading


def test_the_finding_counts_what_prints_as_in_the_paper(folder):
    folder.complexity("hit_sir")
    folder.complexity("swinir_light", 910.6, 244.37)
    evidence = folder.evidence()
    assert count_agreement(evidence) == (3, 4)
    assert complexity_finding(evidence) == "3 of 4 counts print exactly as in the paper."


def test_a_count_beyond_the_claims_tolerance_is_marked_and_the_caption_says_which(folder):
    folder.complexity("swinir_light", 911.4, 244.54)
    evidence = folder.evidence()
    cells = complexity_table(evidence).groups[0].rows[0].cells
    assert [(cell.text, cell.mark) for cell in cells[2::3]] == [
        ("+1.4", "outside"), ("+0.14", "outside"),
    ]  # fmt: skip
    (view, *_) = efficiency_section(evidence).tables
    assert "A difference beyond 1 K or 0.1 G is marked red." in view.caption.conditions


def test_speed_is_a_ratio_and_never_the_papers_milliseconds(evidence):
    text = speed_sentence(evidence)
    assert "2.5 (CPU, fused) times as fast as its baseline" in text
    assert "7.6, on an A100 at ×2 with the released code" in text
    assert "1899" not in text.replace("\u202f", "")


def test_ratios_are_of_neighbours_in_words_and_in_the_table(configured):
    folder = configured(efficiency__latency={"scales": [2], "formulations": ["paper", "fused"]})
    slow, fast = (2.0, 9.0, 4.0), (1.0, 3.0, 4.0)  # ratios 2, 3 and 1; of medians 1.3
    for network, formulation, samples_ms in (
        ("swinir_light", "paper", slow), ("swinir_light", "fused", slow),
        ("hit_sir", "paper", slow), ("hit_sir", "fused", fast),
    ):  # fmt: skip
        folder.latency(network, samples_ms=samples_ms, formulation=formulation, session="one")
    evidence = folder.evidence()
    assert "1.0 (CPU, step by step) and 2.0 (CPU, fused) times as fast" in speed_sentence(evidence)
    assert gains_sentence(evidence) == (
        "Fusing makes conversions 2.0 and baselines 1.0 times as fast."
    )
    steps, fused = latency_table(evidence).groups
    assert fused.rows[1].cells[1].text == "2.0"
    assert (steps.rows[1].cells[3], fused.rows[1].cells[3].text) == (REFERENCE, "2.0")


def test_the_released_formulation_stands_first_and_each_gains_on_the_one_above(on_gpu):
    evidence = on_gpu().evidence()
    table = latency_table(evidence)
    titles = [group.title.rpartition(", ")[2] for group in table.groups]
    assert titles == ["as released", "step by step", "fused"]
    gains = [group.rows[0].cells[3] for group in table.groups]
    assert gains[0] == REFERENCE
    assert [cell.text for cell in gains[1:]] == ["9.4", "0.9"]  # 750 / 80, 80 / 90
    notes = " ".join(efficiency_section(evidence).parts["latency"].notes)
    assert "so does the formulation “as released”" in notes
    assert "32-bit floats without TF32" in efficiency_section(evidence).tables[1].caption.conditions


def test_what_was_not_timed_as_released_is_said(folder):
    folder.latency("hit_sir", 400.0)
    notes = " ".join(efficiency_section(folder.evidence()).parts["latency"].notes)
    assert "no formulation that was timed here does" in notes


def test_pairs_that_did_not_take_turns_are_named(folder):
    def notes() -> str:
        return " ".join(efficiency_section(folder.evidence()).parts["latency"].notes)

    for network in ("swinir_light", "hit_sir"):
        folder.latency(network, 400.0, session="one")
    assert "did not" not in notes()
    folder.latency("hit_sir", 4.0, session="another")
    assert "HiT-SIR ×2 (CPU, fused) did not, and there it is the ratio of medians" in notes()


def test_throughput_counts_pictures_not_batches(configured):
    folder = configured(
        efficiency__latency={"scales": [2], "batches": [4], "precisions": ["float32", "bfloat16"]}
    )
    folder.latency("swinir_light", 1000.0)
    folder.latency("hit_sir", 400.0)
    assert throughput_view(folder.evidence()) is None
    folder.latency("hit_sir", 800.0, batch=4)
    evidence = folder.evidence()
    table = throughput_table(evidence)
    assert [column.head for _, column in table.columns] == ["batch 1", "batch 4"]
    assert table.groups[0].title == "A CPU, ×2, output 1280\u00a0×\u00a0720, fused"
    baseline, conversion = table.groups[0].rows
    assert [cell.text for cell in baseline.cells] == ["1.000", "not run"]
    assert [cell.text for cell in conversion.cells] == ["2.500", "5.000"]
    assert "runs 2.00 times" in throughput_finding(evidence)
    folder.latency("hit_sir", 800.0, batch=4, precision="bfloat16")
    columns = throughput_table(folder.evidence()).columns
    heads = [(span.title, column.head) for span, column in columns]
    assert heads == [
        ("32-bit floats", "batch 1"), ("32-bit floats", "batch 4"), ("bfloat16", "batch 4"),
    ]  # fmt: skip


def test_number_formats_are_titles_and_launches_are_columns(on_gpu):
    table = throughput_table(on_gpu().evidence())
    assert [(span.title, [column.head for column in span.columns]) for span in table.spans] == [
        ("32-bit floats", ["batch 1"]),
        ("TF32", ["batch 1"]),
        ("float16", ["batch 1", "batch 1, one launch"]),
    ]
    assert [cell.text for cell in table.groups[0].rows[0].cells] == [
        "11.111", "16.667", "25.000", "125.000",
    ]  # fmt: skip


def test_flops_that_lack_something_are_marked_and_the_note_names_it(folder):
    folder.complexity("swinir_light")
    folder.complexity("hit_sir", unknown={"mylib::mix": 24})
    evidence = folder.evidence()
    (view, *_) = efficiency_section(evidence).tables
    assert [row.cells[3].mark for row in view.table.groups[0].rows] == [None, "doubtful"]
    assert view.table.doubts == [
        "HiT-SIR, ×2, input 640\xa0×\xa0360: FLOPs lack what these compute: mylib::mix (24 calls)"
    ]
    page = (folder.render() / "index.html").read_text()
    assert 'title="FLOPs lack what these compute: mylib::mix (24 calls)">?</sup>' in page


def test_doubtful_times_are_marked_with_the_reason_and_stay_in_the_ratio(folder):
    folder.latency("swinir_light", samples_ms=(1000.0, 1001.0, 1002.0), session="one")
    folder.latency("hit_sir", samples_ms=(900.0, 400.0, 401.0), session="one")
    evidence = folder.evidence()
    table = latency_table(evidence)
    baseline, conversion = table.groups[0].rows
    assert (baseline.cells[0].mark, conversion.cells[0].mark) == (None, "doubtful")
    assert conversion.cells[1].text == "2.5"
    (doubt,) = table.doubts
    assert doubt == (
        "HiT-SIR, ×2, input 640\xa0×\xa0360, fused: the first forward took 2.2 times as long as "
        "the others"
    )
    assert (
        baseline.cells[0].hover
        == "5 %: 1\u202f000.1, 25 %: 1\u202f000.5, 75 %: 1\u202f001.5, 95 %: 1\u202f001.9 ms"
    )
    page = (folder.render() / "index.html").read_text()
    assert 'title="the first forward took 2.2 times as long as the others">?</sup>' in page


def test_clocks_before_and_after_are_told(folder):
    states = {"before": MachineState(gpu_mhz=345), "after": MachineState(gpu_mhz=1935)}
    folder.latency("swinir_light", 9.0, device_name="A GPU", **states)
    states["after"] = MachineState(gpu_mhz=1980)
    folder.latency("hit_sir", 3.0, device_name="A GPU", **states)
    notes = efficiency_section(folder.evidence()).parts["latency"].notes
    assert any(
        "GPU clock: 345 MHz before the warm-up, 1\u202f935 to 1\u202f980 MHz after" in note
        for note in notes
    )
