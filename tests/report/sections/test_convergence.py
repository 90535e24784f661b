import pytest

from hitsr.report.budget import budget_of
from hitsr.report.sections.convergence import (
    convergence_finding,
    convergence_heading,
    convergence_section,
    psnr_remarks,
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


def test_averaged_weights_are_said_in_the_figure_its_caption_and_the_table(configured, finished):
    assert psnr_remarks(finished.evidence(), 2) == []
    folder = configured(train__recipe__ema=0.999).everything()
    evidence = folder.evidence()
    assert psnr_remarks(evidence, 2) == ["PSNR is that of averaged weights (EMA)."]
    section = convergence_section(evidence, budget_of(evidence), evidence.config.train)
    assert "31.50 EMA" in section.panels[0].svg
    assert "EMA" not in section.panels[-1].svg  # loss
    texts = [cell.text for cell in training_table(evidence).groups[0].rows[0].cells]
    assert "averaged weights" in texts


def test_weights_that_are_validated_themselves_are_called_so(configured):
    recipe = {"train__recipe__ema": 0.999, "train__recipe__validated": "weights"}
    evidence = configured(**recipe).everything().evidence()
    assert psnr_remarks(evidence, 2) == []
    texts = [cell.text for cell in training_table(evidence).groups[0].rows[0].cells]
    assert "weights" in texts


def test_a_pair_of_which_one_is_averaged_is_said_to_be_apart(finished, averaged):
    evidence = averaged(finished.evidence())
    assert psnr_remarks(evidence, 2) == [
        "PSNR of HiT-SIR is that of averaged weights (EMA).",
        "HiT-SIR: not held against the baseline, since only one of the two is validated with "
        "averaged weights.",
    ]
    assert convergence_heading(evidence, 2) == "How the networks learn"
    section = convergence_section(evidence, budget_of(evidence), evidence.config.train)
    assert section.parts["targets"] is None


def test_gates_have_a_table_of_their_own(full, new_gate):
    run = runs(full.config)["hit_sir-x2-s1"]
    full.training(run, gates=(new_gate(50, 31.0, 30.5),))
    evidence = full.evidence()
    section = convergence_section(evidence, budget_of(evidence), evidence.config.train)
    assert [view.table.name for view in section.tables] == ["targets", "gates", "training"]
    (remark,) = psnr_remarks(evidence, 2)
    assert remark.endswith("HiT-SIR ×2 was below gate 1 at step 50.")


def test_a_doubtful_training_is_marked_in_its_row_with_the_reasons(full, new_session):
    run = runs(full.config)["hit_sir-x2-s1"]
    sessions = (new_session(1, 50, devices=2), new_session(51, 100))
    full.training(run, skipped=(3, 4), sessions=sessions)
    clean, doubtful = training_table(full.evidence()).groups[0].rows
    assert {cell.mark for cell in clean.cells} == {None}
    marked = [cell for cell in doubtful.cells if cell.mark == "doubtful"]
    assert [cell.text for cell in marked] == ["0.0100", "31.00"]
    assert all(cell.reason.startswith("2 steps were skipped") for cell in marked)
    assert [cell.text for cell in doubtful.cells][2:3] == ["2"]
    assert [cell.text for cell in doubtful.cells][6:9] == ["12", "0.0028", "2"]


def test_of_an_older_training_sessions_and_skipped_steps_are_not_said(full):
    for run in runs(full.config).values():
        full.training(run, sessions=())
        full.relog(run, lambda line: line.model_copy(update={"device_seconds": None}))
    cells = training_table(full.evidence()).groups[0].rows[0].cells
    assert [cell.text for cell in cells].count("not logged") == 3
    assert cells[6].text == "12"
