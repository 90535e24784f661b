import itertools
import math

import numpy as np
import pytest
from scipy import stats

from hitsr.report.estimates import (
    PairedDifference,
    corrected,
    difference,
    fitted,
    half_width,
    holm,
    mean,
    median,
    quartiles,
    ratio_of_neighbours,
    resolved,
    signed_rank_p,
    smallest_detectable,
    sources,
)

DRAWS, TRUTH = 4000, 0.3


def scores(*rows: list[float]) -> np.ndarray:
    return np.array(rows, dtype=float)


def drawn(
    seeds: int, pictures: int, over_seeds: float, over_pictures: float, noise: float = 0.3
) -> np.ndarray:
    """Scores around zero: (draws, seeds, pictures), from standard deviations."""
    generator = np.random.default_rng([seeds, pictures, int(over_seeds * 100)])
    found = generator.normal(0, noise, (DRAWS, seeds, pictures))
    found += generator.normal(0, over_seeds, (DRAWS, seeds, 1))
    found += generator.normal(0, over_pictures, (DRAWS, 1, pictures))
    return found


def misses(first: np.ndarray, second: np.ndarray, *, same: bool, fixed: bool) -> tuple[float, ...]:
    """How often the interval leaves out zero, the true difference, and its mean half width."""
    halves = half_width(sources(first, second, same, (False, fixed)))
    middles = first.mean(axis=(1, 2)) - second.mean(axis=(1, 2))
    return float((abs(middles) > halves).mean()), float(halves.mean())


@pytest.mark.parametrize("over_seeds", [0.1, 0.3, 1, 10])
@pytest.mark.parametrize("pictures", [5, 100])
@pytest.mark.parametrize("seeds", [2, 3, 5, 8])
def test_the_interval_covers_the_truth_at_few_seeds(seeds: int, pictures: int, over_seeds: float):
    first = drawn(seeds, pictures, over_seeds, 1)
    missed, half = misses(first, np.zeros_like(first), same=True, fixed=False)
    assert missed <= 0.07
    variance = over_seeds**2 / seeds + 1 / pictures + 0.3**2 / seeds / pictures
    # With variances known, 1.96 deviations would do: little more is needed with many degrees.
    assert half / (1.96 * math.sqrt(variance)) < {2: 5.4, 3: 2.2, 5: 1.7, 8: 1.6}[seeds]


@pytest.mark.parametrize("over_seeds", [0.1, 1, 10])
@pytest.mark.parametrize("pictures", [5, 100])
@pytest.mark.parametrize("seeds", [(2, 2), (2, 8), (3, 2), (5, 5)])
def test_the_interval_covers_the_truth_of_unpaired_seeds(
    seeds: tuple[int, int], pictures: int, over_seeds: float
):
    first = drawn(seeds[0], pictures, over_seeds, 1)
    second = drawn(seeds[1], pictures, 0.5, 0.2)
    assert misses(first, second, same=False, fixed=False)[0] <= 0.07


@pytest.mark.parametrize(("seeds", "over_seeds"), [(2, 1), (3, 0.1), (3, 1), (8, 0.5)])
def test_the_interval_covers_the_truth_against_a_fixed_method(seeds: int, over_seeds: float):
    second = drawn(1, 5, 0, 0.5)
    assert misses(drawn(seeds, 5, over_seeds, 1), second, same=False, fixed=True)[0] <= 0.07


def test_one_network_alone_has_the_interval_that_was_simulated():
    first, second = drawn(3, 5, 1, 1)[0], drawn(2, 5, 1, 1)[0]
    found = difference(first, second)
    half = half_width(sources(first, second, False, (False, False)))
    assert found.mean == pytest.approx(first.mean() - second.mean())
    assert found.interval == pytest.approx((found.mean - half, found.mean + half))


def test_seeds_alone_give_the_paired_t_interval():
    luck, gain = np.array([0.3, -0.2, 0.5, 0.1]), np.array([0.2, 0.25, 0.18, 0.3])
    second = 30 + luck[:, None] + np.arange(10.0)  # pictures differ, their differences do not
    found = difference(second + gain[:, None], second, same_seeds=True)
    reference = stats.ttest_rel(luck + gain, luck).confidence_interval(0.95)
    assert found.interval == pytest.approx(tuple(reference))


def test_pictures_alone_give_the_paired_t_interval():
    first, second = drawn(1, 7, 0, 1)[0], drawn(1, 7, 0, 1, 0.5)[0]
    reference = stats.ttest_rel(first[0], second[0]).confidence_interval(0.95)
    found = difference(first, second, fixed_first=True, fixed_second=True)
    assert found.interval == pytest.approx(tuple(reference))
    assert found.over_pictures is None
    alone = difference(first, second)
    assert alone.over_pictures == found.interval


def test_the_interval_holds_both_one_way_intervals():
    first = drawn(3, 6, 0.5, 1)[0]
    found = difference(first, np.zeros_like(first), same_seeds=True)
    for values in (first.mean(axis=0), first.mean(axis=1)):
        low, high = stats.ttest_1samp(values, 0).confidence_interval(0.95)
        assert found.interval[0] <= low <= high <= found.interval[1]


