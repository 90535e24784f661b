import itertools
import math

import numpy as np
import pytest
from scipy.stats import rankdata

from hitsr.base.errors import RecordError
from hitsr.records import PictureScore, Provenance, QualityRecord
from hitsr.report import significance
from hitsr.report.significance import (
    corrected,
    difference,
    holm,
    in_words,
    mean_score,
    p_in_words,
    paired_difference,
    signed_rank_p,
)

PROVENANCE = Provenance(
    commit=None, dirty=None, versions={}, device="cpu", device_name="A CPU", threads=1,
    command="hitsr quality", seconds=1,
)  # fmt: skip


def record(scores: dict[str, float | None], subject: str = "hit_sir-x2-s1", **changes: object):
    """Scores of one run on Set5; SSIM is a hundredth of the PSNR."""
    return QualityRecord(
        subject=subject, subject_hash="0", provenance=PROVENANCE, method=subject.split("-")[0],
        dataset="Set5", scale=2, border=2, signatures={"psnr": "psnr|v1", "ssim": "ssim|v1"},
        pictures=tuple(
            PictureScore(name=name, psnr_db=psnr, ssim=(psnr or 100) / 100)
            for name, psnr in scores.items()
        ),
    ).model_copy(update=changes)  # fmt: skip


def scores(*rows: list[float]) -> np.ndarray:
    return np.array(rows, dtype=float)


