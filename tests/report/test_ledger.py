"""Claims about costs, speed, learning, reach and printed numbers: which numbers decide them."""

import io
from types import SimpleNamespace

import pandas as pd
import pytest

from hitsr.report.ledger import rulings
from hitsr.report.ledger_words import (
    heading,
    here_words,
    ledger_sentence,
    paper_words,
    verdict_words,
    why,
)
from hitsr.report.maps import MappedSet
from hitsr.report.sections.attribution import paired_indices
from hitsr.report.sections.claims import claims_csv
from hitsr.specs.config import runs
from hitsr.specs.zoo import NETWORKS

PAIR = {"conversions": ("hit_sir",), "scales": (2,)}
COUNTS = {  # K and G at x2, as fvcore counts the released code
    "swinir_light": (910.152, 244.37),
    "swinir_ng": (1181.448, 247.66),
    "srformer_light": (853.272, 236.23),
    "hit_sir": (772.064, 209.89),
    "hit_sng": (1012.584, 213.87),
    "hit_srf": (846.944, 226.48),
}


@pytest.fixture
def six(configured):
    folder = configured(networks=list(NETWORKS))
    for network, counts in COUNTS.items():
        folder.complexity(network, *counts)
    return folder


def test_every_claim_has_one_ruling_in_the_order_of_the_file(evidence):
    assert [each.claim for each in rulings(evidence)] == list(evidence.claims)


def test_a_run_without_records_decides_no_claim_about_measurements(folder):
    found = rulings(folder.evidence())
    measured = [each for each in found if each.claim.basis == "records"]
    assert {each.verdict for each in measured} == {"not_testable"}
    assert not any(number.here for each in found for number in each.numbers)


def test_fewer_parameters_in_every_pair_that_was_counted_is_reproduced(finished, ruling):
    found = ruling(finished, "fewer_parameters")
    assert found.verdict == "reproduced"
    assert here_words(found) == "holds in 1 of 1 run, −15.2\u202f% (HiT-SIR ×2), 8 not run"


def test_a_single_larger_conversion_refutes_the_claim(folder, ruling):
    folder.complexity("swinir_light")
    folder.complexity("hit_sir", 911, 209.89)
    found = ruling(folder, "fewer_parameters")
    assert found.verdict == "not_reproduced"
    assert "HiT-SIR ×2" in why(found)


# Table 1 marks these numbers too: see test_judging and test_tables.
@pytest.mark.parametrize(
    ("params_k", "flops_g", "verdict"),
    [(911.4, 244.54, "not_reproduced"), (910.6, 244.47, "within"), (910.2, 244.4, "reproduced")],
)
def test_counts_are_judged_without_rounding_them_first(folder, ruling, params_k, flops_g, verdict):
    folder.complexity("swinir_light", params_k, flops_g)
    assert ruling(folder, "parameters_printed").verdict == verdict
    assert ruling(folder, "flops_printed").verdict == verdict


def test_a_table_of_two_counters_comes_out_by_itself(six, ruling):
    found = ruling(six, "flops_printed")
    assert found.verdict == "not_reproduced"
    failed = [number.name for number in found.numbers if number.verdict == "not_reproduced"]
    assert failed == ["SwinIR-NG ×2"]
    assert "274.1\u202fG printed, 247.7\u202fG here" in why(found)
    assert "two counters" in why(found)


def test_an_explanation_is_silent_where_the_claim_holds(six, ruling):
    found = ruling(six, "flops_printed", networks=("hit_sir",))
    assert found.verdict == "reproduced"
    assert "counter" not in why(found)


def test_the_saving_shrinks_with_one_counter(six, ruling):
    found = ruling(six, "flops_saved_hit_sng", scales=(2,))
    assert found.verdict == "not_reproduced"
    assert (paper_words(found), here_words(found)) == ("−22.0\u202f% (HiT-SNG ×2)", "−13.6\u202f%")


def test_savings_of_counts_that_print_alike_are_reproduced(six, ruling):
    for claim in ("parameters_saved", "flops_saved_hit_sir", "flops_saved_hit_srf"):
        assert ruling(six, claim).verdict == "reproduced"


