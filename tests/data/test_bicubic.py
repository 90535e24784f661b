import hashlib
import json
import math
import os
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from hitsr.data.bicubic import imresize
from hitsr.data.images import Picture, crop_to_multiple, list_pictures, read_image
from hitsr.data.photographs import photographs

HERE = Path(__file__).parent
SET5 = Path(os.environ.get("HITSR_SET5", HERE.parents[1] / "data" / "Set5"))
PHOTOGRAPHS = {photo.name: photo for photo in (*photographs("test"), *photographs("train"))}


def noise(*shape: int) -> Picture:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def digest(image: Picture) -> str:
    """SHA-256 of a picture's shape and samples, independent of any file format."""
    content = repr(image.shape).encode() + np.ascontiguousarray(image).tobytes()
    return hashlib.sha256(content).hexdigest()


@pytest.mark.skipif(not SET5.is_dir(), reason="Set5 is not here; HITSR_SET5 names its folder")
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_set5_comes_out_as_published(scale: int) -> None:
    published = json.loads((HERE / "set5_lr_sha256.json").read_text())[f"X{scale}"]
    pictures = list_pictures(SET5 / "HR")
    made = {
        name: digest(imresize(crop_to_multiple(read_image(path), scale), 1 / scale))
        for name, path in pictures.items()
    }
    assert made == published


@pytest.mark.parametrize("name", ["astronaut", "camera", "chelsea", "coffee"])
def test_photographs_come_out_as_recorded(name: str) -> None:
    """Digests recorded by the code that reproduces Set5: a check where Set5 is not at hand."""
    recorded = json.loads((HERE / "resized_sha256.json").read_text())[name]
    image = read_image(PHOTOGRAPHS[name].locate())
    made = {factor: digest(imresize(image, float(Fraction(factor)))) for factor in recorded}
    assert made == recorded


def exact_kernel(x: Fraction) -> Fraction:
    """Keys' cubic convolution kernel in its general form, at a = -1/2."""
    x, a = abs(x), Fraction(-1, 2)
    if x < 1:
        return (a + 2) * x**3 - (a + 3) * x**2 + 1
    return a * (x**3 - 5 * x**2 + 8 * x - 4) if x < 2 else Fraction(0)


def exact_line(line: list[int], factor: Fraction) -> list[int]:
    """Resize one line in rational arithmetic, sample by sample."""
    size, shrink, resized = len(line), min(factor, Fraction(1)), []
    for output in range(math.ceil(size * factor)):
        centre = (output + Fraction(1, 2)) / factor - Fraction(1, 2)
        reach = math.ceil(2 / shrink) + 1
        nearby = range(math.floor(centre) - reach, math.ceil(centre) + reach + 1)
        weights = {at: exact_kernel(shrink * (centre - at)) for at in nearby}
        mirrored = {at: min(at % (2 * size), 2 * size - 1 - at % (2 * size)) for at in nearby}
        total = sum(weights[at] * line[mirrored[at]] for at in nearby) / sum(weights.values())
        resized.append(min(255, max(0, math.floor(total + Fraction(1, 2)))))
    return resized


@pytest.mark.parametrize("factor", ["1/2", "1/3", "1/4", "1/8", "2", "3", "4"])
@pytest.mark.parametrize("shape", [(8, 6), (5, 7), (1, 3)])
def test_agrees_with_exact_arithmetic(factor: str, shape: tuple[int, int]) -> None:
    image, exact = noise(*shape), Fraction(factor)
    columns = np.array([exact_line(column, exact) for column in image.T.tolist()]).T
    expected = np.array([exact_line(row, exact) for row in columns.tolist()])
    np.testing.assert_array_equal(imresize(image, float(exact)), expected)


@pytest.mark.parametrize("factor", [1 / 2, 1 / 3, 1 / 4, 0.7, 1, 1.5, 2, 4])
def test_a_constant_stays_constant_and_the_size_is_the_ceiling(factor: float) -> None:
    for value in (0, 1, 200, 255):
        resized = imresize(np.full((11, 6, 3), value, np.uint8), factor)
        assert resized.shape == (math.ceil(11 * factor), math.ceil(6 * factor), 3)
        assert resized.dtype == np.uint8
        assert (resized == value).all()


def test_factor_one_changes_nothing() -> None:
    image = noise(9, 5, 3)
    np.testing.assert_array_equal(imresize(image, 1), image)


def test_the_input_is_neither_changed_nor_shared() -> None:
    image = noise(9, 5, 3)
    before = image.copy()
    imresize(image, 1)[:] = 0
    np.testing.assert_array_equal(image, before)


@pytest.mark.parametrize("factor", [1 / 2, 1 / 3, 1 / 4, 2])
def test_flipping_before_is_flipping_after(factor: float) -> None:
    image = noise(24, 36, 3)
    flipped = imresize(image[::-1, ::-1], factor)
    np.testing.assert_array_equal(flipped, imresize(image, factor)[::-1, ::-1])


def test_channels_are_resized_alone() -> None:
    image = noise(20, 30, 3)
    planes = [imresize(image[..., channel], 1 / 3) for channel in range(3)]
    np.testing.assert_array_equal(imresize(image, 1 / 3), np.stack(planes, axis=2))


@pytest.mark.parametrize(
    ("image", "factor", "message"),
    [
        (noise(4, 4, 3).astype(np.float32), 0.5, "uint8, got .* float32"),
        (noise(4, 4, 4), 0.5, r"got \(4, 4, 4\)"),
        (noise(4), 0.5, r"got \(4,\)"),
        (noise(0, 4, 3), 0.5, "empty"),
        (noise(4, 4, 3), 0, "above 0"),
        (noise(4, 4, 3), -2, "above 0"),
        (noise(4, 4, 3), math.nan, "finite"),
        (noise(4, 4, 3), math.inf, "finite"),
    ],
)
def test_refuses(image: Picture, factor: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        imresize(image, factor)
