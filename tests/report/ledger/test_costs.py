import pytest

from hitsr.records import LatencyRecord
from hitsr.report.ledger.words import here_words, paper_words, why


def test_fewer_parameters_in_every_pair_is_reproduced(full, ruling):
    found = ruling(full, "fewer_parameters", conversions=("hit_sir",), scales=(2,))
    assert found.verdict == "reproduced"
    assert here_words(found).startswith("1 of 1 pair, −15.2")


def test_pairs_that_were_not_counted_leave_a_claim_open(full, ruling):
    found = ruling(full, "fewer_parameters")
    assert found.verdict == "not_testable"
    assert here_words(found).endswith("8 not run")


def test_a_single_larger_conversion_refutes_the_claim(full, ruling, count_all):
    count_all(full, {("hit_sir", 2): (911, 209.89)})
    found = ruling(full, "fewer_parameters")
    assert found.verdict == "not_reproduced"
    assert "HiT-SIR ×2" in why(found)


def test_a_table_of_two_counters_comes_out_by_itself(six, ruling):
    found = ruling(six, "flops_printed", scales=(2,))
    assert found.verdict == "not_reproduced"
    assert [p.name for p in found.parts if p.verdict != "reproduced"] == ["SwinIR-NG ×2"]
    assert "274.1\u202fG printed, 247.7\u202fG here" in why(found)
    assert "two counters" in why(found)


def test_the_saving_shrinks_with_one_counter(six, ruling):
    found = ruling(six, "flops_saved_hit_sng", scales=(2,))
    assert found.verdict == "not_reproduced"
    assert (paper_words(found), here_words(found)) == ("−22.0\u202f% (HiT-SNG ×2)", "−13.6\u202f%")


def test_savings_of_counts_that_print_alike_are_reproduced(six, ruling):
    for claim in ("parameters_saved", "flops_saved_hit_sir", "flops_saved_hit_srf"):
        assert ruling(six, claim, scales=(2,)).verdict == "reproduced"
    assert ruling(six, "parameters_printed", scales=(2,)).verdict == "reproduced"


def test_an_explanation_is_silent_where_the_claim_holds(six, ruling):
    found = ruling(six, "flops_printed", scales=(2,), networks=("hit_sir",))
    assert "counter" not in why(found)


def time(folder, network, median_ms, formulation="fused", device="cpu", device_name="A CPU"):
    folder.latency(network, median_ms)
    path = folder.path / f"records/latency/{network}-x2.cpu.fused.json"
    record = LatencyRecord.load(path)
    path.unlink()
    made = record.provenance.model_copy(update={"device": device, "device_name": device_name})
    changed = {"formulation": formulation, "provenance": made}
    path = path.with_name(f"{network}-x2.{device.split(':')[0]}.{formulation}.json")
    record.model_copy(update=changed).save(path)


@pytest.fixture
def timed(configured):
    return configured(efficiency__latency={"scales": [2], "formulations": ["paper", "fused"]})


def pair(folder, ratio, **how):
    time(folder, "swinir_light", 100.0 * ratio, **how)
    time(folder, "hit_sir", 100.0, **how)


def test_a_ratio_on_a_cpu_is_shown_and_not_judged(timed, ruling):
    pair(timed, 7.6)
    found = ruling(timed, "seven_times_as_fast", conversions=("hit_sir",))
    assert found.verdict == "not_testable"
    assert found.parts[0].here.value == pytest.approx(7.6)
    assert "on a CPU, not an A100" in why(found)
    assert "fused formulation, not as published" in why(found)


@pytest.mark.parametrize(
    ("ratio", "verdict"), [(7.63, "reproduced"), (7.2, "reproduced"), (6.5, "not_reproduced")]
)
def test_a_ratio_on_the_papers_device_is_judged(timed, ratio, verdict, ruling):
    a100 = {"device": "cuda:0", "device_name": "NVIDIA A100-SXM4-40GB", "formulation": "paper"}
    pair(timed, 2.0)
    pair(timed, ratio, **a100)
    found = ruling(timed, "seven_times_as_fast", conversions=("hit_sir",))
    assert found.verdict == verdict


def test_another_gpu_is_not_the_papers(timed, ruling):
    pair(timed, 7.6, device="cuda:0", device_name="NVIDIA H100", formulation="paper")
    found = ruling(timed, "seven_times_as_fast", conversions=("hit_sir",))
    assert why(found) == "Timed on NVIDIA H100, not an A100."


def test_a_speedup_that_depends_on_the_implementation_is_found(timed, ruling):
    pair(timed, 7.6, formulation="paper")
    pair(timed, 3.0, formulation="fused")
    found = ruling(timed, "speed_by_design")
    assert found.verdict == "not_reproduced"
    note = "As fast as their baselines (×2, CPU), as published and fused: HiT-SIR 7.6× and 3.0×."
    assert note in why(found)
    assert "3.0× here" in why(found)
    assert "half of the printed" not in why(found)


def test_a_speedup_that_no_formulation_shows_is_said(timed, ruling):
    pair(timed, 0.5, formulation="paper")
    pair(timed, 1.0, formulation="fused")
    found = ruling(timed, "speed_by_design")
    assert found.verdict == "not_reproduced"
    assert "HiT-SIR 0.5× and 1.0×" in why(found)
    assert "None reaches half of the printed 6.9 to 7.8× (A100, ×2)." in why(found)


def test_a_speedup_of_one_formulation_says_nothing_of_implementations(timed, ruling):
    pair(timed, 3.0)
    found = ruling(timed, "speed_by_design")
    assert (found.verdict, why(found)) == ("not_testable", "Timed in the fused formulation alone.")


def test_a_speedup_that_stays_is_the_designs(timed, ruling):
    pair(timed, 3.02, formulation="paper")
    pair(timed, 3.0, formulation="fused")
    assert ruling(timed, "speed_by_design").verdict == "reproduced"


@pytest.mark.parametrize(("power", "verdict"), [(0.0, "reproduced"), (1.0, "not_reproduced")])
def test_growth_in_a_window_is_one_more_than_in_a_picture(full, power, verdict, ruling):
    full.scaling("hit_sir", "window", power)
    found = ruling(full, "linear_in_windows", networks=("hit_sir",))
    assert found.parts[0].here.value == pytest.approx(1 + power, abs=1e-3)
    assert found.verdict == verdict


def test_growth_over_pictures_is_another_matter(full, ruling):
    full.scaling("hit_sir", "picture", 1.0)
    assert ruling(full, "linear_in_windows", networks=("hit_sir",)).parts[0].here is None