def test_luck_that_both_share_through_their_seeds_cancels():
    luck = np.random.default_rng(0).normal(0, 1, (4, 1))
    second = 30 + luck + np.zeros((4, 10))
    first = second + np.linspace(0.1, 0.3, 10)
    assert resolved(difference(first, second, same_seeds=True)) == "above"
    assert resolved(difference(second, first, same_seeds=True)) == "below"
    assert resolved(difference(first, second)) == "undecided"


def test_swapping_the_methods_changes_signs_alone():
    first, second = drawn(3, 20, 0.2, 1)[0] + TRUTH, drawn(2, 20, 0.2, 1)[0]
    found, swapped = difference(first, second), difference(second, first)
    assert swapped.mean == pytest.approx(-found.mean)
    assert (swapped.better, swapped.worse, swapped.p) == (found.worse, found.better, found.p)
    assert swapped.interval == pytest.approx((-found.interval[1], -found.interval[0]))
    assert swapped.smallest_detectable == pytest.approx(found.smallest_detectable, rel=0.01)


@pytest.mark.parametrize(("seeds", "pictures"), [(2, 5), (3, 100), (8, 5)])
@pytest.mark.parametrize("over_seeds", [0.1, 1])
def test_the_smallest_detectable_difference_is_detected_in_four_of_five(
    seeds: int, pictures: int, over_seeds: float
):
    first = drawn(seeds, pictures, over_seeds, 1, noise=0.01)
    wanted = [over_seeds / math.sqrt(seeds), 1 / math.sqrt(pictures)]  # of the means
    true = smallest_detectable([_of_variance(s, n) for s, n in zip(wanted, (seeds, pictures))])
    halves = half_width(sources(first, np.zeros_like(first), True, (False, False)))
    detected = (abs(first.mean(axis=(1, 2)) + true) > halves).mean()
    assert detected == pytest.approx(0.8, abs=0.025)  # four standard errors of 4,000 draws


def _of_variance(deviation_of_mean: float, count: int) -> np.ndarray:
    values = np.arange(float(count))
    return values / values.std(ddof=1) * math.sqrt(count) * deviation_of_mean


def test_the_smallest_detectable_difference_has_the_power_of_a_t_test():
    found = difference(drawn(1, 6, 0, 1)[0], np.zeros((1, 6)), fixed_first=True, fixed_second=True)
    error = (found.interval[1] - found.mean) / stats.t.ppf(0.975, 5)
    noncentral = stats.nct(5, found.smallest_detectable / error)
    assert noncentral.sf(stats.t.ppf(0.975, 5)) == pytest.approx(0.8, abs=0.002)


def test_one_seed_leaves_its_part_unknown():
    network = scores([30.03, 31.07, 32.11])
    found = difference(network, scores([30, 31, 32]), same_seeds=True)
    assert found.is_seed_unknown
    assert (found.interval, found.smallest_detectable) == (None, None)
    assert found.over_pictures[0] < found.mean < found.over_pictures[1]
    assert resolved(found) == "undecided"
    many = difference(network + scores([0], [0.1], [0.3]), network)
    assert many.is_seed_unknown
    assert many.interval is None
    against_bicubic = difference(network + scores([0], [0.1]), network, fixed_second=True)
    assert not against_bicubic.is_seed_unknown
    assert against_bicubic.interval is not None


def test_what_does_not_vary_has_no_interval():
    # Three pictures of one seed, each better by 0.07 dB, once made an interval of no width.
    alike = difference(scores([30.07, 31.07, 32.07]), scores([30, 31, 32]))
    assert (alike.mean, alike.interval, alike.over_pictures) == (0.07, None, None)
    equal = difference(scores([30, 31, 32.0]), scores([30, 31, 32 + 1e-12]))
    assert (equal.equal, equal.mean, equal.interval, equal.p) == (3, 0, None, 1)
    seeds = scores([30, 31], [30, 31])
    found = difference(seeds + 0.1, seeds, same_seeds=True)
    assert (found.mean, found.interval, found.smallest_detectable) == (0.1, None, None)


def test_one_picture_has_a_difference_and_no_interval():
    found = difference(scores([30.5], [30.7], [30.9]), scores([30.0]), fixed_second=True)
    assert found.mean == pytest.approx(0.7)
    assert (found.interval, found.over_pictures, found.p) == (None, None, 1)


def test_a_picture_equal_to_its_hr_leaves_counts_and_no_mean():
    first, second = scores([math.inf, 31, math.inf]), scores([40, 30, math.inf])
    found = difference(first, second)
    assert (found.better, found.equal, found.mean, found.interval) == (2, 1, None, None)
    assert difference(first, first).mean == 0
    mixed = difference(scores([math.inf, 30]), scores([40, math.inf]))
    assert (mixed.better, mixed.worse, mixed.mean) == (1, 1, None)


