"""Words are checked by what they claim, against records that make the claim true or false."""

import pytest

from hitsr.report.abstract import abstract
from hitsr.report.budget import budget_of
from hitsr.report.sections.convergence import convergence_finding, convergence_heading
from hitsr.report.sections.efficiency import (
    complexity_finding,
    efficiency_heading,
    speed_sentence,
)
from hitsr.report.sections.quality import behind_bicubic, quality_heading
from hitsr.specs.config import runs


@pytest.mark.parametrize(
    "change",
    [{"train__recipe__batch": 32}, {"train__patch": {"depths": [6]}}, {"data__train": "x"}],
)
def test_any_other_budget_is_not_the_papers(configured, change):
    papers = {"train__recipe__steps": 500_000, "train__recipe__batch": 64, "train__patch": {},
              "data__train": "DIV2K"}  # fmt: skip
    assert not budget_of(configured(**(papers | change)).evidence()).is_papers


def test_headings_are_neutral_without_records(folder):
    evidence = folder.evidence()
    assert efficiency_heading(evidence) == "Size, FLOPs, latency and memory"
    assert quality_heading(evidence) == "Quality on the test pictures"
    assert convergence_heading(evidence, 2) == "How the networks learn"
    assert abstract(evidence, budget_of(evidence))[0] == "No network has been trained yet."


def test_headings_are_neutral_while_a_pair_is_missing(configured):
    both = ["swinir_light", "hit_sir", "swinir_ng", "hit_sng"]
    folder = configured(networks=both)
    for name in both[:2]:
        folder.complexity(name)
        folder.training(runs(folder.config)[f"{name}-x2-s1"])
    evidence = folder.evidence()
    assert efficiency_heading(evidence) == "Size, FLOPs, latency and memory"
    assert convergence_heading(evidence, 2) == "How the networks learn"
    assert convergence_finding(evidence, 2) == "Validation PSNR over training."


def test_headings_state_what_all_records_show(full):
    evidence = full.evidence()
    assert efficiency_heading(evidence) == "Conversions are smaller, lighter and faster"
    assert quality_heading(evidence) == "Both networks beat bicubic on “test”"
    assert complexity_finding(evidence) == "4 of 4 counts print exactly as in the paper."


def test_a_slower_conversion_is_said(full):
    full.latency("hit_sir", 2000.0)
    assert "not all are faster" in efficiency_heading(full.evidence())


def test_a_network_behind_bicubic_is_said_plainly(folder):
    folder.everything({"bicubic": 30.0, "swinir_light": 29.5, "hit_sir": 31.0})
    evidence = folder.evidence()
    assert quality_heading(evidence) == "Not every network beats bicubic: one of two on “test”"
    assert behind_bicubic(evidence) == ["SwinIR-Light on “test” ×2"]


def test_a_network_level_with_bicubic_does_not_beat_it(folder):
    folder.everything({"bicubic": 30.0, "swinir_light": 30.004, "hit_sir": 31.0})
    assert behind_bicubic(folder.evidence()) == ["SwinIR-Light on “test” ×2"]


def test_a_conversion_that_never_catches_up_is_said(folder):
    for run in runs(folder.config).values():
        folder.training(run, gain=-1.0 if run.network.name == "hit_sir" else 1.0)
    evidence = folder.evidence()
    assert (
        convergence_heading(evidence, 2) == "No conversion reaches its baseline’s final PSNR early"
    )
    assert "No conversion reaches" in convergence_finding(evidence, 2)


def test_steps_to_the_baselines_final_psnr_are_said(full):
    text = convergence_finding(full.evidence(), 2)
    assert text == "Steps of 100 to the baseline’s final PSNR: HiT-SIR after 75."


def test_speed_is_a_ratio_and_never_the_papers_milliseconds(full):
    text = speed_sentence(full.evidence())
    assert "2.5 (CPU, fused) times as fast as their baselines" in text
    assert "7.6, on an A100 at ×2" in text
    assert "1899" not in text.replace("\u202f", "")


def test_the_abstract_has_four_sentences_at_most(full):
    evidence = full.evidence()
    sentences = abstract(evidence, budget_of(evidence))
    assert len(sentences) == 4
    assert "not testable here" in sentences[-1]
