import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace

import pytest
from matplotlib.transforms import Bbox

from hitsr.report.budget import budget_of
from hitsr.report.costs import COUNTED, LIGHTWEIGHT_PARAMS_K, TIMED, Point, quotes
from hitsr.report.scatter import place, scatter
from hitsr.report.sections.cost import (
    cost_heading,
    cost_section,
    cost_setting,
    measured_panels,
    quoted_panels,
)
from hitsr.specs.config import runs

FULL_SIZE = {"train__changes": {}}


def section_of(folder):
    evidence = folder.evidence()
    return cost_section(evidence, budget_of(evidence))


def panels_of(folder):
    evidence = folder.evidence()
    budget = budget_of(evidence)
    setting = cost_setting(evidence, budget)
    return measured_panels(evidence, budget, setting), quoted_panels(evidence, setting)


def test_reduced_networks_stand_over_costs_of_their_own(finished):
    measured, _ = panels_of(finished)
    assert [panel.name for panel in measured] == ["cost-parameters", "cost-seconds"]
    assert "at 200" in measured[0].description  # K, as trained: not the 772 of published size
    assert "reduced in size" in section_of(finished).parts["caption"].conditions


def test_networks_of_published_size_stand_over_what_was_measured_of_them(configured):
    measured, _ = panels_of(configured(**FULL_SIZE).everything())
    assert [panel.name for panel in measured] == [
        "cost-flops", "cost-parameters", "cost-latency-cpu-fused", "cost-memory-cpu-fused",
    ]  # fmt: skip
    assert "HiT-SIR 31.50 at 209.9" in measured[0].description
    assert "HiT-SIR 31.50 at 400" in measured[2].description


def test_other_pictures_keep_quoted_points_apart(configured):
    measured, quoted = panels_of(configured(**FULL_SIZE).everything())
    assert not any("quoted" in panel.description for panel in measured)
    assert [panel.name for panel in quoted] == [
        "quoted-flops", "quoted-parameters", "quoted-latency", "quoted-memory",
    ]  # fmt: skip


def test_on_the_papers_sets_quoted_counts_join_and_times_stay_apart(configured):
    measured, quoted = panels_of(configured(data__test=["Urban100"], **FULL_SIZE).everything())
    assert ["quoted" in panel.description for panel in measured] == [True, True, False, False]
    assert "SwinIR-NG 32.78 at 274.1, quoted" in measured[0].description
    assert [panel.name for panel in quoted] == ["quoted-latency", "quoted-memory"]


def test_costs_are_measured_of_the_very_networks_that_were_scored(configured):
    measured, _ = panels_of(configured(**FULL_SIZE).everything())
    names = ["cost-flops", "cost-parameters", "cost-latency-cpu-fused", "cost-memory-cpu-fused"]
    assert [panel.name for panel in measured] == names


def test_nothing_scored_leaves_the_quoted_points(folder):
    folder.complexity("hit_sir")
    measured, quoted = panels_of(folder)
    assert measured == []
    assert quoted


@pytest.mark.parametrize(
    ("psnr_db", "heading"),
    [
        ({"bicubic": 30, "swinir_light": 31, "hit_sir": 31.1}, "Conversion moves every network up"),
        ({"bicubic": 30, "swinir_light": 31, "hit_sir": 31.004}, "Performance and cost"),
    ],
)
def test_up_and_to_the_left_is_said_where_every_pair_shows_it(configured, psnr_db, heading):
    evidence = configured(**FULL_SIZE).everything(psnr_db).evidence()
    assert cost_heading(evidence, budget_of(evidence)).startswith(heading)


@pytest.mark.parametrize("quantity", COUNTED)
def test_a_network_is_quoted_once_under_whatever_spelling(evidence, quantity):
    names = [point.method for point in quotes(evidence, "Urban100", 2, quantity)]
    assert {"SwinIR-L", "Omni-SR", "ESC-lt", "ESC"} <= set(names)
    assert not {"SwinIR-lt", "OmniSR", "RCAN", "HiT-SRF-DF2K"} & set(names)
    assert len(names) == len(set(names))


