import math

import pytest

from hitsr.report.budget import budget_of
from hitsr.report.facts import HERE, QUANTITIES, Fact, Facts
from hitsr.report.names import Load


def test_every_quantity_of_every_record_and_printed_row_is_a_row(measured):
    facts = measured.evidence().facts
    assert len(facts.frame) == len(facts.rows)
    assert list(facts.frame.columns) == list(Fact._fields)
    assert set(facts.frame.speaker) == {"here", "paper", "successors"}
    found = set(facts.frame[facts.frame.speaker == HERE].quantity)
    # `growth_` and `_seconds` name what a quantity is drawn over.
    stems = {name.removeprefix("growth_").removesuffix("_seconds") for name in found}
    assert set(QUANTITIES) - {"growth_time"} <= found | stems


def test_numbers_are_in_the_units_of_their_quantity(measured):
    facts = measured.evidence().facts
    assert facts.value("params", "hit_sir", scale=2) == 772.064  # K
    assert facts.value("flops", "hit_sir", scale=2) == 209.89  # G
    assert facts.value("memory_mb", "hit_sir") == 500  # MB
    assert facts.value("information_area", "hit_sir") == 25  # per cent
    rate = facts.value("pictures_per_second", "hit_sir", load=Load(batch=4))
    assert rate == pytest.approx(4.4, 0.01)
    assert facts.value("params", "hit_sir", speaker="paper", scale=2) == 772


def test_growth_in_a_window_is_one_more_than_in_a_picture(configured):
    folder = configured(scaling={"samples": 2})
    folder.scaling("hit_sir", "window", 0.2)
    folder.scaling("hit_sir", "picture", 1.0)
    (exponent,) = folder.evidence().facts.find("flops_exponent")
    assert exponent.value == pytest.approx(1.2, abs=1e-3)
    laws = {row.over: row.law.exponent for row in folder.evidence().facts.find("growth_flops")}
    assert laws == pytest.approx({"window": 0.2, "picture": 1.0}, abs=1e-3)


def test_times_over_windows_are_per_pixel(configured):
    folder = configured(scaling={"samples": 2})
    folder.scaling_time("hit_sir", 0.5, 1.0)
    window, picture = folder.evidence().facts.find("growth_time")
    assert window.samples[0] == pytest.approx(9.5 * 8 * 1000 / 64**2)  # µs
    assert picture.samples[0] == pytest.approx(9.5 * 64)  # ms


def test_what_varies_with_a_seed_says_which(measured):
    facts = measured.evidence().facts
    assert facts.distinct("seed", "psnr_db", network="hit_sir") == [1, 2]
    assert facts.distinct("seed", "psnr_db", network="bicubic") == [None]
    assert facts.distinct("seed", "params") == [None]
    assert facts.distinct("subject", "diffusion_index", network="hit_sir") == [
        "hit_sir-x2-s1", "hit_sir-x2-s2",
    ]  # fmt: skip


def test_scores_stand_in_the_order_of_their_pictures(full):
    full.quality("bicubic-x2", "test", (31.0, 30.0), pictures=("cat", "brick"))
    (row,) = full.evidence().facts.find("psnr_db", "bicubic")
    assert (row.items, row.samples) == (("brick", "cat"), (30.0, 31.0))


def test_a_picture_equal_to_its_hr_is_infinite(evidence):
    assert evidence.facts.value("psnr_db", "hr") == math.inf


def test_a_hindrance_goes_with_every_number_of_a_training(measured):
    facts = measured.evidence().facts
    for quantity in ("psnr_db", "ssim", "validation_psnr_db", "diffusion_index"):
        (reason,) = facts.distinct("hindrance", quantity, network="hit_sir")
        assert "100 of 500\u202f000 iterations" in reason
    assert facts.distinct("hindrance", "psnr_db", network="bicubic") == [""]
    assert facts.distinct("hindrance", "params") == [""]


def test_a_logged_quantity_has_steps_and_seconds(evidence):
    (row,) = evidence.facts.find("validation_psnr_db", "hit_sir")
    (clock,) = evidence.facts.find("validation_psnr_db_seconds", "hit_sir")
    assert row.items == clock.items == (25, 50, 75, 100)
    assert clock.samples == (2.5, 5, 7.5, 10)


def test_printed_costs_are_one_fact_and_carry_their_source(evidence):
    (row,) = evidence.facts.find("flops", "hit_sir", speaker="paper", scale=2)
    assert row.value == 209.9
    assert "Table 2" in row.source
    # Run times are printed at x2 alone.
    assert evidence.facts.distinct("scale", "latency_ms", speaker="paper") == [2]


def test_an_own_network_stands_with_what_runs_by_default(configured):
    own = configured(own={"mine": {"source": "mine.py:build", "scales": [2]}})
    own.everything()
    name = "mine-x2.cpu.own"
    record = own.output("latency", "hit_sir-x2.cpu.fused").read_text()
    job = own.job("latency", name)
    own.output("latency", name).write_text(record.replace("hit_sir", "mine"))
    own.edit("latency", name, formulation=None, job_hash=job.hash)
    (row,) = own.evidence().facts.find("latency_ms", "mine")
    assert row.setup == ("cpu", "fused")


def test_find_selects_by_any_field_and_by_speaker(evidence):
    run = "hit_sir-x2-s1"
    assert [row.subject for row in evidence.facts.find("psnr_db", "hit_sir")] == [run]
    assert evidence.facts.find("psnr_db", "hit_sir", scale=3) == []
    assert evidence.facts.value("psnr_db", "hit_sir", scale=3) is None
    quoted = evidence.facts.find("psnr_db", "hit_sir", speaker="paper", dataset="Set5")
    assert [row.value for row in quoted if row.scale == 2] == [38.22]


def test_a_value_is_the_mean_of_its_samples():
    assert Fact("psnr_db", "mine", 2, (1.0, 2.0, 6.0)).value == 3
    assert Facts([]).find("psnr_db") == []


@pytest.mark.parametrize("use", ["trained", "scored"])
def test_numbers_of_other_lr_pictures_are_not_judged(full, use):
    before = full.evidence()
    name = full.config.data.train if use == "trained" else full.config.data.test[0]
    for job in full.plan.jobs:
        if job.kind == "prepare" and job.dataset == name:
            full.prepared(job, degradation="given-1a2b3c4d")
    words = f"{use} on other low-resolution pictures than bicubic ones"
    after = full.evidence()
    for quantity in ("psnr_db", "ssim"):
        rows = after.facts.find(quantity, "hit_sir", dataset=full.config.data.test[0])
        assert rows
        assert all(words in row.hindrance for row in rows)
    (bicubic,) = after.facts.find("psnr_db", "bicubic", dataset=full.config.data.test[0])
    assert (words in bicubic.hindrance) == (use == "scored")
    assert not any(words in row.hindrance for row in before.facts.rows)
    assert (words in budget_of(after).hindrance) == (use == "trained")
