import math
from statistics import median

import pytest

from hitsr.report import evidence as module
from hitsr.report.evidence import difference_of
from hitsr.report.facts import Fact
from hitsr.report.names import FAMILIES, USUAL, Setup
from hitsr.specs.config import runs

PAIR = ("hit_sir", "swinir_light")
HERE = {"scale": 2, "dataset": "test"}
FUSED = Setup("cpu", "fused")


def test_networks_are_pairs_and_then_ones_own(configured):
    own = {"mine": {"source": "mine.py:build", "scales": [2]}}
    evidence = configured(networks=["hit_srf", "hit_sir", "swinir_light"], own=own).evidence()
    assert evidence.networks == ["swinir_light", "hit_sir", "hit_srf", "mine"]
    assert [family.conversion for family in evidence.families] == ["hit_sir"]


def test_scores_of_seeds_are_averaged_with_their_interval(configured):
    folder = configured(train__seeds=[1, 2])
    for shift, name in enumerate(runs(folder.config)):
        folder.quality(name, "test", 30.0 + shift)
    evidence = folder.evidence()
    value, half = evidence.level("psnr_db", "hit_sir", **HERE)
    assert value == pytest.approx(33.0)  # the mean of 32, 33 and of 33, 34
    assert half == pytest.approx(12.706 / 2, rel=1e-3)  # two seeds, one apart
    over_pictures, _ = evidence.over_items("psnr_db", "hit_sir", **HERE)
    assert over_pictures == pytest.approx(value)
    assert evidence.over_bicubic("psnr_db", "hit_sir", **HERE) is None
    folder.quality("bicubic-x2", "test", 30.0)
    gain = folder.evidence().over_bicubic("psnr_db", "hit_sir", **HERE)
    assert gain.value == pytest.approx(2.5)


def test_one_seed_has_a_level_and_no_interval(evidence):
    assert evidence.level("psnr_db", "hit_sir", **HERE).half is None
    assert evidence.level("psnr_db", "hit_srf", **HERE) is None


def test_times_have_medians_and_half_their_interquartile_range(evidence):
    level = evidence.level("latency_ms", "hit_sir", scale=2, setup=FUSED, load=USUAL)
    assert level == (400.0, 2.0)  # of 398, 400 and 406


def test_an_estimate_is_made_once(finished, monkeypatch):
    made = []
    original = module.difference_of
    monkeypatch.setattr(module, "difference_of", lambda *a: made.append(1) or original(*a))
    evidence = finished.evidence()
    first = evidence.difference("psnr_db", *PAIR, **HERE)
    assert evidence.difference("psnr_db", *PAIR, dataset="test", scale=2) is first
    assert len(made) == 1
    evidence.difference("ssim", *PAIR, **HERE)
    assert len(made) == 2


def fact(seed: int | None, *samples: float) -> Fact:
    return Fact("psnr_db", "any", 2, samples, seed=seed)


def test_seeds_are_paired_by_their_names_in_any_order():
    first = [fact(1, 30, 33), fact(2, 40, 44)]
    second = [fact(2, 39, 43.1), fact(1, 29, 32)]
    found = difference_of(first, second)
    assert found.same_seeds
    assert found.mean == pytest.approx(0.975)
    assert found.interval[0] > 0  # without the 10 dB between seeds
    apart = difference_of(first, [fact(3, 39, 43.1), fact(1, 29, 32)])
    assert not apart.same_seeds
    assert apart.interval[0] < 0


def test_what_has_no_seed_is_fixed():
    found = difference_of([fact(1, 30, 33), fact(2, 31, 33)], [fact(None, 29, 32)])
    assert found.fixed == (False, True)
    assert found.interval is not None


# The ratio of medians is 4 / 3, the median of ratios of neighbours 2.
BEFORE_MS, AFTER_MS = (2.0, 9.0, 4.0), (1.0, 3.0, 4.0)