@pytest.fixture
def timed(configured):
    forms = ["released", "paper", "fused"]
    latency = {"scales": [2], "formulations": forms, "precisions": ["float32", "tf32"]}
    return configured(efficiency__latency=latency)


def pair(folder, ratio, **how):
    folder.latency("swinir_light", 100.0 * ratio, **how)
    folder.latency("hit_sir", 100.0, **how)


H200, A100, RTX = "NVIDIA H200", "NVIDIA A100-SXM4-40GB", "NVIDIA GeForce RTX 4090"


@pytest.mark.parametrize("device_name", [H200, A100])
def test_seven_times_is_judged_as_released_on_any_gpu_of_a_data_centre(timed, ruling, device_name):
    pair(timed, 7.6, device_name=device_name, formulation="released")
    pair(timed, 0.9, device_name=device_name, formulation="paper")
    found = ruling(timed, "seven_times_as_fast", **PAIR)
    assert found.verdict == "reproduced"
    assert here_words(found).endswith(f"({device_name})")
    assert "as released, in 32-bit floats" in why(found)
    pair(timed, 6.0, device_name=device_name, formulation="released")
    assert ruling(timed, "seven_times_as_fast", **PAIR).verdict == "not_reproduced"


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"formulation": "fused"}, "Timed on a CPU, fused"),
        ({"formulation": "released"}, "Timed on a CPU"),
        ({"formulation": "released", "device_name": RTX}, f"Timed on {RTX}"),
        ({"formulation": "paper", "device_name": A100}, "Timed step by step"),
    ],
)
def test_a_ratio_that_is_unlike_the_printed_one_is_shown_and_not_judged(timed, ruling, how, said):
    pair(timed, 7.6, **how)
    found = ruling(timed, "seven_times_as_fast", **PAIR)
    assert found.verdict == "not_testable"
    assert found.numbers[0].here.value == pytest.approx(7.6)
    assert why(found) == f"{said}; the claim is of the released code on a data-centre GPU at ×2."
    assert paper_words(found) == "7.6× (A100, ×2)"
    assert here_words(found).endswith(f"({how.get('device_name', 'A CPU')})")


def test_the_ratio_most_like_the_printed_one_is_judged(timed, ruling):
    for ratio, how in (
        (3.0, {}),
        (0.9, {"device_name": H200}),
        (7.6, {"device_name": H200, "formulation": "released"}),
        (1.5, {"formulation": "released"}),
    ):
        pair(timed, ratio, **how)
    assert ruling(timed, "seven_times_as_fast", **PAIR).numbers[0].here.value == pytest.approx(7.6)


def test_a_ratio_of_other_pictures_is_not_judged(configured, ruling):
    latency = {"scales": [2], "formulations": ["released"]}
    folder = configured(efficiency__latency=latency, efficiency__output_size=[64, 64])
    pair(folder, 7.6, device_name=H200, formulation="released")
    found = ruling(folder, "seven_times_as_fast", **PAIR)
    assert found.verdict == "not_testable"
    assert "output of 64\u00a0×\u00a064 instead of 1280\u00a0×\u00a0720" in why(found)
    assert "Judged as released" not in why(found)


def test_the_ratio_in_the_papers_number_format_stands_beside_the_verdict(timed, ruling):
    pair(timed, 7.6, device_name=H200, formulation="released")
    assert why(ruling(timed, "seven_times_as_fast", **PAIR)).endswith(
        "PyTorch 1.8 computed products in TF32 by default, which was not timed."
    )
    pair(timed, 7.2, device_name=H200, formulation="released", precision="tf32")
    assert why(ruling(timed, "seven_times_as_fast", **PAIR)).endswith("by default: 7.2× here.")


def test_a_speedup_is_of_neighbours(timed, ruling):
    for network, samples_ms in (("swinir_light", (2, 9, 4)), ("hit_sir", (1, 3, 4))):
        timed.latency(network, samples_ms=samples_ms, session="one")
    here = ruling(timed, "seven_times_as_fast", **PAIR).numbers[0].here
    assert here.value == 2  # the ratio of medians is 1.3
    assert here.interval == (1.5, 2.5)