def plain(words: str) -> str:
    return words.replace("\u202f", " ")


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Resample less often, for laws that hold over many sets of pictures."""
    monkeypatch.setattr(significance, "_RESAMPLES", 999)


def test_wilcoxon_agrees_with_its_definition_on_all_signs():
    # Among all ways to sign the ranks, the share whose smaller sum is at most the one observed.
    for seed, ties in itertools.product(range(5), (False, True)):
        x = np.random.default_rng(seed).normal(0.5, 1, 8)
        x = np.round(x, 1 if ties else 9)
        x = x[x != 0]
        ranks = rankdata(abs(x))
        smaller = min(ranks[x > 0].sum(), ranks[x < 0].sum())
        signs = itertools.product((False, True), repeat=len(x))
        sums = (ranks[np.array(sign)].sum() for sign in signs)
        extreme = [min(s, ranks.sum() - s) <= smaller + 1e-9 for s in sums]
        assert signed_rank_p(x) == pytest.approx(np.mean(extreme))


def test_swapping_the_methods_changes_signs_alone():
    first = 30 + np.random.default_rng(0).normal(0, 3, (1, 20))
    second = first + np.random.default_rng(1).normal(0.1, 0.3, (1, 20))
    found, swapped = difference("psnr", first, second), difference("psnr", second, first)
    assert swapped.mean == pytest.approx(-found.mean)
    assert (swapped.better, swapped.worse, swapped.p) == (found.worse, found.better, found.p)
    assert swapped.interval == pytest.approx((-found.interval[1], -found.interval[0]), abs=0.01)
    assert difference("psnr", first, second) == found  # chance is fixed


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("draw", ["normal", "exponential"])
def test_the_interval_covers_the_true_mean_as_often_as_it_says(draw: str):
    # Pictures vary by 3 dB, differences by 0.3 around 0.3: pairing must take the pictures out.
    generator, covered, trials, pictures = np.random.default_rng(0), 0, 200, 40
    for _ in range(trials):
        second = 30 + generator.normal(0, 3, (1, pictures))
        gain = (
            generator.normal(0.3, 0.3, (1, pictures))
            if draw == "normal"
            else generator.exponential(0.3, (1, pictures))
        )
        low, high = difference("psnr", second + gain, second).interval
        covered += low <= 0.3 <= high
    # 95 %, less a few for 40 pictures, within three standard errors of 200 trials.
    assert 0.88 <= covered / trials <= 0.99


@pytest.mark.usefixtures("quick")
def test_seeds_that_disagree_widen_the_interval_and_are_covered():
    generator, covered, trials, widths = np.random.default_rng(0), 0, 100, []
    for _ in range(trials):
        second = 30 + generator.normal(0, 3, (1, 30))
        first = second + 0.3 + generator.normal(0, 0.2, (8, 1)) + generator.normal(0, 0.1, (8, 30))
        low, high = difference("psnr", first, second).interval
        covered += low <= 0.3 <= high
        alone = difference("psnr", first[:1], second).interval
        widths.append((high - low) / (alone[1] - alone[0]))
    assert 0.8 <= covered / trials <= 0.99
    assert np.median(widths) > 1.5


def test_luck_that_both_share_through_their_seeds_cancels():
    luck = np.random.default_rng(0).normal(0, 1, (4, 1))
    second = 30 + luck + np.zeros((4, 10))
    first = second + np.linspace(0.1, 0.3, 10)
    together = difference("psnr", first, second, same_seeds=True).interval
    apart = difference("psnr", first, second).interval
    assert together[0] > 0.1
    assert apart[0] < 0


def test_seeds_are_paired_by_their_names_in_any_order():
    first = [
        record({"a": 30, "b": 33}, "hit_sir-x2-s1"),
        record({"a": 40, "b": 44}, "hit_sir-x2-s2"),
    ]
    second = [record({"b": 43, "a": 39}, "swin-x2-s2"), record({"a": 29, "b": 32}, "swin-x2-s1")]
    found = paired_difference(first, second)
    assert found.seeds == (2, 2)
    assert "interval over 2 and 2 seeds 1.00 to 1.00" in in_words(found)
    assert found.interval == (1, 1)  # without the 10 dB between seeds


def test_holm_steps_down():
    # Worked by hand: 0.01 x 4, 0.03 x 3, then 0.03 x 2 and 0.05 x 1 may not fall below 0.09.
    assert holm([0.03, 0.01, 0.05, 0.03]) == pytest.approx([0.09, 0.04, 0.09, 0.09])
    assert holm([0.5, 0.6]) == [1, 1]
    assert holm([]) == []


def test_correction_stays_with_its_cell():
    low = difference("psnr", scores([1, 2, 3, 4, 5, 6, 7.0]), np.zeros((1, 7)))
    high = difference("psnr", scores([1, -2, 3, -4, 5, -6, 7.0]), np.zeros((1, 7)))
    table = corrected({"high": high, "low": low})
    assert table["low"].p_corrected == pytest.approx(2 * low.p)
    assert table["high"].p_corrected == high.p
    assert list(table) == ["high", "low"]


def test_equal_scores_are_equal_with_certainty():
    found = difference("psnr", scores([30, 31, 32.0]), scores([30, 31, 32 + 1e-12]))
    assert (found.equal, found.mean, found.interval, found.p) == (3, 0, (0, 0), 1)
    assert in_words(found) == "equal on all 3 pictures"


def test_one_picture_has_a_difference_and_no_interval():
    found = difference("psnr", scores([30.5]), scores([30.0]))
    assert (found.mean, found.interval, found.p) == (0.5, None, 1)
    assert (
        plain(in_words(found))
        == "better on the one picture; +0.50 dB, no interval from one picture"
    )


@pytest.mark.parametrize(("pictures", "smallest"), [(1, 1), (2, 0.5), (5, 0.0625), (6, 0.03125)])
def test_few_pictures_cannot_decide_and_it_says_so(pictures: int, smallest: float):
    found = difference(
        "psnr", scores([31.0 + i for i in range(pictures)]), scores([30.0] * pictures)
    )
    assert found.smallest_p == found.p == smallest
    assert ("too few" in p_in_words(found)) == (pictures < 6)


def test_pictures_that_are_equal_count_for_nothing():
    first = scores([30.0] * 95 + [31, 32, 33, 34, 35.0])
    assert difference("psnr", first, scores([30.0] * 100)).smallest_p == 0.0625


def test_a_picture_equal_to_its_hr_leaves_counts_and_no_mean():
    first = [record({"a": None, "b": 31, "c": None})]
    second = [record({"a": 40, "b": 30, "c": None}, "bicubic-x2")]
    found = paired_difference(first, second)
    assert (found.better, found.equal, found.mean, found.interval) == (2, 1, None, None)
    assert "no mean" in in_words(found)
    assert mean_score(first, "psnr") is None
    assert paired_difference(first, first).mean == 0


def test_the_words_are_those_of_the_report():
    each = np.concatenate([np.full(87, 0.3), np.full(13, -0.16)])
    found = difference("psnr", 30 + each[None], np.full((1, 100), 30.0))
    words = plain(in_words(found))
    assert words.startswith("better on 87 of 100 pictures; +0.24 dB, 95 % interval 0.2")
    assert p_in_words(found) == "p < 0.001"
    swapped = plain(in_words(difference("psnr", np.full((1, 100), 30.0), 30 + each[None])))
    assert swapped.startswith("worse on 87 of 100 pictures; −0.24 dB, 95 % interval −0.2")


def test_ssim_has_its_own_digits_and_no_unit():
    found = paired_difference([record({"a": 91, "b": 92.5})], [record({"a": 90, "b": 92})], "ssim")
    assert plain(in_words(found)).startswith(
        "better on all 2 pictures; +0.0075, 95 % interval 0.0050"
    )


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"signatures": {"psnr": "psnr|rgb|v1"}}, "do not compare"),
        ({"dataset": "Set14"}, "Set5 x2 and Set14 x2"),
        ({"scale": 3}, "Set5 x2 and Set5 x3"),
        ({"pictures": (PictureScore(name="c", psnr_db=30, ssim=1),)}, "not the same pictures"),
    ],
)
def test_what_was_not_scored_alike_is_refused(changes: dict[str, object], told: str):
    with pytest.raises(RecordError, match=told):
        paired_difference([record({"a": 30})], [record({"a": 31}, "bicubic-x2", **changes)])


def test_records_survive_json():
    found = paired_difference([record({"a": 30, "b": 31})], [record({"a": 29, "b": 32})])
    assert type(found).model_validate_json(found.to_json()) == found
    assert math.isfinite(found.p)
