import json
import re

import pytest

from hitsr.base.errors import DataError, RecordError
from hitsr.records import LatencyRecord
from hitsr.report.compare import compare_folders
from hitsr.report.compare_page import to_html, to_text
from hitsr.report.comparison import ComparedCell, Comparison, Tolerances
from hitsr.specs.config import runs

EXACT = Tolerances(counts=0, latency=0, memory=0, loss=0, psnr_db=0, ssim=0)
USUAL = Tolerances(counts=0, latency=0.1, memory=0.1, loss=0.01, psnr_db=0.005, ssim=0.0001)


@pytest.fixture
def other(full, tmp_path):
    """A second results folder of the same config, equal to `full` in every record."""
    return type(full)(full.config, tmp_path / "other").everything()


def compared(full, other, tolerances: Tolerances = USUAL, **options: object) -> Comparison:
    return compare_folders(full.path, other.path, tolerances, **options)


def the_one(comparison: Comparison) -> ComparedCell:
    """The only cell that is not the same."""
    (cell,) = comparison.failing()
    return cell


def test_equal_folders_are_the_same_exactly(full, other):
    comparison = compared(full, other, EXACT)
    assert comparison.failing() == []
    assert {cell.kind for cell in comparison.cells} == {
        "complexity", "latency", "quality", "training",
    }  # fmt: skip


def test_one_parameter_more_is_a_difference(full, other):
    other.edit("complexity", "swinir_light-x2", params=910_153)
    cell = the_one(compared(full, other))
    assert (cell.subject, cell.quantity, cell.verdict) == ("swinir_light-x2", "params", "differs")
    assert (cell.a, cell.b) == (910_152, 910_153)
    assert cell.words.startswith("+1, ")
    assert not compared(full, other, USUAL.model_copy(update={"counts": 1e-5})).failing()


def test_swapping_folders_swaps_sides(full, other):
    other.edit("complexity", "swinir_light-x2", params=910_153)
    other.output("quality", "hit_sir-x2-s1.test").unlink()
    there, back = compared(full, other).failing(), compared(other, full).failing()
    assert {(c.subject, c.a, c.b) for c in there} == {(c.subject, c.b, c.a) for c in back}
    assert {c.verdict for c in there} == {"differs", "only A"}
    assert {c.verdict for c in back} == {"differs", "only B"}


def test_latency_differs_beyond_tolerance_and_spread(full, other):
    # In A: 998, 1000, 1006 ms.
    name = ("latency", "swinir_light-x2.cpu.fused")
    other.edit(*name, samples_ms=[1090, 1095, 1099])
    assert not compared(full, other).failing()
    other.edit(*name, samples_ms=[1995, 2000, 2005])
    assert "2.00× as long" in the_one(compared(full, other)).words
    assert "2.00× as fast" in the_one(compared(other, full)).words
    other.edit(*name, samples_ms=[900, 1000, 2000, 2000])
    assert not compared(full, other).failing()


def test_latency_of_another_machine_is_shown_and_not_judged(full, other):
    for network in ("swinir_light", "hit_sir"):
        path = other.output("latency", f"{network}-x2.cpu.fused")
        record = LatencyRecord.load(path)
        elsewhere = record.provenance.model_copy(update={"device_name": "B CPU", "threads": 8})
        record.model_copy(update={"provenance": elsewhere}).save(path)
    cells = compared(full, other).failing()
    assert {cell.verdict for cell in cells} == {"unlike"}
    assert all("A CPU and B CPU, threads 2 and 8" in cell.words for cell in cells)
    assert cells[0].a == cells[0].b == 400


def test_quality_is_judged_by_its_mean_and_carries_significance(full, other):
    other.quality("hit_sir-x2-s1", "test", 31.2)
    cell = the_one(compared(full, other))
    assert (cell.subject, cell.quantity) == ("hit_sir-x2 on test", "psnr")
    assert cell.significance.mean == pytest.approx(0.2)
    assert "better on all 2 pictures" in cell.words
    assert cell.significance.p_corrected == 1  # two pictures, three methods
    assert not compared(full, other, USUAL.model_copy(update={"psnr_db": 0.21})).failing()


def test_seeds_of_a_method_are_one_cell(configured, tmp_path):
    full = configured(train__seeds=[1, 2]).everything()
    other = type(full)(full.config, tmp_path / "other").everything()
    subjects = {cell.subject for cell in compared(full, other).cells if cell.kind == "quality"}
    methods = ("bicubic", "hr", "swinir_light", "hit_sir")
    assert subjects == {f"{method}-x2 on test" for method in methods}


def test_scores_taken_otherwise_are_not_compared(full, other):
    signatures = {"psnr": "psnr|rgb|v1", "ssim": "ssim|y|border:scale|v1"}
    for job in other.plan.reported:
        if job.kind == "quality":
            other.edit("quality", job.name, signatures=signatures)
    cells = compared(full, other).failing()
    assert len(cells) == 4
    assert all(cell.verdict == "unlike" and "do not compare" in cell.words for cell in cells)


def test_trainings_on_other_lr_pictures_are_unlike(full, other):
    for job in other.plan.jobs:
        if job.kind == "train":
            other.training(job.run, degradation="given-1a2b3c4d")
    cells = compared(full, other).failing()
    assert {cell.quantity for cell in cells} == {"final_loss", "final_validation_psnr_db"}
    assert {cell.verdict for cell in cells} == {"unlike"}
    assert all("LR pictures matlab-bicubic and given-1a2b3c4d" in cell.words for cell in cells)


