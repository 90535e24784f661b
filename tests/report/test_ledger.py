"""Each claim is checked by records that make it true, false, or not to be decided."""

import pytest

from hitsr.config import runs
from hitsr.errors import RecordError
from hitsr.records import ComplexityRecord, LatencyRecord
from hitsr.report.budget import budget_of
from hitsr.report.gather import gather
from hitsr.report.ledger import rule, rulings
from hitsr.report.ledger.quality import hindrance
from hitsr.report.ledger.words import heading, here_words, ledger_sentence, paper_words, why
from hitsr.report.measures import Evidence
from hitsr.zoo import NETWORKS

PAPERS = {
    "train__recipe__steps": 500_000,
    "train__recipe__batch": 64,
    "train__patch": {},
    "train__seeds": [1, 2, 3],
    "data__train": "DIV2K",
    "data__test": ["Set5"],
}
# Set5 at x2: what the table prints.
SWINIR_DB, HIT_SIR_DB = 38.14, 38.22


def ruling(folder, claim_id, **narrowed):
    """Of one claim, perhaps narrowed to what a small folder can hold."""
    evidence = folder.evidence()
    claim = next(claim for claim in evidence.claims if claim.id == claim_id)
    return rule(claim.model_copy(update=narrowed), evidence, budget_of(evidence))


def count_all(folder, counts):
    """Write a count in K and G for networks at scales."""
    full = folder.path / "records/complexity"
    template = ComplexityRecord.load(full / "hit_sir-x2.json")
    for (network, scale), (params_k, flops_g) in counts.items():
        template.model_copy(
            update={
                "network": network,
                "scale": scale,
                "params": round(params_k * 1e3),
                "flops": round(flops_g * 1e9),
            }
        ).save(full / f"{network}-x{scale}.json")


def score_seeds(folder, gains_db):
    """Scores of three seeds on Set5: the baseline's as printed, the conversion's by gains above."""
    for name, run in runs(folder.config).items():
        converted = run.network.name == "hit_sir"
        gain_db = gains_db[run.seed - 1] if converted else 0
        folder.quality(name, "Set5", SWINIR_DB + gain_db, run)


def narrowed(**others):
    return {"conversions": ("hit_sir",), "scales": (2,), "datasets": ("Set5",), **others}


# Counts


def test_fewer_parameters_in_every_pair_is_reproduced(full):
    found = ruling(full, "fewer_parameters", conversions=("hit_sir",), scales=(2,))
    assert found.verdict == "reproduced"
    assert here_words(found).startswith("1 of 1 pair, −15.2")


def test_pairs_that_were_not_counted_leave_a_claim_open(full):
    found = ruling(full, "fewer_parameters")
    assert found.verdict == "not_testable"
    assert here_words(found).endswith("8 not run")


def test_a_single_larger_conversion_refutes_the_claim(full):
    count_all(full, {("hit_sir", 2): (911, 209.89)})
    found = ruling(full, "fewer_parameters")
    assert found.verdict == "not_reproduced"
    assert "HiT-SIR ×2" in why(found)


@pytest.fixture
def six(configured):
    """All networks at x2, counted as fvcore counts the released code."""
    folder = configured(networks=list(NETWORKS)).everything(
        dict.fromkeys([*NETWORKS, "bicubic"], 30)
    )
    count_all(
        folder,
        {
            ("swinir_light", 2): (910.152, 244.37),
            ("swinir_ng", 2): (1181.448, 247.66),
            ("srformer_light", 2): (853.272, 236.23),
            ("hit_sir", 2): (772.064, 209.89),
            ("hit_sng", 2): (1012.584, 213.87),
            ("hit_srf", 2): (846.944, 226.48),
        },
    )
    return folder


def test_a_table_of_two_counters_comes_out_by_itself(six):
    found = ruling(six, "flops_printed", scales=(2,))
    assert found.verdict == "not_reproduced"
    assert [p.name for p in found.parts if p.verdict != "reproduced"] == ["SwinIR-NG ×2"]
    assert "274.1\u202fG printed, 247.7\u202fG here" in why(found)
    assert "two counters" in why(found)


