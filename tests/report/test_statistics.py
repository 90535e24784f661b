import math

import numpy as np
import pytest
from scipy import stats

from hitsr.report.statistics import mean, median, quartiles


def test_quartiles_agree_with_numpy():
    samples = np.random.default_rng(0).normal(size=37)
    assert quartiles(samples) == pytest.approx(np.quantile(samples, [0.25, 0.5, 0.75]))


def test_mean_interval_agrees_with_scipy():
    samples = [33.1, 33.4, 33.2, 33.9]
    low, high = stats.t.interval(0.95, 3, np.mean(samples), stats.sem(samples))
    value, half = mean(samples)
    assert (value - half, value + half) == pytest.approx((low, high))


def test_one_sample_has_no_interval():
    assert mean([3.0]) == (3.0, None)
    assert median([3.0]) == (3.0, None)


def test_infinite_samples_stay_infinite():
    assert mean([30.0, math.inf]) == (math.inf, None)
