"""One rule says whether a training may be held against the paper's, for tables and claims alike."""

import pytest

from hitsr.report.budget import budget_of
from hitsr.report.comparable import hindrance, is_data_centre, recipe_differences
from hitsr.report.judging import printed_number
from hitsr.report.ledger import rulings
from hitsr.specs.config import runs
from hitsr.specs.run import StartWeights


def only_run(folder):
    return next(iter(runs(folder.config).values()))


def test_the_papers_protocol_is_comparable(papers):
    assert hindrance(only_run(papers())) == ""


def test_a_start_from_released_weights_is_not_the_papers_protocol(papers):
    run = only_run(papers())
    fine_tuned = run.model_copy(update={"start_from": StartWeights(name="a.pth", sha256="0")})
    chained = run.model_copy(update={"start_from": fine_tuned})
    for each in (fine_tuned, chained):
        assert hindrance(each) == "not judged: started from a file of weights"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"train__recipe__steps": 100}, "100 of 500\u202f000 iter"),
        ({"train__recipe__batch": 32}, "batch 32 instead of 64"),
        ({"train__recipe__patch": 16}, "patches of 16 instead of 64"),
        ({"train__changes": {"depths": [6]}}, "networks reduced in size"),
        ({"data__train": "DIV2K_small"}, "trained on “DIV2K_small”"),
        ({"data__train": "mine"}, "trained on “mine”"),
    ],
)
def test_each_difference_is_named_and_is_enough_for_table_and_ledger(papers, change, words):
    folder = papers(**change)
    assert hindrance(only_run(folder)).startswith("not judged: ")
    assert words in hindrance(only_run(folder))
    for name in runs(folder.config):
        folder.quality(name, "Set5", 20.0)
    evidence = folder.evidence()
    assert not budget_of(evidence).is_papers
    assert printed_number(evidence, "psnr_db", "hit_sir", 2, "Set5").verdict == "not_testable"
    scored = [n for r in rulings(evidence) for n in r.numbers if n.here and "Set5" in n.name]
    assert len(scored) > 4
    assert {number.verdict for number in scored} == {"not_testable"}


def by_one(papers, recipe="hit_sr", **changes):
    """Networks trained by one recipe, all scored on Set5."""
    folder = papers(train__recipe=recipe, train__seeds=[1, 2, 3], **changes)
    for name in runs(folder.config):
        folder.quality(name, "Set5", 38.5 if name.startswith("hit") else 38.0)
    return folder.evidence()


def test_a_network_trained_by_another_recipe_is_not_held_against_print(papers):
    evidence = by_one(papers)
    assert budget_of(evidence).is_papers  # its budget, that is
    found = {
        network: printed_number(evidence, "psnr_db", network, 2, "Set5").judgement
        for network in ("swinir_light", "hit_sir")
    }
    assert found["hit_sir"].verdict == "not_reproduced"
    assert found["swinir_light"].verdict == "not_testable"
    assert found["swinir_light"].reason == (
        "not judged: trained otherwise than published, by learning rate 0.0005 instead of 0.0002, "
        "Adam’s betas 0.9/0.99 instead of 0.9/0.999 and average of weights (EMA) none instead of "
        "0.999"
    )


def test_networks_trained_by_one_recipe_may_be_compared_with_each_other(papers):
    ruled = {ruling.claim.id: ruling for ruling in rulings(by_one(papers))}
    assert ruled["general_strategy"].verdict == "reproduced"
    (gain,) = [n for n in ruled["gain_hit_sir_x2"].numbers if n.here and n.style.unit == "dB"]
    assert "trained otherwise than published" in gain.judgement.reason