def test_the_saving_shrinks_with_one_counter(six):
    found = ruling(six, "flops_saved_hit_sng", scales=(2,))
    assert found.verdict == "not_reproduced"
    assert (paper_words(found), here_words(found)) == ("−22.0\u202f% (HiT-SNG ×2)", "−13.6\u202f%")


def test_savings_of_counts_that_print_alike_are_reproduced(six):
    for claim in ("parameters_saved", "flops_saved_hit_sir", "flops_saved_hit_srf"):
        assert ruling(six, claim, scales=(2,)).verdict == "reproduced"
    assert ruling(six, "parameters_printed", scales=(2,)).verdict == "reproduced"


def test_an_explanation_is_silent_where_the_claim_holds(six):
    found = ruling(six, "flops_printed", scales=(2,), networks=("hit_sir",))
    assert "counter" not in why(found)


# Speed


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


def test_a_ratio_on_a_cpu_is_shown_and_not_judged(timed):
    pair(timed, 7.6)
    found = ruling(timed, "seven_times_as_fast", conversions=("hit_sir",))
    assert found.verdict == "not_testable"
    assert found.parts[0].here.value == pytest.approx(7.6)
    assert "on a CPU, not an A100" in why(found)
    assert "fused formulation, not as published" in why(found)


@pytest.mark.parametrize(
    ("ratio", "verdict"), [(7.63, "reproduced"), (7.2, "reproduced"), (6.5, "not_reproduced")]
)
def test_a_ratio_on_the_papers_device_is_judged(timed, ratio, verdict):
    a100 = {"device": "cuda:0", "device_name": "NVIDIA A100-SXM4-40GB", "formulation": "paper"}
    pair(timed, 2.0)
    pair(timed, ratio, **a100)
    found = ruling(timed, "seven_times_as_fast", conversions=("hit_sir",))
    assert found.verdict == verdict


def test_another_gpu_is_not_the_papers(timed):
    pair(timed, 7.6, device="cuda:0", device_name="NVIDIA H100", formulation="paper")
    found = ruling(timed, "seven_times_as_fast", conversions=("hit_sir",))
    assert why(found) == "Timed on NVIDIA H100, not an A100."


def test_a_speedup_that_depends_on_the_implementation_is_found(timed):
    pair(timed, 7.6, formulation="paper")
    pair(timed, 3.0, formulation="fused")
    found = ruling(timed, "speed_by_design")
    assert found.verdict == "not_reproduced"
    assert "As published, timed here: 7.6×." in why(found)
    assert "3.0× here" in why(found)


def test_a_speedup_of_one_formulation_says_nothing_of_implementations(timed):
    pair(timed, 3.0)
    found = ruling(timed, "speed_by_design")
    assert (found.verdict, why(found)) == ("not_testable", "Timed fused alone.")


def test_a_speedup_that_stays_is_the_designs(timed):
    pair(timed, 3.02, formulation="paper")
    pair(timed, 3.0, formulation="fused")
    assert ruling(timed, "speed_by_design").verdict == "reproduced"


# Growth


@pytest.mark.parametrize(("power", "verdict"), [(0.0, "reproduced"), (1.0, "not_reproduced")])
def test_growth_in_a_window_is_one_more_than_in_a_picture(full, power, verdict):
    full.scaling("hit_sir", "window", power)
    found = ruling(full, "linear_in_windows", networks=("hit_sir",))
    assert found.parts[0].here.value == pytest.approx(1 + power, abs=1e-3)
    assert found.verdict == verdict


def test_growth_over_pictures_is_another_matter(full):
    full.scaling("hit_sir", "picture", 1.0)
    assert ruling(full, "linear_in_windows", networks=("hit_sir",)).parts[0].here is None


# Quality


def test_a_demos_gain_is_shown_and_not_judged(full):
    found = ruling(full, "gain_hit_sir_x2")
    own = [part for part in found.parts if "“test”" in part.name]
    assert [part.here.value for part in own] == pytest.approx([0.5, 0.0])
    assert found.verdict == "not_testable"
    assert "100 of 500\u202f000 iterations" in why(found)
    assert "not among this run’s test sets" in why(found).lower()


