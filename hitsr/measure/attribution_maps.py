"""Indices computed from an attribution map, and the choice of the window to map."""

import math

import numpy as np
from numpy.typing import NDArray
from scipy.signal import fftconvolve

from hitsr.base.errors import DataError
from hitsr.data.images import Picture

Array = NDArray[np.float64]

HELD = 0.9  # share of the density inside the information area
# In squared pixels. A narrower kernel, sampled at the pixels, would no longer sum to one.
_LEAST_VARIANCE = 0.25


def gini(values: Array) -> float:
    """Gini coefficient of non-negative values: 0 if all are equal, 1 - 1/n if one holds all.

    It is half the mean absolute difference of all pairs, divided by the mean. Raises ValueError if
    a value is negative or all are zero.
    """
    ordered = np.sort(values, axis=None)
    total = ordered.sum()
    if ordered[0] < 0 or total == 0:
        raise ValueError("the Gini coefficient needs non-negative values, not all zero")
    ranks = 2 * np.arange(1, ordered.size + 1) - ordered.size - 1
    return float(ranks @ ordered / (ordered.size * total))


def diffusion_index(importance: Array) -> float:
    """(1 - Gini) x 100 of an (h, w) map (LAM, section 4.2)."""
    return (1 - gini(importance)) * 100


def density(importance: Array) -> Array:
    """Gaussian kernel density of an (h, w) map, with Scott's bandwidth as in LAM_Demo: (h, w).

    Equals scipy's `gaussian_kde` with the map as weights, but takes h w log(h w) operations instead
    of (h w)². For maps confined to one pixel or line scipy fails; here the kernel has a minimum
    width of half a pixel.
    """
    h, w = importance.shape
    weights = importance / importance.sum()
    concentration = (weights**2).sum()  # 1 / the effective number of points
    positions = np.mgrid[:h, :w].reshape(2, -1).astype(float)
    centred = positions - (positions @ weights.ravel())[:, None]
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
    """The window with the largest gradient energy in the LR picture: (x, y, side) in HR pixels.

    The energy is the sum of squared differences to the next pixels down and right, over
    ceil(side / scale) LR pixels each way. Of equal windows, the first in reading order is taken.
    Raises DataError if the window does not fit into the picture.
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
    """Crop `side` x `side` LR pixels around a window; returns the crop and the window in it.

    The crop is smaller where the picture is. Crops make diffusion indices comparable: they depend
    on the size of the picture. Raises ValueError if the crop cannot hold the window.
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
