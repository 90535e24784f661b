import pytest

from hitsr.records import LogLine
from hitsr.report.measures import aligned, reached_at, score, speedup
from hitsr.report.names import FAMILIES
from hitsr.specs.config import runs


def log(*values):
    return [
        LogLine(step=i + 1, loss=1.0, learning_rate=1e-3, seconds=i, validation_psnr_db=value)
        for i, value in enumerate(values)
    ]


def test_a_curve_spans_its_seeds_at_common_steps():
    line = aligned([log(1, 2, None), log(3, 4, 5)], "validation_psnr_db")
    assert (line.steps, line.mean, line.low, line.high) == ((1, 2), (2, 3), (1, 2), (3, 4))


def test_no_log_and_no_common_step_give_no_curve():
    assert aligned([], "loss") is None
    assert aligned([log(None), log(1)], "validation_psnr_db") is None


def test_a_target_is_reached_once_and_for_the_first_time():
    line = aligned([log(1, 3, 2, 4)], "validation_psnr_db")
    assert [reached_at(line, target) for target in (0, 3, 3.5, 9)] == [0, 1, 3, None]


def test_speedup_divides_the_baselines_median_by_the_conversions(full):
    results = full.evidence().results
    assert speedup(results, FAMILIES[0], 2, ("cpu", "fused")) == pytest.approx(2.5)
    assert speedup(results, FAMILIES[1], 2, ("cpu", "fused")) is None


def test_scores_of_seeds_are_averaged(configured):
    folder = configured(train__seeds=[1, 2])
    for shift, run in enumerate(runs(folder.config).values()):
        folder.quality(run.name, "test", 30.0 + shift, run)
    found = score(folder.evidence().results, "hit_sir", 2, "test")
    assert found.psnr_db.value == pytest.approx(33.0)  # mean of 32, 33 and 33, 34
    assert found.psnr_db.half > 0
    assert found.over_bicubic_db is None