@pytest.mark.parametrize(("sessions", "ratio"), [(("one", "one"), 2), (("one", "two"), 4 / 3)])
def test_a_speedup_is_of_neighbours_where_all_took_turns(folder, sessions, ratio):
    folder.latency("swinir_light", samples_ms=BEFORE_MS, session=sessions[0])
    folder.latency("hit_sir", samples_ms=AFTER_MS, session=sessions[1])
    found = folder.evidence().speedup(FAMILIES[0], 2, FUSED)
    assert found.median == pytest.approx(ratio)
    assert found.lower <= found.median <= found.upper
    assert median(BEFORE_MS) / median(AFTER_MS) == pytest.approx(4 / 3)
    assert folder.evidence().speedup(FAMILIES[1], 2, FUSED) is None


def test_ends_are_the_widest_where_forwards_took_no_turns(folder):
    folder.latency("swinir_light", samples_ms=BEFORE_MS)
    folder.latency("hit_sir", samples_ms=AFTER_MS)
    found = folder.evidence().speedup(FAMILIES[0], 2, FUSED)
    assert (found.lower, found.upper) == pytest.approx((3 / 3.5, 6.5 / 2))


def test_a_formulation_gains_on_the_one_before_it_where_both_took_turns(configured):
    forms = ["released", "paper", "fused"]
    folder = configured(efficiency__latency={"scales": [2], "formulations": forms})

    def gain(formulation="fused"):
        found = folder.evidence().gain("hit_sir", 2, Setup("cpu", formulation))
        return found and found.median

    folder.latency("hit_sir", samples_ms=(6.0, 27.0, 12.0), formulation="released", session="one")
    folder.latency("hit_sir", samples_ms=AFTER_MS, session="one")
    assert gain() == 6
    folder.latency("hit_sir", samples_ms=BEFORE_MS, formulation="paper", session="one")
    assert (gain("released"), gain("paper"), gain()) == (None, 3, 2)
    folder.latency("hit_sir", samples_ms=AFTER_MS, session="another")
    assert gain() is None
    folder.latency("hit_sir", samples_ms=AFTER_MS)
    assert gain() is None


def test_a_curve_spans_its_seeds_at_common_steps(configured):
    folder = configured(train__seeds=[1, 2])
    logs = {1: {25: 1.0, 50: 2.0, 75: None}, 2: {25: 3.0, 50: 4.0, 75: 5.0}}
    for run in runs(folder.config).values():
        folder.training(run)
        folder.edit("train", run.name, log_sha256=None)  # its log is another
        path = folder.path / "weights" / run.name / "log.jsonl"
        path.write_text(
            "".join(
                f'{{"step": {step}, "loss": 1, "learning_rate": 1, "seconds": {step * run.seed},'
                f' "validation_psnr_db": {"null" if psnr is None else psnr}}}\n'
                for step, psnr in logs[run.seed].items()
            )
        )
    line = folder.evidence().curve("validation_psnr_db", "hit_sir", 2)
    assert (line.steps, line.seconds) == ((25, 50), (37.5, 75))
    assert (line.mean, line.low, line.high) == ((2, 3), (1, 2), (3, 4))
    assert [line.reached_at(target) for target in (0, 2, 2.5, 9)] == [0, 0, 1, None]


def test_no_log_gives_no_curve_and_no_lead(folder):
    evidence = folder.evidence()
    assert evidence.curve("loss", "hit_sir", 2) is None
    assert evidence.lead(FAMILIES[0], 2) == []


def test_a_lead_is_of_one_seed_against_itself(configured):
    folder = configured(train__seeds=[1, 2])
    for run in runs(folder.config).values():
        folder.training(run, gain=run.seed * (2.0 if run.network.name == "hit_sir" else 1.0))
    assert folder.evidence().lead(FAMILIES[0], 2) == [
        pytest.approx([1.0] * 4), pytest.approx([2.0] * 4),
    ]  # fmt: skip


def test_a_gain_over_bicubic_is_infinite_where_a_picture_is_perfect(full):
    full.quality("hit_sir-x2-s1", "test", None)
    assert full.evidence().over_bicubic("psnr_db", "hit_sir", **HERE).value == math.inf
