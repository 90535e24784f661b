import pytest

from hitsr.report.budget import budget_of
from hitsr.report.sections.convergence import (
    convergence_finding,
    convergence_heading,
    convergence_section,
    training_table,
)
from hitsr.specs.config import runs


def test_words_are_neutral_while_a_pair_is_missing(configured):
    folder = configured(networks=["swinir_light", "hit_sir", "swinir_ng", "hit_sng"])
    for name in ("swinir_light-x2-s1", "hit_sir-x2-s1"):
        folder.training(runs(folder.config)[name])
    evidence = folder.evidence()
    assert convergence_heading(evidence, 2) == "How the networks learn"
    assert convergence_finding(evidence, 2) == "Validation PSNR over training."


def test_a_conversion_that_never_catches_up_is_said(folder):
    for run in runs(folder.config).values():
        folder.training(run, gain=-1.0 if run.network.name == "hit_sir" else 1.0)
    evidence = folder.evidence()
    assert (
        convergence_heading(evidence, 2) == "No conversion reaches its baseline’s final PSNR early"
    )
    assert "No conversion reaches" in convergence_finding(evidence, 2)


def test_steps_to_the_baselines_final_psnr_are_said(evidence):
    assert convergence_finding(evidence, 2) == (
        "Steps of 100 to the baseline’s final PSNR: HiT-SIR after 75."
    )


def test_there_is_a_row_for_each_finished_training(measured):
    rows = training_table(measured.evidence()).groups[0].rows
    assert [row.label for row in rows] == [
        f"{name}, ×2, seed {seed}" for name in ("SwinIR-Light", "HiT-SIR") for seed in (1, 2)
    ]


@pytest.mark.parametrize("seeds", [1, 2])
def test_the_section_draws_steps_and_seconds(finished, measured, seeds):
    evidence = (finished if seeds == 1 else measured).evidence()
    section = convergence_section(evidence, budget_of(evidence), evidence.config.train)
    assert len(section.panels) == 4
    assert [view.table.name for view in section.tables] == ["targets", "training"]