def test_the_page_says_by_which_recipe_each_network_was_trained(papers):
    assert budget_of(by_one(papers)).recipes == (
        "SwinIR-Light: by hit_sr; not as published, by learning rate 0.0005 instead of 0.0002, "
        "Adam’s betas 0.9/0.99 instead of 0.9/0.999 and average of weights (EMA) none instead of "
        "0.999.",
        "HiT-SIR: by hit_sr; as published.",
    )
    own = budget_of(by_one(papers, "own", train__scales=[2, 3]))
    assert own.recipes == (
        "SwinIR-Light: by swinir_light; as published.", "HiT-SIR: by hit_sr; as published.",
    )  # fmt: skip
    assert not own.is_one_recipe
    assert own.steps == "250\u202f000 to 500\u202f000 iterations, as published"
    page = papers(train__recipe="hit_sr").everything().render() / "index.html"
    assert "HiT-SIR: by hit_sr; as published." in page.read_text()


def test_schedules_are_compared_as_shares_of_the_steps(papers):
    shorter = only_run(papers(train__recipe={"from": "own", "steps": 1000}))
    assert recipe_differences(shorter) == "steps 1\u202f000 instead of 500\u202f000"
    fields = {"steps": 1000, "batch": 64, "patch": 64, "learning_rate": 2e-4, "ema": 0.999}
    flat = only_run(papers(train__recipe={**fields, "betas": [0.9, 0.999]}))
    assert recipe_differences(flat) == (
        "steps 1\u202f000 instead of 500\u202f000 and milestones none instead of 500/800/900/950"
    )


@pytest.mark.parametrize("aside", [{"parts": 2}, {"precision": "tf32"}, {"log_every": 7}])
def test_how_a_step_is_computed_and_logged_is_no_other_recipe(papers, aside):
    assert recipe_differences(only_run(papers(train__recipe={"from": "own", **aside}))) == ""


@pytest.mark.parametrize("seeds", [[1], [1, 2], [7, 8, 9]])
def test_seeds_play_no_part(papers, seeds):
    folder = papers(train__seeds=seeds)
    assert {hindrance(run) for run in runs(folder.config).values()} == {""}
    for name in runs(folder.config):
        folder.quality(name, "Set5", 20.0)
    evidence = folder.evidence()
    assert budget_of(evidence).is_papers
    assert printed_number(evidence, "psnr_db", "hit_sir", 2, "Set5").verdict == "not_reproduced"


def test_a_network_that_is_not_the_papers_is_not_reduced(papers):
    run = only_run(papers())
    other = run.network.model_copy(update={"name": "hit_sir.heads_3", "depths": (6,)})
    assert hindrance(run.model_copy(update={"network": other})) == ""


@pytest.mark.parametrize(
    "name",
    [
        "NVIDIA A100-SXM4-40GB", "NVIDIA A800 80GB PCIe", "NVIDIA H100 80GB HBM3", "NVIDIA H200",
        "NVIDIA GH200 480GB", "NVIDIA H20", "NVIDIA B200", "NVIDIA GB200", "NVIDIA L4",
        "NVIDIA L40S", "NVIDIA A10G", "NVIDIA A30", "Tesla V100-SXM2-16GB", "Tesla T4",
        "AMD Instinct MI300X", "AMD Instinct MI250X/MI250",
    ],
)  # fmt: skip
def test_a_gpu_of_a_data_centre_is_known_by_its_name(name):
    assert is_data_centre(name)


@pytest.mark.parametrize(
    "name",
    [
        "NVIDIA GeForce RTX 4090", "NVIDIA GeForce GTX 1080 Ti", "NVIDIA RTX A6000",
        "NVIDIA RTX A4000", "NVIDIA RTX 6000 Ada Generation", "Quadro P4000", "NVIDIA T400 4GB",
        "NVIDIA GeForce MX450", "AMD Radeon RX 7900 XTX", "Apple M3 Max", "A CPU", "",
        "AMD EPYC 9654 96-Core Processor", "Intel(R) Xeon(R) CPU E5-2680 v4",
    ],
)  # fmt: skip
def test_other_devices_are_not(name):
    assert not is_data_centre(name)
