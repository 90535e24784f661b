"""One rule says whether a training may be held against the paper's, for tables and claims alike."""

import pytest

from hitsr.report.budget import budget_of
from hitsr.report.comparable import hindrance, is_data_centre
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
