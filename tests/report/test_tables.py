"""Declared columns filled with facts; what is not there says why."""

import math

import pytest

from hitsr.report.cells import NO_BASELINE, NO_SOURCE, NOT_RUN, UNPAIRED
from hitsr.report.facts import QUANTITIES
from hitsr.report.judging import printed_number
from hitsr.report.names import USUAL, Setup
from hitsr.report.tables import (
    Lines,
    Shelf,
    fill,
    measured,
    over_bicubic,
    printed,
    times_as_fast,
    to_print,
)

HERE = {"scale": 2, "dataset": "test"}


def cell(evidence, shown, network="swinir_light", **where):
    return shown.fill(evidence, network, {"scale": 2} | where)


def to_paper(evidence, quantity, network="swinir_light", **where):
    return cell(evidence, to_print(quantity, "difference"), network, **where)


# 910 K and 244.4 G are printed, with tolerances of 1 and 0.1.
@pytest.mark.parametrize(
    ("quantity", "value", "text", "mark"),
    [
        ("params", 910.152, "0", None),
        ("params", 910.6, "+1", None),
        ("params", 911.0, "+1", None),
        ("params", 911.4, "+1.4", "outside"),  # in K it would round to the tolerance
        ("params", 908.6, "−1.4", "outside"),
        ("params", 920.0, "+10", "outside"),
        ("flops", 244.37, "0.0", None),
        ("flops", 244.46, "+0.1", None),
        ("flops", 244.54, "+0.14", "outside"),
        ("flops", 270.0, "+25.6", "outside"),
    ],
)
def test_a_difference_to_print_is_marked_by_the_claims_verdict(folder, quantity, value, text, mark):
    folder.complexity(
        "swinir_light", **{f"{quantity}_{'k' if quantity == 'params' else 'g'}": value}
    )
    evidence = folder.evidence()
    found = to_paper(evidence, quantity)
    assert (found.text, found.mark) == (text, mark)
    verdict = printed_number(evidence, quantity, "swinir_light", 2).verdict
    assert (verdict == "not_reproduced") == (mark == "outside")


def test_a_difference_under_another_budget_is_shown_and_not_judged(configured):
    folder = configured(data__test=["Set5"])
    folder.quality("swinir_light-x2-s1", "Set5", 30.0)  # 30 and 31; 38.14 is printed
    found = to_paper(folder.evidence(), "psnr_db", dataset="Set5")
    assert (found.text, found.mark) == ("−7.64", "unjudged")
    assert found.reason.startswith("not judged: 100 of 500\u202f000 iterations, batch 2")


def test_a_count_at_another_output_size_says_so(configured):
    folder = configured(efficiency__output_size=[48, 32])
    folder.complexity("swinir_light", flops_g=0.5)
    folder.edit("complexity", "swinir_light-x2", output_size=[48, 32])
    found = to_paper(folder.evidence(), "flops")
    assert found.mark == "unjudged"
    assert "at an output of 48" in found.reason


def test_what_is_small_is_not_shown_as_nothing(folder):
    folder.latency("hit_sir", samples_ms=(0.31, 0.32, 0.33))
    where = {"scale": 2, "setup": Setup("cpu", "fused"), "load": USUAL}
    shown = measured("latency_ms", "latency", "ms").fill(folder.evidence(), "hit_sir", where)
    assert shown.text == "0.32"


def test_what_is_absent_says_why(folder):
    folder.complexity("swinir_light")
    evidence = folder.evidence()
    assert to_paper(evidence, "params", "hit_sir") == NOT_RUN
    assert to_paper(evidence, "params", "bicubic") == NOT_RUN
    assert cell(evidence, measured("flops", "here"), "hit_sir") == NOT_RUN
    assert cell(evidence, printed("params", "paper"), "bicubic") == NO_SOURCE
    assert cell(evidence, over_bicubic("psnr_db", "gain"), dataset="test") == NOT_RUN
    where = {"formulation": "fused"}
    assert cell(evidence, times_as_fast("fast", "cpu"), "hit_sir", **where) == NOT_RUN
    assert cell(evidence, times_as_fast("fast", "cpu"), "swinir_light", **where) == NO_BASELINE
    assert cell(evidence, times_as_fast("fast", "cpu"), "mine", **where) == UNPAIRED