@pytest.mark.parametrize(
    ("steps", "fused", "verdict"),
    [(0.9, 1.4, "not_reproduced"), (7.6, 1.4, "not_reproduced"), (7.5, 7.6, "reproduced")],
)
def test_a_speedup_is_the_designs_where_every_step_leaves_it(timed, ruling, steps, fused, verdict):
    for formulation, ratio in (("released", 7.6), ("paper", steps), ("fused", fused)):
        pair(timed, ratio, formulation=formulation, device_name=H200)
    found = ruling(timed, "speed_by_design")
    assert [number.name for number in found.numbers] == [
        "HiT-SIR ×2, masks on the device", "HiT-SIR ×2, fused",
    ]  # fmt: skip
    assert found.verdict == verdict
    assert (
        f"{H200}, ×2: 7.6× as released, {steps}× with masks built on the device and {fused}× fused."
        in why(found)
    )


def test_all_steps_of_a_gpu_are_held_against_the_released_code(on_gpu, ruling):
    found = ruling(on_gpu(), "speed_by_design")
    assert len(found.judged) == 3 * 5
    assert found.verdict == "not_reproduced"


def test_a_speedup_says_nothing_of_implementations_without_the_released_one(timed, ruling):
    assert ruling(timed, "speed_by_design").numbers[0].here is None
    pair(timed, 3.0)
    found = ruling(timed, "speed_by_design")
    assert (found.verdict, why(found)) == ("not_testable", "Timed fused alone.")
    pair(timed, 3.0, formulation="paper")
    found = ruling(timed, "speed_by_design")
    assert found.verdict == "not_testable"
    assert "The released formulation was not timed." in why(found)


@pytest.mark.parametrize(
    ("left", "verdict"), [(0.9, "reproduced"), (2.5, "reproduced"), (4.0, "not_reproduced")]
)
def test_masks_are_most_of_a_speedup_where_it_ends_with_them(timed, ruling, left, verdict):
    pair(timed, 7.6, formulation="released", device_name=H200)
    pair(timed, left, formulation="paper", device_name=H200)
    found = ruling(timed, "speed_of_masks")
    assert found.verdict == verdict  # the square root of 7.6 is 2.8
    assert f"7.6× as released and {left}× with masks built on the device" in why(found)
    assert "100 % is all of it" in why(found)


def test_masks_are_copied_nowhere_on_a_cpu(timed, ruling):
    for formulation, ratio in (("released", 3.0), ("paper", 1.0)):
        pair(timed, ratio, formulation=formulation)
    found = ruling(timed, "speed_of_masks")
    assert found.verdict == "not_testable"
    assert why(found).startswith("On a CPU there is no other device to copy to.")
    assert found.numbers[0].here.value == pytest.approx(100)


def test_what_is_no_faster_as_released_has_no_speedup_of_masks(timed, ruling):
    for formulation in ("released", "paper"):
        pair(timed, 0.9, formulation=formulation, device_name=H200)
    found = ruling(timed, "speed_of_masks")
    assert found.numbers[0].here is None
    assert "no faster" in why(found)


def test_a_claim_of_the_code_is_not_counted_among_the_papers(timed):
    for formulation, ratio in (("released", 7.6), ("paper", 0.9)):
        pair(timed, ratio, formulation=formulation, device_name=H200)
    found = rulings(timed.evidence())
    (ours,) = [each for each in found if each.claim.basis == "code"]
    assert verdict_words(ours) == "Confirmed"
    assert heading(found, []) == heading([each for each in found if each != ours], [])
    assert ledger_sentence([ours]) == ""


@pytest.mark.parametrize(("power", "verdict"), [(0.0, "reproduced"), (1.0, "not_reproduced")])
def test_growth_in_a_window_decides_what_is_linear(configured, ruling, power, verdict):
    folder = configured(scaling={})
    folder.scaling("hit_sir", "picture", 1.0)
    assert ruling(folder, "linear_in_windows").numbers[0].here is None
    folder.scaling("hit_sir", "window", power)
    folder.scaling("swinir_light", "window", 0.8)
    found = ruling(folder, "linear_in_windows")
    assert found.numbers[0].here.value == pytest.approx(1 + power, abs=1e-3)
    assert found.verdict == verdict
    assert found.note == "The exponents of the baselines’ attention: 1.80."