@pytest.mark.parametrize(
    ("gains_db", "verdict"),
    [
        ([0.08, 0.08, 0.08], "reproduced"),  # as printed
        ([0.06, 0.10, 0.09], "reproduced"),
        ([-0.15, 0.1, 0.24], "within"),  # the interval is wider than the band
        ([0.2, 0.2, 0.2], "not_reproduced"),
        ([0.0, 0.0, 0.0], "not_reproduced"),  # 0.08 below, and no gain at all
    ],
)
def test_three_seeds_of_the_papers_budget_are_judged(configured, gains_db, verdict):
    folder = configured(**PAPERS)
    score_seeds(folder, gains_db)
    found = ruling(folder, "gain_hit_sir_x2", **narrowed(tolerances={"psnr": 0.05}))
    assert found.verdict == verdict


@pytest.mark.parametrize("seeds", [[1], [1, 2]])
def test_fewer_than_three_seeds_are_not_judged(configured, seeds):
    folder = configured(**PAPERS | {"train__seeds": seeds})
    score_seeds(folder, [0.08] * 3)
    found = ruling(folder, "gain_hit_sir_x2", **narrowed(tolerances={"psnr": 0.05}))
    assert found.verdict == "not_testable"
    assert f"{len(seeds)} seed" in why(found)


def test_a_set_of_ones_own_is_not_judged_even_within_the_papers_budget(configured):
    folder = configured(**PAPERS | {"data__test": ["Set5", "mine"]})
    score_seeds(folder, [0.08] * 3)
    for name, run in runs(folder.config).items():
        folder.quality(name, "mine", 30.0, run)
    found = ruling(folder, "gain_hit_sir_x2", **narrowed(tolerances={"psnr": 0.05}))
    assert [part.verdict for part in found.parts] == ["reproduced", "not_testable"]


def test_an_infinite_difference_is_not_judged(configured):
    folder = configured(**PAPERS)
    for name, run in runs(folder.config).items():
        folder.quality(name, "Set5", None if run.network.name == "hit_sir" else 38.0, run)
    found = ruling(folder, "gain_hit_sir_x2", **narrowed(tolerances={"psnr": 0.05}))
    assert found.verdict == "not_testable"
    assert "No finite mean" in why(found)
    assert here_words(found) == "+∞\u202fdB"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"train__recipe__batch": 32}, "batch 32 instead of 64"),
        ({"train__patch": {"depths": [6]}}, "networks reduced in size"),
        ({"data__train": "mine"}, "trained on “mine”"),
        ({}, ""),
    ],
)
def test_each_difference_from_the_papers_budget_is_named(configured, change, words):
    found = hindrance(budget_of(configured(**PAPERS | change).evidence()))
    assert words in found
    assert bool(found) == bool(words)


def test_a_general_strategy_needs_every_pair(full):
    found = ruling(full, "general_strategy")
    assert len([part for part in found.parts if part.paper is not None]) == 45
    assert found.verdict == "not_testable"


def test_another_networks_conversion_is_found_by_its_name(full):
    assert "no pair from outside" in why(ruling(full, "beyond_the_paper"))
    for run in runs(full.config).values():
        name = run.network.name.replace("swinir_light", "swinir_m").replace(
            "hit_sir", "hit_swinir_m"
        )
        other = run.model_copy(update={"network": run.network.model_copy(update={"name": name})})
        full.quality(other.name, "test", 31.0 if name == "hit_swinir_m" else 30.0, other)
    evidence = Evidence(full.config, gather(full.path), full.evidence().published)
    claim = next(each for each in full.evidence().claims if each.id == "beyond_the_paper")
    found = rule(claim, evidence, budget_of(evidence))
    assert [part.here.value for part in found.parts] == pytest.approx([1.0])


def test_nothing_here_was_trained_on_the_larger_set(full):
    found = ruling(full, "more_training_data")
    assert paper_words(found) == "15 of 15 cells"
    assert why(found) == "Nothing here was trained on DF2K."