def test_another_recipe_is_named_by_its_path(full, configured, tmp_path):
    changed = configured(train__recipe__steps=200).config
    other = type(full)(changed, tmp_path / "other").everything()
    for run in ("swinir_light-x2-s1", "hit_sir-x2-s1"):
        other.edit("train", run, weights_sha256="cd" * 32)
    cells = compared(full, other).failing()
    assert {cell.kind for cell in cells} == {"training"}
    for cell in cells:
        assert cell.words.startswith("recipe.steps 100 → 200; other weights")


def definition(full, other) -> ComparedCell:
    cells = compared(full, other).cells
    return next(c for c in cells if c.quantity == "run" and c.subject == "hit_sir-x2-s1")


def test_another_number_of_sessions_is_told_and_no_difference(full, other, new_session):
    run = runs(full.config)["hit_sir-x2-s1"]
    other.training(run, sessions=(new_session(1, 50), new_session(51, 100, devices=4)))
    cell = definition(full, other)
    assert cell.verdict == "same"
    assert cell.words.endswith("1 session on A CPU and 2 sessions on A CPU and 4\u00a0× A CPU")


def test_skipped_steps_and_missed_gates_are_differences(full, other, new_gate):
    run = runs(full.config)["hit_sir-x2-s1"]
    full.training(run, gates=(new_gate(50, 31.0, 31.0),))
    other.training(run, gates=(new_gate(50, 31.0, 30.0),), skipped=(7,))
    cell = definition(full, other)
    assert cell.verdict == "differs"
    assert "0 steps skipped and 1 step skipped; 1 of 1 gate passed and 0 of 1 gate" in cell.words


def test_an_older_record_says_nothing_of_its_course(full, other):
    other.training(runs(full.config)["hit_sir-x2-s1"], sessions=())
    cell = definition(full, other)
    assert (cell.verdict, cell.words) == (
        "same",
        "one definition; the same weights, by their bytes",
    )


def test_psnr_of_averaged_weights_is_unlike_that_of_weights(full, configured, tmp_path):
    changed = configured(train__recipe__ema=0.999).config
    other = type(full)(changed, tmp_path / "other").everything()
    cells = {c.quantity: c for c in compared(full, other).failing() if "hit_sir" in c.subject}
    assert set(cells) == {"run", "final_validation_psnr_db"}
    assert "recipe.ema None → 0.999" in cells["run"].words
    psnr = cells["final_validation_psnr_db"]
    assert (psnr.verdict, psnr.words) == (
        "unlike",
        "equal, but PSNR of weights and averaged weights",
    )


def test_a_number_that_one_side_lacks_is_a_cell_of_the_other(full, other):
    other.edit("train", "hit_sir-x2-s1", final_validation_psnr_db=None)
    cell = the_one(compared(full, other))
    assert (cell.quantity, cell.verdict) == ("final_validation_psnr_db", "only A")
    assert (cell.a, cell.b) == (31.0, None)


def test_scores_of_other_pictures_are_not_compared(full, other):
    for job in other.plan.reported:
        if job.kind in ("quality", "prepare"):
            path = other.output(job.kind, job.name)
            other.edit(job.kind, job.name, pictures=json.loads(path.read_text())["pictures"][:1])
    cells = compared(full, other).failing()
    assert {cell.verdict for cell in cells} == {"unlike"}
    assert all("not the same pictures (2 and 1)" in cell.words for cell in cells)
    assert {cell.a for cell in cells} == {None}


def test_what_one_side_lacks_is_listed(full, other):
    full.output("complexity", "hit_sir-x2").unlink()
    other.output("latency", "hit_sir-x2.cpu.fused").unlink()
    comparison = compared(full, other)
    assert [(c.subject, c.verdict) for c in comparison.failing()] == [
        ("hit_sir-x2", "only B"),
        ("hit_sir-x2.cpu.fused", "only A"),
    ]
    assert comparison.failing(common=True) == []


def test_kinds_that_are_not_asked_for_are_left_out(full, other):
    other.edit("complexity", "hit_sir-x2", params=1)
    assert not compared(full, other, kinds=["quality", "latency"]).failing()


def test_an_empty_folder_is_refused(full, tmp_path):
    with pytest.raises(RecordError, match="no records"):
        compare_folders(full.path, tmp_path / "nothing", USUAL)


def test_text_and_page_tell_every_difference(full, other, reports):
    other.edit("complexity", "swinir_light-x2", params=910_153)
    other.output("latency", "hit_sir-x2.cpu.fused").unlink()
    comparison = compared(full, other)
    text, page = to_text(comparison), to_html(comparison, reports / "templates")
    for shown in (text, page):
        assert "910\u202f153" in shown
        assert "hit_sir-x2.cpu.fused" in shown
        assert "1 differs and 1 is in A alone" in shown
    assert "swinir_light-x2 on test" not in text
    assert "swinir_light-x2 on test" in to_text(comparison, show_same=True)
    assert "swinir_light-x2 on test" in page


def test_the_page_asks_for_nothing_and_repeats_itself(full, other, reports):
    page = to_html(compared(full, other), reports / "templates")
    assert page == to_html(compared(full, other), reports / "templates")
    assert not re.search(r'(src|href)="(?!#|data:)', page)
    assert not re.search(r"url\((?!data:)", page)


def test_a_missing_template_is_told(full, other, tmp_path):
    with pytest.raises(DataError, match="restore"):
        to_html(compared(full, other), tmp_path)
