import numpy as np
import pytest

from hitsr.base.errors import DataError
from hitsr.records import LeftOut
from hitsr.report.budget import budget_of
from hitsr.report.maps import DECADES, MappedSet, coloured, mapped_sets, share, sheet
from hitsr.report.sections.attribution import (
    attribution_finding,
    attribution_heading,
    attribution_section,
    attribution_table,
    paired_indices,
)
from hitsr.specs.config import runs

HERE = MappedSet("test", 2)


@pytest.fixture
def mapped(configured):
    """Evidence of both networks' maps: by network, diffusion indices of each seed's pictures."""

    def make(**indices):
        seeds = list(range(1, 1 + len(next(iter(indices.values())))))
        networks = list(indices) if len(indices) > 2 else ["swinir_light", "hit_sir"]
        maps = {"sets": ["test"], "scales": [2]}
        folder = configured(networks=networks, train__seeds=seeds, lam=maps)
        for run in runs(folder.config).values():
            if run.network.name in indices:
                folder.lam(run, "test", *indices[run.network.name][run.seed - 1])
        return folder.evidence()

    return make


def test_conversion_and_baseline_are_compared_on_the_same_windows_and_seeds(mapped):
    # From the same leads, the section once said ±6.35 and the ledger ±0.57.
    leads = [(2.0, 3.0), (2.1, 2.9), (1.9, 3.1)]
    evidence = mapped(swinir_light=[(9, 14)] * 3, hit_sir=[(9 + a, 14 + b) for a, b in leads])
    (pair,) = paired_indices(evidence, HERE).values()
    assert (pair.mean, pair.better, pair.pictures) == (pytest.approx(2.5), 2, 2)
    row = attribution_table(evidence, [HERE]).groups[0].rows[1]
    assert (row.cells[1].text, row.cells[1].spread) == ("+2.50", "±6.35")
    assert row.cells[2].text == "2 of 2"


WIDER = {"swinir_light": [(9.0, 14.0), (9.0, 14.0)], "hit_sir": [(19.0, 24.1), (19.0, 24.0)]}


@pytest.mark.parametrize(
    ("swapped", "word", "more"), [(0, "wider", "more"), (1, "narrower", "less")]
)
def test_a_wider_or_narrower_part_is_found_where_the_interval_says_so(mapped, swapped, word, more):
    first, second = (WIDER.values(), reversed(WIDER.values()))[swapped]
    evidence = mapped(swinir_light=first, hit_sir=second)
    assert attribution_heading(evidence) == f"Conversions draw on a {word} part of the picture"
    assert attribution_finding(evidence, HERE).startswith(
        f"HiT-SIR draws on {more} of the picture than SwinIR-Light: mean diffusion index "
    )


@pytest.mark.parametrize(
    "indices",
    [
        {"swinir_light": [(9.0, 14.0)] * 2, "hit_sir": [(19.0, 13.0)] * 2},
        {name: found[:1] for name, found in WIDER.items()},  # one seed: another may differ
    ],
)
def test_what_no_interval_decides_is_no_finding(mapped, indices):
    evidence = mapped(**indices)
    assert attribution_heading(evidence) == "What in the picture each network draws on"
    assert "no interval over seeds and pictures decides" in attribution_finding(evidence, HERE)


@pytest.mark.parametrize(
    ("higher", "words"),
    [
        (0, "Neither conversion has a higher mean diffusion index than its baseline"),
        (1, "One of two conversions has a higher mean diffusion index than its baseline"),
        (2, "Both conversions have a higher mean diffusion index than their baselines"),
    ],
)
def test_several_pairs_are_counted(mapped, higher, words):
    base = [(9.0, 14.0)] * 2
    wider, narrower = [(10.0, 15.5)] * 2, [(8.0, 12.5)] * 2
    sir, sng = (wider if pair < higher else narrower for pair in range(2))
    evidence = mapped(swinir_light=base, hit_sir=sir, swinir_ng=base, hit_sng=sng)
    assert attribution_finding(evidence, HERE).startswith(words)


def test_one_seed_shows_what_its_interval_is_over(mapped):
    evidence = mapped(**{name: found[:1] for name, found in WIDER.items()})
    section = attribution_section(evidence, budget_of(evidence))
    assert "differences to the baseline ± half that over pictures alone, one seed" in (
        section.tables[0].caption.conditions
    )


def test_rows_hold_means_over_windows(mapped):
    evidence = mapped(**WIDER)
    assert mapped_sets(evidence) == [HERE]
    table = attribution_table(evidence, [HERE])
    baseline, conversion = table.groups[0].rows
    assert table.groups[0].title == "“test”, ×2"
    assert [cell.text for cell in baseline.cells[:3]] == ["11.50", "baseline", "baseline"]
    assert [cell.text for cell in conversion.cells[:3]] == ["21.52", "+10.03", "2 of 2"]
    assert [cell.text for cell in conversion.cells[3:]] == ["19.00", "25.0", "4.0", "0.50"]


def test_a_network_that_was_not_mapped_is_not_run(mapped):
    evidence = mapped(hit_sir=[(9.0, 14.0)])
    rows = attribution_table(evidence, [HERE]).groups[0].rows
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


def test_all_maps_of_a_sheet_share_one_scale(mapped):
    evidence = mapped(**WIDER)
    shown = sheet(evidence, HERE)
    assert [row.picture for row in shown.rows] == ["brick", "cat"]
    assert [cell.network for cell in shown.rows[0].maps] == ["swinir_light", "hit_sir"]
    files = (evidence.plan.layout.results / "lam").glob("*/*.npy")
    assert shown.largest == pytest.approx(max(share(np.load(file)).max() for file in files))


def test_a_missing_map_is_named(mapped):
    evidence = mapped(**WIDER)
    (evidence.plan.layout.results / "lam/hit_sir-x2-s1.test/cat.4-4-16.npy").unlink()
    with pytest.raises(DataError, match="cat"):
        sheet(evidence, HERE)


def test_nothing_mapped_leaves_the_section_without_table(evidence):
    section = attribution_section(evidence, budget_of(evidence))
    assert section.parts == {"sheets": [], "view": None}
    assert section.tables == []


def test_pictures_left_out_are_noted_once_with_their_reason(configured):
    folder = configured(lam={"sets": ["test"], "scales": [2]})
    flat = LeftOut(picture="sky", reason="blurring changes nothing")
    for run in runs(folder.config).values():
        folder.lam(run, "test", 9.0, left_out=(flat,))
    evidence = folder.evidence()
    view = attribution_section(evidence, budget_of(evidence)).parts["view"]
    assert view.notes[0] == "Left out of “test”, ×2: sky (blurring changes nothing)."
    assert sum("sky" in note for note in view.notes) == 1