def test_runs_on_two_sets_are_paired_whatever_they_are_called(full):
    run = runs(full.config)["hit_sir-x2-s1"]
    network = run.network.model_copy(update={"name": "hit_sir.data_more"})
    larger = run.model_copy(update={"network": network, "data": "more"})
    full.training(larger)
    full.quality(larger.name, "test", 31.25, larger)
    config, results, published = full.config, gather(full.path), full.evidence().published
    evidence = Evidence(config, results, published, claims=full.evidence().claims)
    claim = next(each for each in evidence.claims if each.id == "more_training_data")
    asked = {"network": "hit_sir", "smaller": "train", "larger": "more", "scales": (2,)}
    claim = claim.model_copy(update=asked | {"datasets": ("test",)})
    found = rule(claim, evidence, budget_of(evidence))
    assert found.parts[0].here.value == pytest.approx(0.25)


# Learning and reach


def test_the_lead_in_training_is_a_mean_over_validated_steps(full):
    found = ruling(full, "better_convergence", conversions=("hit_sir",), scales=(2,))
    assert found.parts[0].here.value == pytest.approx(0.5)
    assert found.note == "Ahead at 4 of 4 validated steps."
    assert found.verdict == "not_testable"  # the budget is not the paper's


def test_diffusion_indices_are_compared_window_by_window(full):
    full.lam(runs(full.config)["swinir_light-x2-s1"], "test", 9.0, 9.0)
    full.lam(runs(full.config)["hit_sir-x2-s1"], "test", 21.0, 21.0)
    found = ruling(full, "larger_attribution", conversions=("hit_sir",), scales=(2,))
    assert found.parts[0].here.value == pytest.approx(12.0)
    assert found.note == "Higher in 2 of 2 windows."


def test_maps_of_other_windows_do_not_compare(full):
    full.lam(runs(full.config)["swinir_light-x2-s1"], "test", 9.0, 9.0)
    full.lam(runs(full.config)["hit_sir-x2-s1"], "test", 21.0, 21.0)
    path = full.path / "lam/hit_sir-x2-s1.test/record.json"
    path.write_text(path.read_text().replace('"brick"', '"stone"'))
    with pytest.raises(RecordError, match="not mapped in the same windows"):
        ruling(full, "larger_attribution")


# Printed numbers alone


def test_printed_rows_decide_what_needs_no_measurement(folder):
    found = {
        each.claim.id: each for each in rulings(folder.evidence(), budget_of(folder.evidence()))
    }
    assert paper_words(found["printed_psnr_higher"]) == "44 of 45 cells"
    assert "HiT-SNG, Set14 ×4 (0.00\u202fdB)" in why(found["printed_psnr_higher"])
    assert paper_words(found["printed_ssim_higher"]) == "43 of 45 cells"
    assert found["best_psnr"].verdict == found["best_ssim"].verdict == "reproduced"
    assert "36.16 is printed" in why(found["best_psnr"])
    assert found["still_best"].verdict == "not_reproduced"
    assert "PFT-light" in why(found["still_best"])


def test_a_misprint_counts_unless_it_is_left_out(folder):
    assert ruling(folder, "best_psnr", misprints=()).verdict == "not_reproduced"


def test_larger_networks_and_other_training_sets_are_left_out(folder):
    found = ruling(folder, "still_best", max_params_k=700)
    assert "ESC" in why(found)
    assert "PFT" not in why(found)
    assert ruling(folder, "still_best", training_set="nothing").parts == ()


# The whole


def test_a_run_without_records_decides_nothing(folder):
    evidence = folder.evidence()
    found = rulings(evidence, budget_of(evidence))
    measured = [each for each in found if each.claim.basis == "records"]
    assert {each.verdict for each in measured} == {"not_testable"}
    assert not any(part.here for each in found for part in each.parts)


def test_the_ledgers_sentence_counts_verdicts(six):
    evidence = six.evidence()
    found = rulings(evidence, budget_of(evidence))
    counts = [each.verdict for each in found if each.claim.basis == "records"]
    open_ones = counts.count("not_testable")
    assert ledger_sentence(found).startswith(f"Of {len(counts)} claims of the paper")
    assert f"{open_ones} are not testable here" in ledger_sentence(found)
    assert f"{open_ones} not testable here" in heading(found)
    assert heading([]) == "What the paper claims"
    assert ledger_sentence([]) == ""
