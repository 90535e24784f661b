"""What is read from an attribution map, and where to take one: numbers, no network."""

import math

import numpy as np
from numpy.typing import NDArray
from scipy.signal import fftconvolve

from hitsr.base.errors import DataError
from hitsr.data.images import Picture

Array = NDArray[np.float64]

# Share of the density that the information area holds.
HELD = 0.9
# A narrower kernel would fall between the pixels: its samples would no longer sum to one.
_LEAST_VARIANCE = 0.25


def gini(values: Array) -> float:
    """Gini coefficient of non-negative values: 0 if all are equal, 1 - 1/n if one holds all.

    Half the mean absolute difference of all pairs, over the mean. Raises ValueError if negative or
    all zero.
    """
    ordered = np.sort(values, axis=None)
    total = ordered.sum()
    if ordered[0] < 0 or total == 0:
        raise ValueError("the Gini coefficient wants non-negative values, not all zero")
    ranks = 2 * np.arange(1, ordered.size + 1) - ordered.size - 1
    return float(ranks @ ordered / (ordered.size * total))


def diffusion_index(importance: Array) -> float:
    """(1 - Gini) x 100 of an (h, w) map (LAM, section 4.2)."""
    return (1 - gini(importance)) * 100


def density(importance: Array) -> Array:
    """Gaussian kernel density of an (h, w) map at its pixels; Scott's bandwidth (as LAM_Demo).

    Equals scipy's `gaussian_kde` with the map as weights, in h w log(h w) instead of (h w)². A map
    that lies in one pixel or line, which has no kernel there, gets one of a pixel's width.
    """
    h, w = importance.shape
    weights = importance / importance.sum()
    concentration = (weights**2).sum()  # one over the effective number of points
    places = np.mgrid[:h, :w].reshape(2, -1).astype(float)
    centred = places - (places @ weights.ravel())[:, None]
    unbiased = max(1 - concentration, np.finfo(float).tiny)
    covariance = (centred * weights.ravel()) @ centred.T / unbiased * concentration ** (1 / 3)

    variances, axes = np.linalg.eigh(covariance)
    variances = np.maximum(variances, _LEAST_VARIANCE)
    offsets = np.mgrid[-h + 1 : h, -w + 1 : w].astype(float)
    along = np.einsum("ia,iyx->ayx", axes, offsets)
    kernel = np.exp(-(along**2 / (2 * variances[:, None, None])).sum(0))
    kernel /= 2 * math.pi * math.sqrt(variances.prod())
    spread: Array = fftconvolve(weights, kernel)[h - 1 : 2 * h - 1, w - 1 : 2 * w - 1]
    return spread.clip(0)


def information_area(importance: Array) -> float:
    """Share of an (h, w) map's pixels in the smallest region with 90 % of its kernel density."""
    ordered = np.sort(density(importance), axis=None)[::-1]
    held = np.cumsum(ordered)
    return float((np.searchsorted(held, HELD * held[-1]) + 1) / ordered.size)


def busiest_window(lr: Picture, scale: int, side: int) -> tuple[int, int, int]:
    """The (x, y, side) window, in HR pixels, over the LR pixels of the largest gradient energy.

    Squared differences to the next pixels down and right, summed over ceil(side / scale) LR pixels
    each way; the first in reading order among equals. Raises DataError if it does not fit.
    """
    h, w = lr.shape[:2]
    if side > scale * min(h, w):
        raise DataError(f"a window of {side} does not fit into {w * scale}x{h * scale} SR pixels")
    grey = np.pad(lr.astype(float).mean(2), ((0, 1), (0, 1)), mode="edge")
    energy = (grey[1:, :-1] - grey[:-1, :-1]) ** 2 + (grey[:-1, 1:] - grey[:-1, :-1]) ** 2
    cells = math.ceil(side / scale)
    sums = np.lib.stride_tricks.sliding_window_view(energy, (cells, cells)).sum((2, 3))
    row, column = divmod(int(sums.argmax()), sums.shape[1])
    return min(column * scale, w * scale - side), min(row * scale, h * scale - side), side


def crop_around(
    lr: Picture, window: tuple[int, int, int], scale: int, side: int
) -> tuple[Picture, tuple[int, int, int]]:
    """Cut `side` x `side` LR pixels around a window, and the window within; less if LR is less.

    Diffusion indices compare only on pictures of one size. Raises ValueError if it cannot hold the
    window.
    """
    x, y, size = window
    if side * scale < size:
        raise ValueError(f"a crop of {side * scale} SR pixels cannot hold a window of {size}")
    left, top = (
        min(max((corner + size // 2) // scale - side // 2, 0), max(length - side, 0))
        for corner, length in ((x, lr.shape[1]), (y, lr.shape[0]))
    )
    cut = lr[top : top + side, left : left + side]
    return cut, (x - left * scale, y - top * scale, size)
