"""What one design choice is worth: table, finding and page, from a few records."""

import pytest

from hitsr.records import LatencyRecord
from hitsr.report.budget import budget_of
from hitsr.report.gather import gather, select
from hitsr.report.measures import Evidence
from hitsr.report.page import render_ablation
from hitsr.report.published import read_published
from hitsr.report.sections.ablations import (
    ablation_finding,
    ablation_table,
    ablations_section,
    difference_to_base,
)
from hitsr.specs.ablation import Ablation, Resolved, ablation_rows
from hitsr.specs.config import runs

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
def resolved(full) -> Resolved:
    return Resolved(HEADS, ablation_rows("heads", HEADS, full.config))


def evidence_of(
    full, resolved: Resolved, reports, pictures: tuple[str, ...] = PICTURES, **psnr_db: float
) -> Evidence:
    """The base scores 31.0 dB on the first of six pictures; variants as given, where they are."""
    for control in ("bicubic-x2", "hr-x2"):
        full.quality(control, "test", 30.0, pictures=pictures)
    for name, run in runs(full.config).items():
        full.quality(name, "test", 31.0, run, pictures=pictures)
    for row in resolved.rows:
        if row.variant in psnr_db:
            for run in row.runs:
                full.quality(run.name, "test", psnr_db[row.variant], run, pictures=pictures)
    selected = select(full.config, gather(full.path), resolved.rows)
    published = read_published(reports / "published")
    return Evidence(full.config, selected, published, {"heads": resolved})


def test_difference_is_to_the_base_on_the_same_pictures(full, resolved, reports):
    evidence = evidence_of(full, resolved, reports, three=31.25)
    base, three, two = resolved.rows
    found = difference_to_base(evidence, three, base, "test")
    assert found.mean == pytest.approx(0.25)
    assert difference_to_base(evidence, two, base, "test") is None


def test_table_has_the_base_first_and_says_what_was_not_run(full, resolved, reports):
    evidence = evidence_of(full, resolved, reports, three=31.25)
    rows = ablation_table(evidence, "heads", resolved).groups[0].rows
    assert [row.label for row in rows] == ["six", "three", "two"]
    texts = [[cell.text for cell in row.cells] for row in rows]
    assert texts[0][:3] == ["33.50", "base", "base"]  # the mean of six pictures, one dB apart
    assert texts[1][:3] == ["33.75", "+0.25", "+0.25 to +0.25"]
    assert texts[2][:3] == ["not run", "not run", "not run"]
    assert texts[1][-1] == "not run"


def test_kernel_is_the_one_that_the_record_says_ran(full, resolved, reports):
    path = full.path / "records/latency/hit_sir-x2.cpu.fused.json"
    LatencyRecord.load(path).model_copy(update={"kernel": "re-associated"}).save(path)
    evidence = evidence_of(full, resolved, reports)
    base = ablation_table(evidence, "heads", resolved).groups[0].rows[0]
    assert [cell.text for cell in base.cells[-2:]] == ["400", "re-associated"]


@pytest.mark.parametrize(
    ("psnr_db", "finding"),
    [
        ({}, "How many heads?"),
        ({"three": 31.25, "two": 30.0}, "One of two variants scores below the base and one"),
        ({"three": 31.0, "two": 31.0}, "No variant is told apart from its base on “test”."),
    ],
)
def test_finding_counts_the_variants_that_intervals_tell_apart(
    full, resolved, reports, psnr_db, finding
):
    evidence = evidence_of(full, resolved, reports, **psnr_db)
    assert ablation_finding(evidence, resolved).startswith(finding)


def test_few_pictures_tell_nothing_apart(full, resolved, reports):
    evidence = evidence_of(full, resolved, reports, PICTURES[:3], three=32.0)
    finding = ablation_finding(evidence, resolved)
    assert finding == "Three pictures are too few to tell variants from their base on “test”."


def test_section_carries_the_budget_and_a_figure_once_something_is_scored(full, resolved, reports):
    evidence = evidence_of(full, resolved, reports, three=31.25)
    section = ablations_section(evidence, budget_of(evidence))
    assert section.tables[0].caption.chip == "100 of 500\u202f000 iterations"
    (panel,) = section.panels
    assert "three +0.25" in panel.description
    assert "two" not in panel.description


def test_page_of_one_ablation_shows_it_alone(full, resolved, reports, tmp_path):
    evidence_of(full, resolved, reports, three=31.25, two=31.0)
    page = render_ablation(full.config, full.path, reports, tmp_path, "heads", resolved)
    text = page.read_text()
    assert "<h1>How many heads?</h1>" in text
    assert "the paper, section 9" in text
    assert "snakemake ablation_heads" in text
    assert 'id="efficiency"' not in text
    assert (tmp_path / "ablation-heads.tex").is_file()
