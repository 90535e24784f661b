"""Attribution maps to look at: a map laid over its picture, and many side by side."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from hitsr.data.bicubic import imresize
from hitsr.data.images import Picture
from hitsr.measure.attribution_maps import density

ALPHA = 0.5  # share of the picture under a map
_RED = (255, 0, 0)
_TILE = 256  # height of a sheet's tiles
_LINE = 20  # height of a sheet's captions
_FONT_SIZE = 14


def overlay(
    lr: Picture, importance: NDArray[np.float64], window: tuple[int, int, int], scale: int
) -> Picture:
    """Three panels: picture with the window framed, map over it, kernel density over it.

    (h, w, 3) and an (h, w) map in [0, 1] -> (h*scale, 3*w*scale, 3).
    """
    picture = imresize(lr, scale)
    spread = density(importance)
    layers = (importance, spread / spread.max())
    mixed = [_blend(picture, np.kron(layer, np.ones((scale, scale)))) for layer in layers]
    return np.concatenate([_framed(picture, window), *mixed], 1)


def contact_sheet(tiles: Sequence[Sequence[Picture]], captions: Sequence[Sequence[str]]) -> Picture:
    """Rows of pictures, each under its caption, every one scaled to the same height."""
    rows = [
        np.concatenate([_captioned(tile, text) for tile, text in zip(row, texts, strict=True)], 1)
        for row, texts in zip(tiles, captions, strict=True)
    ]
    width = max(row.shape[1] for row in rows)
    padded = [
        np.pad(row, ((0, 0), (0, width - row.shape[1]), (0, 0)), constant_values=255)
        for row in rows
    ]
    return np.concatenate(padded, 0)


def _heat(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """White, red, dark red for 0, 0.5, 1, as LAM_Demo colours maps: (h, w) -> (h, w, 3)."""
    stops = ((255, 255, 127.5), (255, 0, 0), (255, 0, 0))
    return np.stack([np.interp(values, (0, 0.5, 1), colour) for colour in stops], -1)


def _blend(picture: Picture, values: NDArray[np.float64]) -> Picture:
    mixed = ALPHA * picture + (1 - ALPHA) * _heat(values)
    return mixed.round().astype(np.uint8)


def _framed(picture: Picture, window: tuple[int, int, int]) -> Picture:
    x, y, side = window
    image = Image.fromarray(picture)
    ImageDraw.Draw(image).rectangle((x, y, x + side - 1, y + side - 1), outline=_RED, width=2)
    return np.asarray(image)


def _captioned(picture: Picture, text: str) -> Picture:
    width = max(1, round(picture.shape[1] * _TILE / picture.shape[0]))
    tile = Image.new("RGB", (width, _TILE + _LINE), "white")
    shown = Image.fromarray(picture).resize((width, _TILE), Image.Resampling.LANCZOS)
    tile.paste(shown, (0, _LINE))
    font = ImageFont.load_default(_FONT_SIZE)
    ImageDraw.Draw(tile).text((4, 2), text, fill="black", font=font)
    return np.asarray(tile)
