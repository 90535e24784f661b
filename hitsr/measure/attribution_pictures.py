"""Draw attribution maps: one laid over its picture, or many on a contact sheet."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from hitsr.data.bicubic import imresize
from hitsr.data.images import Picture
from hitsr.measure.attribution_maps import density

ALPHA = 0.5  # opacity of the picture under a map
_RED = (255, 0, 0)
_PANEL_HEIGHT = 256  # of a picture on a sheet, in pixels
_CAPTION_HEIGHT = 20
_FONT_SIZE = 14


def overlay(
    lr: Picture, importance: NDArray[np.float64], window: tuple[int, int, int], scale: int
) -> Picture:
    """Three panels side by side: the window framed, the map, and the map's kernel density.

    All are drawn on the upscaled picture. (h, w, 3) and an (h, w) map in [0, 1]
    -> (h*scale, 3*w*scale, 3).
    """
    picture = imresize(lr, scale)
    spread = density(importance)
    layers = (importance, spread / spread.max())
    mixed = [_blend(picture, np.kron(layer, np.ones((scale, scale)))) for layer in layers]
    return np.concatenate([_framed(picture, window), *mixed], 1)


def contact_sheet(
    pictures: Sequence[Sequence[Picture]], captions: Sequence[Sequence[str]]
) -> Picture:
    """Rows of pictures, each with its caption above it, all scaled to the same height."""
    rows = [
        np.concatenate([_captioned(*each) for each in zip(row, texts, strict=True)], 1)
        for row, texts in zip(pictures, captions, strict=True)
    ]
    width = max(row.shape[1] for row in rows)
    padded = [
        np.pad(row, ((0, 0), (0, width - row.shape[1]), (0, 0)), constant_values=255)
        for row in rows
    ]
    return np.concatenate(padded, 0)


def _heat(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """LAM_Demo's colour map, before blending with the picture: (h, w) in [0, 1] -> (h, w, 3)."""
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
    width = max(1, round(picture.shape[1] * _PANEL_HEIGHT / picture.shape[0]))
    panel = Image.new("RGB", (width, _PANEL_HEIGHT + _CAPTION_HEIGHT), "white")
    shown = Image.fromarray(picture).resize((width, _PANEL_HEIGHT), Image.Resampling.LANCZOS)
    panel.paste(shown, (0, _CAPTION_HEIGHT))
    font = ImageFont.load_default(_FONT_SIZE)
    ImageDraw.Draw(panel).text((4, 2), text, fill="black", font=font)
    return np.asarray(panel)
