import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from hitsr.data.images import read_image
from hitsr.data.photographs import photographs
from hitsr.measure.metrics import Channel, is_grey, luma, psnr, signature, ssim

Image = NDArray[np.uint8]
Measure = Callable[..., float]


@pytest.fixture(scope="module")
def picture() -> Image:
    return read_image(photographs("test")[1].locate())[:90, :120]


@pytest.fixture(scope="module")
def noisy(picture: Image) -> Image:
    noise = np.random.default_rng(0).normal(0, 9, picture.shape)
    return (picture + noise).clip(0, 255).astype(np.uint8)


def planes(image: Image, channel: Channel, border: int) -> NDArray[np.float64]:
    height, width = image.shape[:2]
    image = image[border : height - border, border : width - border]
    return luma(image)[..., None] if channel == "y" else image.astype(np.float64)


def constant(*rgb: int, size: int = 20) -> Image:
    return np.full((size, size, 3), rgb, np.uint8)


@pytest.mark.parametrize(
    ("rgb", "expected"),
    [
        ((0, 0, 0), 16),
        ((255, 255, 255), 235),
        ((255, 0, 0), 81.481),
        ((0, 255, 0), 144.553),
        ((0, 0, 255), 40.966),
    ],
)
def test_luma_is_studio_range_and_not_rounded(rgb: tuple[int, ...], expected: float) -> None:
    np.testing.assert_allclose(luma(constant(*rgb)), expected, rtol=1e-12)


@pytest.mark.parametrize("border", [0, 2, 4])
@pytest.mark.parametrize("channel", ["y", "rgb"])
def test_psnr_agrees_with_scikit_image(
    picture: Image, noisy: Image, channel: Channel, border: int
) -> None:
    expected = peak_signal_noise_ratio(
        planes(picture, channel, border), planes(noisy, channel, border), data_range=255
    )
    assert psnr(noisy, picture, border, channel) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("border", [0, 2, 4])
@pytest.mark.parametrize("channel", ["y", "rgb"])
def test_ssim_agrees_with_scikit_image(
    picture: Image, noisy: Image, channel: Channel, border: int
) -> None:
    _, similarity = structural_similarity(
        planes(picture, channel, border),
        planes(noisy, channel, border),
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        data_range=255,
        channel_axis=2,
        full=True,
    )
    expected = similarity[5:-5, 5:-5].mean()
    assert ssim(noisy, picture, border, channel) == pytest.approx(expected, abs=1e-6)


def test_psnr_of_a_uniform_difference() -> None:
    # Grey levels 5 apart are 5 * 219 / 255 apart in Y.
    dark, light = constant(100, 100, 100), constant(105, 105, 105)
    assert psnr(dark, light, 0, "rgb") == pytest.approx(20 * math.log10(255 / 5))
    assert psnr(dark, light, 0, "y") == pytest.approx(20 * math.log10(255 / (5 * 219 / 255)))


def test_ssim_of_two_constants_is_their_luminance_term() -> None:
    x, y, c = 50, 80, (0.01 * 255) ** 2
    expected = (2 * x * y + c) / (x * x + y * y + c)
    assert ssim(constant(x, x, x), constant(y, y, y), 0, "rgb") == pytest.approx(expected)


@pytest.mark.parametrize("channel", ["y", "rgb"])
def test_identical_pictures_are_perfect(picture: Image, channel: Channel) -> None:
    assert psnr(picture, picture.copy(), 2, channel) == math.inf
    assert ssim(picture, picture.copy(), 2, channel) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("metric", [psnr, ssim])
def test_only_the_border_is_ignored(metric: Measure, picture: Image) -> None:
    spoilt = picture.copy()
    spoilt[:3], spoilt[-3:], spoilt[:, :3], spoilt[:, -3:] = 0, 0, 0, 0
    assert metric(spoilt, picture, border=3) == metric(picture, picture, border=3)
    assert metric(spoilt, picture, border=2) < metric(picture, picture, border=2)


@pytest.mark.parametrize("metric", [psnr, ssim])
@pytest.mark.parametrize(
    ("sr", "hr", "border", "message"),
    [
        (constant(1, 1, 1), constant(1, 1, 1, size=21), 0, r"sr is \(20, 20, 3\), hr is \(21, 21"),
        (constant(1, 1, 1)[..., 0], constant(1, 1, 1)[..., 0], 0, r"sr must be .* got \(20, 20\)"),
        (constant(1, 1, 1), constant(1, 1, 1) / 255, 0, "hr must be .* float64"),
        ([[1]], constant(1, 1, 1), 0, r"sr must be a NumPy array, .*got list"),
        (
            torch.zeros(3, 9, 9),
            constant(1, 1, 1),
            0,
            r"sr must be .* got Tensor \(3, 9, 9\) t",
        ),
        (constant(1, 1, 1), constant(1, 1, 1), -1, "border -1"),
        (constant(1, 1, 1), constant(1, 1, 1), 10, r"border 10 of \(20, 20, 3\)"),
    ],
)
def test_refuses(metric: Measure, sr: Image, hr: Image, border: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        metric(sr, hr, border)


def test_ssim_wants_one_whole_window() -> None:
    assert ssim(constant(1, 1, 1, size=15), constant(1, 1, 1, size=15), 2) == pytest.approx(1)
    with pytest.raises(ValueError, match="leave 11x11 pixels"):
        ssim(constant(1, 1, 1, size=14), constant(1, 1, 1, size=14), 2)


@pytest.mark.parametrize("metric", [psnr, ssim])
def test_a_misspelt_channel_is_refused(metric: Measure) -> None:
    with pytest.raises(ValueError, match="channel must be 'y', 'rgb' or 'grey', got 'Y'"):
        metric(constant(1, 1, 1), constant(2, 2, 2), 0, channel="Y")


def test_every_choice_changes_the_signature() -> None:
    assert signature("psnr", "y") == (
        "psnr|y:bt601-studio|round:none|border:scale|range:255|lr:matlab-bicubic|v1"
    )
    made = {
        signature(metric, channel, border, lr)
        for metric in ("psnr", "ssim")
        for channel in ("y", "rgb", "grey")
        for border in ("scale", 0, 2)
        for lr in ("matlab-bicubic", "unstated")
    }
    assert len(made) == 36


def test_the_grey_channel_is_the_samples_of_a_grey_picture() -> None:
    grey = np.repeat(np.arange(40 * 40, dtype=np.uint8).reshape(40, 40, 1), 3, axis=2)
    worse = np.clip(grey.astype(int) + 3, 0, 255).astype(np.uint8)
    error = np.mean((worse[..., 0].astype(float) - grey[..., 0]) ** 2)
    assert is_grey(grey)
    assert not is_grey(constant(1, 2, 1))
    assert psnr(worse, grey, 0, "grey") == pytest.approx(10 * np.log10(255**2 / error))
    # Studio-range Y spans 219 of 255 levels, so that the same error gives a higher PSNR.
    assert psnr(worse, grey, 0) - psnr(worse, grey, 0, "grey") == pytest.approx(
        20 * np.log10(255 / 219)
    )
