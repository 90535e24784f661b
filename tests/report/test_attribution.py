import numpy as np
import pytest

from hitsr.base.errors import DataError
from hitsr.report.attributed import Place, paired_indices, places
from hitsr.report.budget import budget_of
from hitsr.report.maps import DECADES, coloured, share, sheet
from hitsr.report.sections.attribution import (
    attribution_finding,
    attribution_heading,
    attribution_section,
    attribution_table,
)
from hitsr.specs.config import runs

HERE = Place("test", 2)


def mapped(folder, indices):
    """Both networks mapped, each with its diffusion indices, picture by picture."""
    for run in runs(folder.config).values():
        folder.lam(run, "test", *indices[run.network.name])
    return folder.evidence()


def test_a_conversion_is_compared_with_its_baseline_picture_by_picture(full):
    (pair,) = paired_indices(mapped(full, {"swinir_light": (9, 14), "hit_sir": (20, 22)}), HERE)
    assert (pair.baseline, pair.conversion) == (11.5, 21.0)
    assert pair.difference.value == pytest.approx(np.mean([11, 8]))
    assert (pair.higher, pair.pictures) == (2, 2)


def test_a_wider_part_is_found_only_where_the_interval_says_so(full):
    evidence = mapped(full, {"swinir_light": (9.0, 14.0), "hit_sir": (19.0, 24.1)})
    assert attribution_heading(evidence) == "Conversions draw on a wider part of the picture"
    assert attribution_finding(evidence, HERE) == (
        "HiT-SIR draws on more of the picture than SwinIR-Light: mean diffusion index 21.55 "
        "against 11.50."
    )


def test_what_pictures_contradict_is_no_finding(full):
    evidence = mapped(full, {"swinir_light": (9.0, 14.0), "hit_sir": (19.0, 13.0)})
    assert attribution_heading(evidence) == "What in the picture each network draws on"
    assert "within the spread of the pictures" in attribution_finding(evidence, HERE)


def test_a_narrower_part_is_said_as_well(full):
    evidence = mapped(full, {"swinir_light": (19.0, 24.1), "hit_sir": (9.0, 14.0)})
    assert attribution_heading(evidence) == "Conversions draw on a narrower part of the picture"
    assert "draws on less" in attribution_finding(evidence, HERE)


def test_rows_hold_means_and_the_difference(full):
    evidence = mapped(full, {"swinir_light": (9.0, 14.0), "hit_sir": (19.0, 24.1)})
    table = attribution_table(evidence, places(evidence))
    baseline, conversion = table.groups[0].rows
    assert table.groups[0].title == "“test”, ×2"
    assert [cell.text for cell in baseline.cells[:3]] == ["11.50", "baseline", "baseline"]
    assert [cell.text for cell in conversion.cells[:3]] == ["21.55", "+10.05", "2 of 2"]
    assert [cell.text for cell in conversion.cells[3:]] == ["19.00", "25.0", "4.0", "0.50"]


def test_a_network_that_was_not_mapped_is_not_run(full):
    full.lam(runs(full.config)["hit_sir-x2-s1"], "test", 9.0, 14.0)
    evidence = full.evidence()
    rows = attribution_table(evidence, places(evidence)).groups[0].rows
    assert {cell.text for cell in rows[0].cells} == {"not run", "baseline"}
    assert rows[1].cells[1].text == "not run"
    assert attribution_finding(evidence, HERE) == "Diffusion index of each network."


def test_shares_sum_to_one_whatever_their_signs():
    channels = np.random.default_rng(0).normal(size=(3, 5, 7))
    found = share(channels)
    assert found.sum() == pytest.approx(1)
    assert found == pytest.approx(share(-3 * channels))


def test_colours_run_from_white_to_dark_by_decades():
    values = np.array([[0, 10.0**-DECADES, 10.0 ** (-DECADES / 2), 1]])
    lightness = coloured(values).astype(int).sum(-1)[0]
    assert lightness[0] == lightness[1] == 3 * 255
    assert lightness[1] > lightness[2] > lightness[3]


def test_all_maps_of_a_sheet_share_one_scale(full):
    shown = sheet(mapped(full, {"swinir_light": (9, 14), "hit_sir": (20, 22)}), HERE)
    assert [row.picture for row in shown.rows] == ["brick", "cat"]
    assert [cell.network for cell in shown.rows[0].cells] == ["swinir_light", "hit_sir"]
    files = (full.path / "lam").glob("*/*.npy")
    assert shown.largest == pytest.approx(max(share(np.load(file)).max() for file in files))


def test_a_missing_map_is_named(full):
    evidence = mapped(full, {"swinir_light": (9, 14), "hit_sir": (20, 22)})
    (full.path / "lam/hit_sir-x2-s1.test/cat.4-4-16.npy").unlink()
    with pytest.raises(DataError, match="cat"):
        sheet(evidence, HERE)


def test_nothing_mapped_leaves_the_section_without_table(full):
    evidence = full.evidence()
    section = attribution_section(evidence, budget_of(evidence))
    assert section.parts == {"sheets": [], "view": None}
    assert section.tables == []
