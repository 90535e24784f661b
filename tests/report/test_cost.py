import pytest

from hitsr.report.budget import budget_of
from hitsr.report.costs import COUNTED, LIGHTWEIGHT_PARAMS_K, TIMED, measured_costs, quotes
from hitsr.report.published import read_published
from hitsr.report.scatter import Axis, Label, Measured, Quoted, place, scatter
from hitsr.report.sections.cost import (
    cost_heading,
    cost_section,
    cost_setting,
    measured_panels,
    quoted_panels,
)
from hitsr.specs.config import runs

FULL_SIZE = {"train__patch": {}}


def section_of(folder):
    evidence = folder.evidence()
    return cost_section(evidence, budget_of(evidence))


def panels_of(folder):
    evidence = folder.evidence()
    budget = budget_of(evidence)
    setting = cost_setting(evidence, budget)
    return measured_panels(evidence, budget, setting), quoted_panels(evidence, setting)


def test_reduced_networks_stand_over_costs_of_their_own(full):
    measured, _ = panels_of(full)
    assert [panel.name for panel in measured] == ["cost-parameters", "cost-seconds"]
    assert "at 200" in measured[0].description  # K, as trained: not the 772 of published size
    assert "reduced in size" in section_of(full).parts["caption"].conditions


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


def test_a_network_without_record_has_no_cost(full):
    evidence = full.evidence()
    for cost in measured_costs(evidence, budget_of(evidence), 2):
        assert cost.of("hit_srf") is None
        assert cost.of("hit_sir") is not None


def test_a_network_is_quoted_once_under_whatever_spelling(reports):
    published = read_published(reports / "published")
    for cost in COUNTED:
        names = [point.method for point in quotes(published, "Urban100", 2, cost)]
        assert {"SwinIR-L", "Omni-SR", "ESC-lt", "ESC"} <= set(names)
        assert not {"SwinIR-lt", "OmniSR", "RCAN", "HiT-SRF-DF2K"} & set(names)
        assert len(names) == len(set(names))


def test_times_are_quoted_of_one_size_of_network(reports):
    published = read_published(reports / "published")
    names = [point.method for point in quotes(published, "Urban100", 2, TIMED[0])]
    assert "SwinIR-lt" in names
    sizes = {row.method: row.params_k for row in published.successors}
    assert max(sizes[name] for name in names) <= LIGHTWEIGHT_PARAMS_K


def test_names_never_touch_each_other():
    taken: list[Label] = []
    for x, y in [(50, 50), (52, 51), (54, 49), (120, 50), (51, 52)]:
        label = place(x, y, 40, taken, limit=200)
        if label is not None:
            taken.append(label)
    assert len(taken) == 3  # in so small a space
    assert not any(a.touches(b) for i, a in enumerate(taken) for b in taken[:i])
    assert all(label.left >= 0 and label.left + 40 <= 200 for label in taken)


def test_every_measured_network_is_named_even_in_a_crowd():
    crowd = [Quoted(f"method {i}", 100 + i / 10, 30 + i / 100) for i in range(30)]
    points = [Measured("swinir_light", 101, 30.1, 0.02), Measured("hit_sir", 101, 30.1, None)]
    svg = scatter(Axis("cost", "FLOPs", "G"), points, crowd).svg
    assert "SwinIR-L" in svg
    assert "HiT-SIR" in svg


def test_seeds_give_whiskers(configured):
    folder = configured(train__seeds=[1, 2, 3], **FULL_SIZE)
    for network in folder.config.networks:
        folder.complexity(network)
    for seed, (name, run) in enumerate(runs(folder.config).items()):
        folder.quality(name, "test", 31 + seed / 10, run)
    assert "95 % intervals over seeds" in section_of(folder).parts["caption"].conditions
