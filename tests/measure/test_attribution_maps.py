import numpy as np
import pytest
from scipy.stats import gaussian_kde

from hitsr.base.errors import DataError
from hitsr.measure.attribution_maps import (
    busiest_window,
    crop_around,
    density,
    diffusion_index,
    gini,
    information_area,
)


def bumpy(h: int = 12, w: int = 17) -> np.ndarray:
    return np.random.default_rng(0).random((h, w)) ** 4


def one_pixel() -> np.ndarray:
    single = np.zeros((9, 11))
    single[4, 5] = 2
    return single


def test_gini_is_half_the_mean_difference_over_the_mean():
    values = bumpy(5, 6)
    pairs = np.abs(values.ravel()[:, None] - values.ravel()).mean()
    assert gini(values) == pytest.approx(pairs / 2 / values.mean())
    assert gini(7 * values) == pytest.approx(gini(values))


def test_diffusion_index_of_one_pixel_and_of_a_flat_map():
    assert diffusion_index(np.full((4, 5), 0.3)) == pytest.approx(100)
    assert diffusion_index(one_pixel()) == pytest.approx(100 / 99)


@pytest.mark.parametrize("values", [np.zeros((2, 2)), np.array([[1.0, -1.0]])])
def test_gini_of_nothing_or_negatives_is_an_error(values: np.ndarray):
    with pytest.raises(ValueError, match="non-negative values, not all zero"):
        gini(values)


def test_density_equals_scipy_s():
    importance = bumpy()
    places = np.mgrid[:12, :17].reshape(2, -1)
    kernel = gaussian_kde(places, weights=importance.ravel())
    np.testing.assert_allclose(density(importance).ravel(), kernel(places), rtol=1e-9)


def test_density_of_one_pixel_is_a_bump_there():
    found = density(one_pixel())
    assert np.unravel_index(found.argmax(), found.shape) == (4, 5)
    assert found.sum() == pytest.approx(1, abs=0.1)


def test_information_area_grows_with_spread():
    rows, columns = np.mgrid[:41, :41] - 20
    areas = [
        information_area(np.exp(-(rows**2 + columns**2) / (2 * sigma**2))) for sigma in (1, 3, 9)
    ]
    assert areas == sorted(areas)
    assert information_area(one_pixel()) <= 9 / 99
    assert 0.8 < information_area(np.ones((41, 41))) <= 0.9


def test_busiest_window_covers_the_strongest_edges():
    lr = np.zeros((20, 24, 3), dtype=np.uint8)
    lr[9, 13] = 255
    x, y, side = busiest_window(lr, 4, 16)
    assert side == 16
    assert x <= 12 * 4 < 14 * 4 <= x + side
    assert y <= 8 * 4 < 10 * 4 <= y + side
    lr[2, 3], lr[3, 4] = 255, 255
    x, y, _ = busiest_window(lr, 4, 16)
    assert x <= 3 * 4
    assert y <= 2 * 4


def test_busiest_window_stays_inside_and_is_the_first_among_equals():
    lr = np.zeros((10, 10, 3), dtype=np.uint8)
    assert busiest_window(lr, 3, 16) == (0, 0, 16)
    lr[9, 9] = 255
    assert busiest_window(lr, 3, 16) == (12, 12, 16)
    with pytest.raises(DataError, match="does not fit into 30x30"):
        busiest_window(lr, 3, 31)


@pytest.mark.parametrize("window", [(0, 0, 16), (100, 60, 16), (144, 104, 16), (71, 33, 10)])
def test_crop_keeps_the_window_s_pixels(window: tuple[int, int, int]):
    lr = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    sr = lr.repeat(4, 0).repeat(4, 1)
    cut, (x, y, side) = crop_around(lr, window, 4, 12)
    assert cut.shape == (12, 12, 3)
    within = cut.repeat(4, 0).repeat(4, 1)[y : y + side, x : x + side]
    left, top, _ = window
    assert np.array_equal(within, sr[top : top + side, left : left + side])


def test_a_picture_smaller_than_the_crop_is_kept_whole():
    lr = np.zeros((30, 40, 3), dtype=np.uint8)
    cut, window = crop_around(lr, (100, 60, 16), 4, 64)
    assert (cut.shape, window) == ((30, 40, 3), (100, 60, 16))
    with pytest.raises(ValueError, match="cannot hold a window of 16"):
        crop_around(lr, (100, 60, 16), 4, 3)
