import pytest

from hitsr.report.budget import budget_of
from hitsr.report.grey import grey_notes
from hitsr.report.sections.quality import (
    behind_bicubic,
    paired_sentences,
    picture_tables,
    quality_heading,
    quality_section,
    quality_sentence,
    quality_table,
)
from hitsr.specs.config import runs

RELEASED = {
    "train": None, "weights": {"root": "weights", "scales": [2]}, "data__test": ["Set5"],
    "data__train": None, "data__validation": None,
}  # fmt: skip


def rows_of(folder):
    """Cells by name of the row; quoted rows by (name,)."""
    return {
        (row.label,) if row.role == "quoted" else row.label: row.cells
        for group in quality_table(folder.evidence()).groups
        for row in group.rows
    }


def test_published_methods_stand_below_in_the_papers_order(measured):
    rows = rows_of(measured)
    quoted = [label[0] for label in rows if isinstance(label, tuple)]
    assert quoted[:3] == ["EDSR-B", "CARN", "IMDN"]
    assert quoted[-1] == "HiT-SRF"
    # Nothing of “test” is printed; then Set5.
    assert [cell.text for cell in rows["EDSR-B",]] == 4 * ["no source"] + [
        "37.99", "quoted", "0.9604", "quoted",
    ]  # fmt: skip


def test_quoted_and_measured_are_ranked_apart(measured):
    rows = rows_of(measured)
    assert rows["HiT-SIR"][4].rank == "best"
    assert rows["SwinIR-Light"][4].rank == "second"
    assert rows["HiT-SIR",][4].text == "38.22"
    best = {label for label, cells in rows.items() if cells[4].rank == "best"}
    assert best == {"HiT-SIR", ("HiT-SRF",)}


def test_a_set_that_the_paper_has_not_brings_no_quoted_rows(finished):
    assert not any(isinstance(label, tuple) for label in rows_of(finished))


def test_marks_follow_what_the_caption_says(configured, papers):
    released = configured(**RELEASED)
    released.quality("hit_sir-x2", "Set5", 37.731, ssim=0.9615)  # 38.23; 38.22, 0.9613 printed
    assert [(cell.text, cell.mark) for cell in rows_of(released)["HiT-SIR"][1::2]] == [
        ("+0.01", "outside"), ("+0.0002", "outside"),
    ]  # fmt: skip
    assert "than 0.005 dB and 0.0001 of SSIM" in conditions(released)
    trained = papers()
    trained.quality("hit_sir-x2-s1", "Set5", 37.60, ssim=0.95)  # 0.12 below
    assert [cell.mark for cell in rows_of(trained)["HiT-SIR"][1::2]] == ["outside", "unjudged"]
    assert "than 0.05 dB." in conditions(trained)
    small = configured(data__test=["Set5"])
    small.quality("hit_sir-x2-s1", "Set5", 37.60)
    assert rows_of(small)["HiT-SIR"][1].mark == "unjudged"
    assert "Marked red" not in conditions(small)


def conditions(folder) -> str:
    evidence = folder.evidence()
    return quality_section(evidence, budget_of(evidence)).tables[0].caption.conditions


def notes(folder) -> list[str]:
    evidence = folder.evidence()
    return quality_section(evidence, budget_of(evidence)).tables[0].notes


def test_seeds_have_intervals_and_one_seed_has_none(finished, measured):
    assert rows_of(measured)["HiT-SIR"][0].spread == "±0.00"
    assert "2 seeds, ± half the 95 % interval over them" in conditions(measured)
    assert {cell.spread for cells in rows_of(finished).values() for cell in cells} == {""}
    assert "one seed" in conditions(finished)
    pictures = picture_tables(finished.evidence())[0].table.groups[0].rows
    assert {cell.spread for row in pictures for cell in row.cells} == {""}


def test_pairs_are_said_with_what_one_seed_leaves_open(finished, measured):
    (alone,) = paired_sentences(finished.evidence())
    assert alone.startswith("HiT-SIR and SwinIR-Light on “test” ×2: better on all 2 pictures")
    assert "what another seed would give is not known" in alone
    assert "95" not in alone
    assert len(paired_sentences(measured.evidence())) == 2


def test_the_other_mean_of_grey_pictures_is_said(full):
    full.quality("hit_sir-x2-s1", "test", 31.0, grey_db=30.0)  # 31 and 32 as RGB
    assert grey_notes(full.evidence()) == [
        "“brick” of “test” ×2 is grey at source. The table scores the luma of RGB, as of every "
        "other picture; on grey samples as they are, the mean PSNR in dB is Bicubic 30.50 instead "
        "of 30.50, SwinIR-Light 31.00 instead of 31.00 and HiT-SIR 31.00 instead of 31.50."
    ]


def test_pictures_in_colour_need_no_note(evidence):
    assert grey_notes(evidence) == []


@pytest.mark.parametrize(
    ("psnr_db", "heading", "behind"),
    [
        ((30.5, 31.0), "Both networks beat bicubic on “test”", []),
        # A gain that prints as zero is none.
        ((30.004, 31.0), "Not every network beats bicubic: one of two on “test”", ["SwinIR-Light"]),
        ((29.0, 29.5), "No network beats bicubic on “test”",
         ["SwinIR-Light", "HiT-SIR"]),
    ],
)  # fmt: skip
def test_the_heading_counts_who_beats_bicubic(folder, psnr_db, heading, behind):
    assert quality_heading(folder.evidence()) == "Quality on the test pictures"
    folder.quality("bicubic-x2", "test", 30.0)
    for name, each in zip(runs(folder.config), psnr_db):
        folder.quality(name, "test", each)
    assert quality_heading(folder.evidence()) == heading
    names = [f"{name} on “test” ×2" for name in behind]
    assert behind_bicubic(folder.evidence()) == names
    (note, *_) = notes(folder)
    assert note.startswith("Not ahead of bicubic within this budget: ") == bool(names)
    assert all(name in note for name in names)


@pytest.mark.parametrize(
    ("psnr_db", "heading", "said"),
    [
        (31.0, "HiT-SIR beats bicubic on “test”", "HiT-SIR is above bicubic (+1.00\u202fdB)"),
        (29.0, "HiT-SIR does not beat bicubic on “test”", "HiT-SIR is not above bicubic"),
    ],
)
def test_one_network_is_called_by_its_name(configured, psnr_db, heading, said):
    folder = configured(networks=["hit_sir"])
    folder.quality("bicubic-x2", "test", 30.0)
    folder.quality("hit_sir-x2-s1", "test", psnr_db)
    evidence = folder.evidence()
    assert quality_heading(evidence) == heading
    assert said in quality_sentence(evidence)
    assert "the one network" not in quality_sentence(evidence) + heading


def test_an_own_network_is_called_by_its_name_too(configured):
    own = {"mine": {"source": "mine.py:build", "scales": [2]}}
    folder = configured(networks=[], own=own, train=None)
    folder.quality("bicubic-x2", "test", 30.0)
    folder.quality("mine-x2", "test", 31.0)
    evidence = folder.evidence()
    assert quality_heading(evidence) == "mine beats bicubic on “test”"