def test_seeds_are_averaged_in_one_way_for_attribution_too():
    # Once +2.5 ± 6.35 in a section and +2.5 [1.93, 3.07] in the ledger, from the same leads.
    leads = scores([2.0, 3.0], [2.1, 2.9], [1.9, 3.1])
    found = difference(leads, np.zeros_like(leads), same_seeds=True)
    assert found.interval == pytest.approx((2.5 - 6.3531, 2.5 + 6.3531), abs=1e-3)


def test_unfit_scores_are_refused():
    with pytest.raises(ValueError, match="of the same pictures"):
        difference(scores([1, 2]), scores([1, 2, 3]))
    with pytest.raises(ValueError, match="not a number"):
        difference(scores([1, math.nan]), scores([1, 2]))
    with pytest.raises(ValueError, match="1 and 2 of them"):
        difference(scores([1, 2]), scores([1, 2], [1, 2]), same_seeds=True)
    with pytest.raises(ValueError, match="several rows"):
        difference(scores([1, 2]), scores([1, 2], [1, 2]), fixed_second=True)


def test_wilcoxon_agrees_with_its_definition_on_all_signs():
    # Among all ways to sign the ranks, the share whose smaller sum is at most the one observed.
    for seed, ties in itertools.product(range(5), (False, True)):
        x = np.random.default_rng(seed).normal(0.5, 1, 8)
        x = np.round(x, 1 if ties else 9)
        x = x[x != 0]
        ranks = stats.rankdata(abs(x))
        smaller = min(ranks[x > 0].sum(), ranks[x < 0].sum())
        signs = itertools.product((False, True), repeat=len(x))
        sums = (ranks[np.array(sign)].sum() for sign in signs)
        extreme = [min(s, ranks.sum() - s) <= smaller + 1e-9 for s in sums]
        assert signed_rank_p(x) == pytest.approx(np.mean(extreme))


@pytest.mark.parametrize(("pictures", "smallest"), [(1, 1), (2, 0.5), (5, 0.0625), (6, 0.03125)])
def test_few_pictures_have_a_smallest_p(pictures: int, smallest: float):
    first = scores([31.0 + i for i in range(pictures)] + [30.0] * 90)
    found = difference(first, np.full((1, pictures + 90), 30.0))
    assert found.smallest_p == smallest  # pictures that are equal count for nothing


def test_holm_steps_down():
    # Worked by hand: 0.01 x 4, 0.03 x 3, then 0.03 x 2 and 0.05 x 1 may not fall below 0.09.
    assert holm([0.03, 0.01, 0.05, 0.03]) == pytest.approx([0.09, 0.04, 0.09, 0.09])
    assert holm([0.5, 0.6]) == [1, 1]
    assert holm([]) == []


def test_correction_stays_with_its_cell():
    low = difference(scores([1, 2, 3, 4, 5, 6, 7]), np.zeros((1, 7)))
    high = difference(scores([1, -2, 3, -4, 5, -6, 7]), np.zeros((1, 7)))
    table = corrected({"high": high, "low": low})
    assert table["low"].p_corrected == pytest.approx(2 * low.p)
    assert table["high"].p_corrected == high.p
    assert list(table) == ["high", "low"]


def test_differences_survive_json():
    found = difference(drawn(3, 5, 1, 1)[0], np.zeros((1, 5)), fixed_second=True)
    assert PairedDifference.model_validate_json(found.to_json()) == found


def test_quartiles_agree_with_numpy():
    samples = np.random.default_rng(0).normal(size=37)
    assert quartiles(samples) == pytest.approx(np.quantile(samples, [0.25, 0.5, 0.75]))


def test_mean_interval_agrees_with_scipy():
    samples = [33.1, 33.4, 33.2, 33.9]
    low, high = stats.t.interval(0.95, 3, np.mean(samples), stats.sem(samples))
    value, half = mean(samples)
    assert (value - half, value + half) == pytest.approx((low, high))


def test_a_fitted_slope_has_the_interval_of_its_regression():
    x, y = np.arange(5.0), np.array([0.1, 1.2, 1.9, 3.2, 3.9])
    line = stats.linregress(x, y)
    value, half = fitted(line.slope, line.stderr, len(x) - 2)
    # The slope's t statistic is that of the correlation.
    statistic = line.rvalue * math.sqrt(3 / (1 - line.rvalue**2))
    assert value / half == pytest.approx(statistic / stats.t.ppf(0.975, 3))


def test_one_sample_has_no_interval():
    assert mean([3.0]) == (3.0, None)
    assert median([3.0]) == (3.0, None)


def test_infinite_samples_stay_infinite():
    assert mean([30.0, math.inf]) == (math.inf, None)


def test_neighbours_cancel_what_slows_both():
    load = np.array([1, 1, 5, 2, 1, 3.0])
    assert ratio_of_neighbours(2 * load, load) == (2, 2, 2)
    ratios = ratio_of_neighbours([1, 2, 3], [1, 1, 1])
    assert (ratios.lower, ratios.median, ratios.upper) == (1.5, 2, 2.5)
    with pytest.raises(ValueError, match="shorter"):
        ratio_of_neighbours([1, 2], [1])
