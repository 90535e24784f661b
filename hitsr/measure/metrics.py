"""PSNR and SSIM as super-resolution papers report them: on unrounded luma, borders cut off.

RCAN's released pictures of Set5, scored this way, give the published numbers to the last digit.

Shapes: n planes (channels or products of channels), h height, w width.
"""

import math
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hitsr.data.images import check_samples

Channel = Literal["y", "rgb", "grey"]
Metric = Literal["psnr", "ssim"]

_RADIUS = 5  # SSIM's Gaussian window is 11 x 11
_GAUSSIAN = np.exp(-(np.arange(-_RADIUS, _RADIUS + 1) ** 2) / (2 * 1.5**2))
_GAUSSIAN /= _GAUSSIAN.sum()
_ROWS_AT_ONCE = 8  # the intermediate results for 8 rows of a 2K picture fit in the cache
_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2


def luma(image: NDArray[np.uint8]) -> NDArray[np.float64]:
    """BT.601 studio-range Y of 8-bit RGB: (h, w, 3) uint8 -> (h, w), 16..235, not rounded.

    With the weights of MATLAB's rgb2ycbcr. Rounding it would lower PSNR by 0.09 dB at x2.
    """
    return _weighted(image, (65_481, 128_553, 24_966), 255_000) + 16


def psnr(
    sr: NDArray[np.uint8], hr: NDArray[np.uint8], border: int, channel: Channel = "y"
) -> float:
    """Peak signal-to-noise ratio in dB, peak 255, after cutting `border` pixels off each side.

    Pictures are (h, w, 3) uint8, a grey one with three equal channels; papers cut `scale` pixels.
    Infinite for identical pictures.
    Raises ValueError for other types, other or different shapes, a border that is negative or
    leaves no pixel, and an unknown channel.
    """
    sr_planes, hr_planes = _planes(sr, hr, border, channel, least=1)
    squared_error = float(np.mean((sr_planes - hr_planes) ** 2))
    return 10 * math.log10(255**2 / squared_error) if squared_error else math.inf


def ssim(
    sr: NDArray[np.uint8], hr: NDArray[np.uint8], border: int, channel: Channel = "y"
) -> float:
    """Structural similarity in -1..1, mean over channels, after cutting `border` off each side.

    Gaussian 11x11 window of sigma 1.5, valid region only, population covariance, K = 0.01, 0.03
    (Wang et al. 2004, and their ssim_index.m without its downsampling). Arguments and errors are
    those of `psnr`, but the border must leave at least 11x11 pixels.
    """
    sr_planes, hr_planes = _planes(sr, hr, border, channel, least=2 * _RADIUS + 1)
    return float(np.mean([_ssim_plane(x, y) for x, y in zip(sr_planes, hr_planes)]))


def signature(
    metric: Metric,
    channel: Channel = "y",
    border: int | Literal["scale"] = "scale",
    lr: str = "matlab-bicubic",
) -> str:
    """A text that states every choice in a metric; compare scores only if their signatures agree.

    The border "scale" means as many pixels as the upscaling factor, as in papers. `lr` says how the
    LR pictures were made.
    """
    samples = {
        "y": "y:bt601-studio|round:none",
        "rgb": "rgb",
        "grey": "grey:bt601-full|round:none",
    }[channel]
    window = {"psnr": "", "ssim": "|window:gauss11-1.5-valid"}[metric]
    return f"{metric}|{samples}|border:{border}|range:255{window}|lr:{lr}|v1"


def is_grey(image: NDArray[np.uint8]) -> bool:
    """Whether an (h, w, 3) picture has three equal channels, as Set14's `bridge` has."""
    return bool((image == image[..., :1]).all())


def _planes(
    sr: NDArray[np.uint8], hr: NDArray[np.uint8], border: int, channel: Channel, least: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Check both pictures, cut the border off and extract channels: (planes, h, w) float64.

    There are three planes for "rgb", else one. At least `least` x `least` pixels must be left.
    """
    for name, image in (("sr", sr), ("hr", hr)):
        check_samples(name, image)
    if sr.shape != hr.shape:
        raise ValueError(f"sr is {sr.shape}, hr is {hr.shape}: crop HR to a multiple of the scale")
    height, width = sr.shape[:2]
    if border < 0 or min(height, width) - 2 * border < least:
        raise ValueError(
            f"border {border} of {sr.shape}: must be 0 or more, and leave {least}x{least} pixels"
        )
    inside = slice(border, height - border), slice(border, width - border)
    return _channels(sr[inside], channel), _channels(hr[inside], channel)


def _channels(image: NDArray[np.uint8], channel: Channel) -> NDArray[np.float64]:
    match channel:
        case "y":
            return luma(image)[None]
        case "grey":  # for a grey picture these are its samples, 0..255
            return _weighted(image, (299, 587, 114), 1000)[None]
        case "rgb":
            return image.transpose(2, 0, 1).astype(np.float64)
    raise ValueError(f"channel must be 'y', 'rgb' or 'grey', got {channel!r}")


def _weighted(
    image: NDArray[np.uint8], weights: tuple[int, int, int], divisor: int
) -> NDArray[np.float64]:
    """Weighted sum over channels, (h, w, 3) -> (h, w): exact in integers, then divided."""
    total = image[..., 0] * np.int32(weights[0])
    total += image[..., 1] * np.int32(weights[1])
    total += image[..., 2] * np.int32(weights[2])
    return total / divisor


def _ssim_plane(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """Mean SSIM over all windows inside the plane."""
    height, width = (size - 2 * _RADIUS for size in x.shape)
    strips = [
        slice(top, top + _ROWS_AT_ONCE + 2 * _RADIUS) for top in range(0, height, _ROWS_AT_ONCE)
    ]
    total = math.fsum(_ssim_windows(x[strip], y[strip]).sum() for strip in strips)
    return float(total / (height * width))


def _ssim_windows(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """SSIM of every window inside the plane: (h, w) each -> (h - 10, w - 10).

    The formula uses only the sum of both variances. So four planes are blurred instead of five.
    """
    mean_x, mean_y, squares, product = _blur(np.stack([x, y, x * x + y * y, x * y]))
    mean_squares, mean_product = mean_x**2 + mean_y**2, mean_x * mean_y
    luminance = (2 * mean_product + _C1) / (mean_squares + _C1)
    structure = (2 * (product - mean_product) + _C2) / (squares - mean_squares + _C2)
    return np.asarray(luminance * structure)


def _blur(planes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Gaussian means of all windows inside: (n, h, w) -> (n, h - 10, w - 10)."""
    return _blur_rows(_blur_rows(planes).swapaxes(1, 2)).swapaxes(1, 2)


def _blur_rows(planes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Gaussian means along columns: (n, h, w) -> (n, h - 10, w).

    Two rows at the same distance have the same weight: they are added before the multiplication.
    """
    size = planes.shape[1] - 2 * _RADIUS
    total: NDArray[np.float64] = planes[:, _RADIUS : _RADIUS + size] * _GAUSSIAN[_RADIUS]
    for above, weight in enumerate(_GAUSSIAN[:_RADIUS]):
        below = 2 * _RADIUS - above
        pair = planes[:, above : above + size] + planes[:, below : below + size]
        pair *= weight
        total += pair
    return total