def test_the_lead_in_training_is_a_mean_over_validated_steps(finished, ruling):
    found = ruling(finished, "better_convergence", **PAIR)
    assert found.numbers[0].here.value == pytest.approx(0.5)
    assert found.note == "Ahead at 4 of 4 validated steps."
    assert found.verdict == "not_testable"  # the budget is not the paper's


def test_a_lead_of_averaged_weights_over_weights_is_shown_and_not_judged(papers, averaged, ruling):
    folder = papers(train__recipe={"from": "hit_sr"}, train__seeds=[1, 2])
    for run in runs(folder.config).values():
        folder.training(run)
    unlike = SimpleNamespace(evidence=lambda: averaged(folder.evidence()))
    found = ruling(unlike, "better_convergence", **PAIR)
    assert found.numbers[0].here.value == pytest.approx(0.5)
    assert found.verdict == "not_testable"
    assert "averaged weights beside that of weights" in why(found)
    assert found.note == ""
    assert ruling(folder, "better_convergence", **PAIR).verdict == "reproduced"


def test_one_seed_leaves_a_lead_open_and_equal_leads_of_several_do_not(papers, ruling):
    for seeds, verdict in (([1], "not_testable"), ([1, 2], "reproduced")):
        folder = papers(train__recipe={"from": "hit_sr"}, train__seeds=seeds)
        for run in runs(folder.config).values():
            folder.training(run)
        assert ruling(folder, "better_convergence", **PAIR).verdict == verdict


@pytest.fixture
def mapped(configured):
    """Three seeds and two windows, of which the conversion's index leads by 2.5 on average."""
    folder = configured(train__seeds=[1, 2, 3], lam={"sets": ["test"], "scales": [2]})
    for run in runs(folder.config).values():
        lead = {1: (2.0, 3.0), 2: (2.1, 2.9), 3: (1.9, 3.1)}[run.seed]
        converted = run.network.name == "hit_sir"
        folder.lam(run, "test", *(10.0 + converted * each for each in lead))
    return folder


def test_the_ledger_the_section_and_the_csv_share_one_estimate_of_reach(mapped, ruling):
    evidence = mapped.evidence()
    (section,) = paired_indices(evidence, MappedSet("test", 2)).values()
    found = ruling(mapped, "larger_attribution", **PAIR)
    here = found.numbers[0].here
    # Over two windows alone, and over three seeds alone, the interval would be narrower.
    assert here.interval == section.interval == pytest.approx((2.5 - 6.353, 2.5 + 6.353), abs=1e-3)
    assert (here.value, section.mean) == (2.5, 2.5)
    assert found.note == "Higher in 2 of 2 windows."
    row = pd.read_csv(io.StringIO(claims_csv([found]))).iloc[0]
    assert (row.here_low, row.here_high) == pytest.approx(here.interval)


def test_printed_rows_decide_what_needs_no_measurement(folder):
    found = {each.claim.id: each for each in rulings(folder.evidence())}
    assert paper_words(found["printed_psnr_higher"]) == "44 of 45 cells"
    assert "HiT-SNG, Set14 ×4 (0.00\u202fdB)" in why(found["printed_psnr_higher"])
    assert paper_words(found["printed_ssim_higher"]) == "43 of 45 cells"
    assert found["best_psnr"].verdict == found["best_ssim"].verdict == "reproduced"
    assert "36.16 is printed" in why(found["best_psnr"])
    assert found["still_best"].verdict == "not_reproduced"
    assert "PFT-light" in why(found["still_best"])


def test_a_misprint_counts_unless_it_is_left_out(folder, ruling):
    assert ruling(folder, "best_psnr", misprints=()).verdict == "not_reproduced"


def test_larger_networks_and_other_training_sets_are_left_out(folder, ruling):
    found = ruling(folder, "still_best", max_params_k=700)
    assert "ESC" in why(found)
    assert "PFT" not in why(found)
    assert ruling(folder, "still_best", training_set="nothing").numbers == ()