def test_times_are_quoted_of_one_size_of_network(evidence):
    names = [point.method for point in quotes(evidence, "Urban100", 2, "latency_ms")]
    assert set(TIMED) == {"latency_ms", "memory_mb"}
    assert "SwinIR-lt" in names
    sizes = {row.method: row.params_k for row in evidence.published.successors}
    assert max(sizes[name] for name in names) <= LIGHTWEIGHT_PARAMS_K


def test_a_misprint_that_a_claim_names_does_not_stretch_the_axis(evidence):
    def points(claims):
        return quotes(replace(evidence, claims=claims), "Urban100", 4, "flops")

    shown = points(evidence.claims)
    assert "GASSL-B" not in [point.method for point in shown]
    assert max(point.psnr_db for point in shown) < 28
    # It is there: without the claim, 36.16 for 26.16 would be drawn.
    assert ("GASSL-B", 36.16) in [(point.method, point.psnr_db) for point in points(())]
    drawn = ElementTree.fromstring(scatter("cost", "FLOPs", "G", [], shown).svg)
    texts = [node.text for node in drawn.iter("{http://www.w3.org/2000/svg}text")]
    ticks = [float(text) for text in texts if re.fullmatch(r"2\d\.\d|3\d\.\d", text or "")]
    assert ticks
    assert max(ticks) < 28


def test_the_misprint_is_on_no_panel_of_the_page(configured):
    folder = configured(
        networks=["hit_srf"], train=None, weights={"root": "weights", "scales": [4]},
        data__train=None, data__validation=None, data__test=["Urban100"], efficiency__scales=[4],
    )  # fmt: skip
    folder.complexity("hit_srf", 866, 58.0, scale=4)
    folder.quality("hit_srf-x4", "Urban100", (26.80,), pictures=("one",))
    measured, quoted = panels_of(folder)
    assert "HiT-SRF 26.80 at 58" in measured[0].description
    assert not any("GASSL-B" in panel.description for panel in (*measured, *quoted))


def test_names_never_touch_each_other():
    taken: list[Bbox] = []
    for x, y in [(50, 50), (52, 51), (54, 49), (120, 50), (51, 52)]:
        label = place(x, y, 40, taken, limit=200)
        if label is not None:
            taken.append(label)
    assert len(taken) == 3  # in so small a space
    assert not any(a.overlaps(b) for i, a in enumerate(taken) for b in taken[:i])
    assert all(label.x0 >= 0 and label.x1 <= 200 for label in taken)


def test_every_measured_network_is_named_even_in_a_crowd():
    crowd = [Point(f"method {i}", 100 + i / 10, 30 + i / 100) for i in range(30)]
    points = [
        Point("swinir_light", 101, 30.1, 0.02),
        Point("hit_sir", 101, 30.1, None),
    ]
    svg = scatter("cost", "FLOPs", "G", points, crowd).svg
    assert "SwinIR-L" in svg
    assert "HiT-SIR" in svg


@pytest.mark.parametrize("seeds", [[1], [1, 2, 3]])
def test_seeds_give_whiskers_and_one_seed_gives_none(configured, seeds):
    folder = configured(train__seeds=seeds, **FULL_SIZE)
    for network in folder.config.networks:
        folder.complexity(network)
    for shift, name in enumerate(runs(folder.config)):
        folder.quality(name, "test", 31 + shift / 10)
    conditions = section_of(folder).parts["caption"].conditions
    assert ("95 % intervals over seeds" in conditions) == (len(seeds) > 1)
    halves = [folder.evidence().level("psnr_db", n, scale=2).half for n in folder.config.networks]
    assert all((half is not None) == (len(seeds) > 1) for half in halves)
