"""What one design choice is worth: table, finding and page, from a few records."""

from dataclasses import replace

import pytest

from hitsr.plan.planning import make_plan
from hitsr.report.budget import budget_of
from hitsr.report.page import evidence_of, render_ablation
from hitsr.report.sections.ablations import (
    ablation_finding,
    ablation_table,
    ablations_section,
    difference_to_base,
)
from hitsr.specs.ablation import Ablation

HEADS = Ablation.parse(
    {
        "question": "How many heads?",
        "base": "hit_sir",
        "variants": {"six": {}, "three": {"mixer.heads": 3}, "two": {"mixer.heads": 2}},
        "published": [{"says": "Six.", "source": "the paper, section 9"}],
        "expect": "Little changes.",
    },
    "heads.yaml",
)
PICTURES = ("brick", "cat", "fern", "gate", "hill", "lamp")


@pytest.fixture
def heads(configured):
    """A folder that asks for HEADS; the base's first picture scores 31.0 dB, variants' as given."""

    def make(seeds=(1, 2), **psnr_db):
        folder = configured(train__seeds=list(seeds))
        config = folder.config.model_copy(update={"ablations": ("heads",)})
        folder.config, folder.ablations = config, {"heads": HEADS}
        folder.plan = make_plan(config, folder.ablations, folder.path)
        for row in folder.plan.ablations["heads"]:
            for run in row.runs:
                if row.variant in {"six": 31.0} | psnr_db:
                    luck = 0.01 * run.seed
                    first = psnr_db.get(row.variant, 31.0) + luck * (1 + (row.variant == "two"))
                    # Pictures one dB apart; of variants, a little less.
                    step = 1.0 if row.variant == "six" else 0.99
                    scores = tuple(first + step * index for index in range(len(PICTURES)))
                    folder.quality(run.name, "test", scores, pictures=PICTURES)
        return folder

    return make


def found_in(folder):
    evidence = folder.evidence()
    return evidence, evidence.ablations["heads"]


def test_difference_is_to_the_base_on_the_same_pictures(heads):
    evidence, study = found_in(heads(three=31.25))
    base, three, two = study.rows
    found = difference_to_base(evidence, three, base, "test")
    assert found.mean == pytest.approx(0.25 - 0.025)
    assert difference_to_base(evidence, two, base, "test") is None


def test_table_has_the_base_first_and_says_what_was_not_run(heads):
    evidence, study = found_in(heads(three=31.25))
    rows = ablation_table(evidence, "heads", study).groups[0].rows
    assert [row.label for row in rows] == ["six", "three", "two"]
    texts = [[cell.text for cell in row.cells] for row in rows]
    assert texts[0][:3] == ["33.52", "base", "base"]  # the mean of six pictures
    assert texts[1][:3] == ["33.74", "+0.23", "+0.21 to +0.24"]
    assert texts[2][:3] == ["not run", "not run", "not run"]
    assert texts[1][-1] == "not run"


def test_kernel_is_the_one_that_the_record_says_ran(heads):
    folder = heads()
    folder.latency("hit_sir", 400.0, kernel="re-associated")
    evidence, study = found_in(folder)
    base = ablation_table(evidence, "heads", study).groups[0].rows[0]
    assert [cell.text for cell in base.cells[-2:]] == ["400", "re-associated"]


@pytest.mark.parametrize(
    ("psnr_db", "finding"),
    [
        ({}, "How many heads?"),
        ({"three": 31.25, "two": 30.0}, "One of two variants scores below the base and one"),
        ({"three": 31.02, "two": 31.02}, "No variant is told apart from its base on “test”."),
    ],
)
def test_finding_counts_the_variants_that_intervals_tell_apart(heads, psnr_db, finding):
    assert ablation_finding(*found_in(heads(**psnr_db))).startswith(finding)


def test_one_seed_tells_nothing_apart_and_says_that_intervals_are_over_pictures_alone(heads):
    evidence, study = found_in(heads(seeds=[1], three=32.0))
    assert ablation_finding(evidence, study) == (
        "One seed on “test”: what another would give is not known, so no variant is told apart "
        "from its base."
    )
    section = ablations_section(evidence, budget_of(evidence))
    conditions = section.tables[0].caption.conditions
    assert "over pictures alone: of one seed" in conditions


def test_section_carries_the_budget_and_a_figure_once_something_is_scored(heads):
    evidence, _ = found_in(heads(three=31.25))
    section = ablations_section(evidence, budget_of(evidence))
    assert section.tables[0].caption.chip == "100 of 500\u202f000 iterations"
    (panel,) = section.panels
    assert "three +0.23" in panel.description
    assert "two" not in panel.description


def test_page_of_one_ablation_shows_it_alone(heads, reports, tmp_path, monkeypatch):
    monkeypatch.setattr("hitsr.report.page.to_pdf", lambda _: b"%PDF")
    folder = heads(three=31.25, two=31.0)
    page, _ = render_ablation(folder.plan, reports, tmp_path, "heads", HEADS)
    text = page.read_text()
    assert "<h1>How many heads?</h1>" in text
    assert "the paper, section 9" in text
    assert "snakemake ablation_heads" in text
    assert 'id="efficiency"' not in text
    assert (tmp_path / "ablation-heads.tex").is_file()


def test_an_ablation_that_the_config_does_not_name_is_shown_alone_all_the_same(
    heads, reports, tmp_path, monkeypatch
):
    monkeypatch.setattr("hitsr.report.page.to_pdf", lambda _: b"%PDF")
    folder = heads(three=31.25)
    unnamed = folder.config.model_copy(update={"ablations": ()})
    plan = replace(folder.plan, config=unnamed)
    assert evidence_of(plan, reports).ablations == {}
    text = render_ablation(plan, reports, tmp_path, "heads", HEADS)[0].read_text()
    assert "+0.23" in text