def test_a_measured_number_without_a_printed_one_has_no_source(evidence):
    assert to_paper(evidence, "psnr_db", dataset="test") == NO_SOURCE


def test_a_printed_number_has_the_digits_of_its_quantity(evidence):
    assert cell(evidence, printed("flops", "paper")).text == "244.4"
    assert cell(evidence, printed("latency_ms", "paper", scale=2)).text == "1\u202f899"


def test_a_spread_is_over_seeds_or_over_pictures_or_left_out(configured):
    folder = configured(train__seeds=[1, 2])
    for seed in (1, 2):
        folder.quality(f"hit_sir-x2-s{seed}", "test", 30.0 + seed)
    evidence = folder.evidence()
    shown = {
        spread: cell(
            evidence, measured("psnr_db", "PSNR", spread=spread), "hit_sir", dataset="test"
        ).spread
        for spread in ("seeds", "items", "")
    }
    assert shown == {"seeds": "±6.35", "items": "±6.35", "": ""}
    one = measured("psnr_db", "PSNR", spread="seeds", digits=1)
    folder.output("quality", "hit_sir-x2-s2.test").unlink()
    found = cell(folder.evidence(), one, "hit_sir", dataset="test")
    assert (found.text, found.spread) == ("31.5", "")


def test_a_ratio_is_of_neighbours_with_half_their_interquartile_range(folder):
    folder.latency("swinir_light", samples_ms=(2.0, 9.0, 4.0), session="one")
    folder.latency("hit_sir", samples_ms=(1.0, 3.0, 4.0), session="one")
    found = cell(folder.evidence(), times_as_fast("fast", "cpu"), "hit_sir", formulation="fused")
    assert (found.text, found.spread) == ("2.0", "±0.5")  # medians alone would say 1.3


def test_a_gain_over_an_equal_picture_is_identical(full):
    full.quality("hit_sir-x2-s1", "test", None)
    found = cell(full.evidence(), over_bicubic("psnr_db", "gain"), "hit_sir", dataset="test")
    assert found.text == "identical"


def test_filling_lays_rows_of_groups_under_shelves(evidence):
    shelves = [
        Shelf((measured("params", "here"), printed("params", "paper")), "Parameters", "K"),
        Shelf((measured("flops", "here", "G"),)),
    ]
    table = fill(
        evidence, "costs", "Network", shelves, [Lines("×2", evidence.networks, {"scale": 2})]
    )
    assert [span.title for span in table.spans] == ["Parameters", ""]
    (group,) = table.groups
    assert [row.label for row in group.rows] == ["SwinIR-Light", "HiT-SIR"]
    assert [c.text for c in group.rows[1].cells] == ["772", "772", "209.9"]


def test_ranks_leave_hr_aside(evidence):
    shown = measured("psnr_db", "PSNR", is_ranked=True, dataset="test")
    methods = ["bicubic", *evidence.networks, "hr"]
    table = fill(evidence, "q", "Network", [Shelf((shown,))], [Lines("", methods, {"scale": 2})])
    ranks = [row.cells[0].rank for row in table.groups[0].rows]
    assert ranks == [None, "second", "best", None]
    assert table.groups[0].rows[0].label == "Bicubic, control"


def test_every_quantity_has_a_title_and_is_written_with_its_unit():
    assert all(quantity.title for quantity in QUANTITIES.values())
    assert QUANTITIES["psnr_db"].write(-0.04, plus=True) == "−0.04\u202fdB"
    assert QUANTITIES["ssim"].write(0.91234) == "0.9123"
    assert QUANTITIES["psnr_db"].write(math.inf) == "∞\u202fdB"
