import hashlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hitsr.base.errors import DataError
from hitsr.data.images import Picture, read_image, write_png
from hitsr.data.patches import Patches
from hitsr.data.sources import pairs, prepare, read_pair


def enlarge(lr: Picture, scale: int) -> Picture:
    """Repeat every LR pixel, so that each HR patch is its LR patch with pixels repeated."""
    return lr.repeat(scale, axis=0).repeat(scale, axis=1)


def picture_pairs(scale: int, *shapes: tuple[int, int]) -> list[tuple[Picture, Picture]]:
    random = np.random.default_rng(0)
    pictures = [random.integers(0, 256, (*shape, 3), dtype=np.uint8) for shape in shapes]
    return [(lr, enlarge(lr, scale)) for lr in pictures]


def test_batches_are_float_in_the_unit_range() -> None:
    pictures = picture_pairs(3, (9, 12), (10, 8))
    lr, hr = Patches(pictures, scale=3, patch=8, batch=5, seed=1).at(0)
    assert (lr.shape, hr.shape) == ((5, 3, 8, 8), (5, 3, 24, 24))
    for batch in (lr, hr):
        assert batch.dtype == np.float32
        assert batch.flags.c_contiguous
        assert 0 <= batch.min() < 0.1 < 0.9 < batch.max() <= 1


def test_lr_and_hr_stay_aligned() -> None:
    patches = Patches(picture_pairs(2, (9, 12), (10, 8)), scale=2, patch=6, batch=32, seed=1)
    lr, hr = patches.at(7)
    np.testing.assert_array_equal(hr, lr.repeat(2, axis=2).repeat(2, axis=3))


def test_a_batch_is_a_function_of_seed_and_step() -> None:
    pictures = picture_pairs(2, (20, 20))
    one, again = (Patches(pictures, scale=2, patch=4, batch=8, seed=1) for _ in range(2))
    later = one.at(9)[0]
    one.at(3)
    np.testing.assert_array_equal(again.at(9)[0], later)
    assert not np.array_equal(one.at(8)[0], later)
    other = Patches(pictures, scale=2, patch=4, batch=8, seed=2)
    assert not np.array_equal(other.at(9)[0], later)


def test_all_eight_symmetries_come_up_equally_often() -> None:
    lr = np.arange(4 * 4 * 3, dtype=np.uint8).reshape(4, 4, 3)
    patches = Patches([(lr, enlarge(lr, 2))], scale=2, patch=4, batch=800, seed=0)
    seen, counts = np.unique(patches.at(0)[0].reshape(800, -1), axis=0, return_counts=True)
    assert len(seen) == 8
    assert counts.min() > 60


@pytest.mark.parametrize("size", [(9, 12), (8, 8)])
def test_symmetries_are_those_of_numpy(size: tuple[int, int]) -> None:
    """Eight, each a rotation by quarter turns and then perhaps a reflection; rows apart or not."""
    lr = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    patches = Patches([(lr, enlarge(lr, 2))], scale=2, patch=8, batch=1200, seed=0)
    samples = np.zeros(patches.shapes[0], np.uint8), np.zeros(patches.shapes[1], np.uint8)
    patches.cut(3, *samples)
    parts = [
        lr[top : top + 8, left : left + 8]
        for top in range(size[0] - 7)
        for left in range(size[1] - 7)
    ]
    views = [np.rot90(part, turns) for part in parts for turns in range(4)]
    expected = {view.tobytes() for turned in views for view in (turned, turned[:, ::-1])}
    assert len(expected) == 8 * len(parts)
    assert {sample.tobytes() for sample in samples[0]} == expected
    np.testing.assert_array_equal(samples[1], samples[0].repeat(2, axis=1).repeat(2, axis=2))


def test_a_batch_is_its_samples_divided_by_255() -> None:
    patches = Patches(picture_pairs(2, (40, 40)), scale=2, patch=16, batch=8, seed=1)
    samples = tuple(np.empty(shape, np.uint8) for shape in patches.shapes)
    patches.cut(4, *samples)
    for floats, bytes_ in zip(patches.at(4), samples, strict=True):
        expected = (bytes_ / np.float32(255)).transpose(0, 3, 1, 2)
        assert floats.tobytes() == expected.astype(np.float32).tobytes()


def test_all_positions_and_pictures_come_up_equally_often() -> None:
    lr = np.zeros((3, 4, 3), np.uint8)
    lr[...] = np.arange(12).reshape(3, 4, 1)
    pictures = [(lr, enlarge(lr, 2)), (lr + 100, enlarge(lr + 100, 2))]
    patches = Patches(pictures, scale=2, patch=1, batch=2400, seed=0)
    seen, counts = np.unique(patches.at(0)[0][:, 0], return_counts=True)
    assert len(seen) == 24
    assert 60 < counts.min() < counts.max() < 150


def test_pictures_stay_uint8_and_unchanged() -> None:
    pictures = picture_pairs(2, (9, 9))
    before = pictures[0][0].copy()
    patches = Patches(pictures, scale=2, patch=4, batch=2, seed=0)
    patches.at(0)[0][:] = 0
    assert all(image.dtype == np.uint8 for pair in patches.pictures for image in pair)
    np.testing.assert_array_equal(pictures[0][0], before)


def test_packs_and_arrays_give_the_same_batches(tmp_path: Path) -> None:
    for seed, name in enumerate(("ant", "bee")):
        hr = np.random.default_rng(seed).integers(0, 256, (13 + seed, 19, 3), np.uint8)
        write_png(tmp_path / "HR" / f"{name}.png", hr)
    sources = {name: tmp_path / "HR" / f"{name}.png" for name in ("ant", "bee")}
    prepare(sources, tmp_path, (2,), lambda _: None)
    packs, make = tmp_path / "packs", {"scale": 2, "batch": 30, "seed": 3}
    packed = Patches.from_folder(tmp_path, patch=5, packs=packs, quiet=True, **make)
    arrays = Patches([read_pair(pair, 2) for pair in pairs(tmp_path, 2)], patch=5, **make)
    for step in (0, 1, 40):
        for found, expected in zip(packed.at(step), arrays.at(step), strict=True):
            assert found.tobytes() == expected.tobytes()
    with pytest.raises(DataError, match=r"antx2\.png: 9x6 is smaller than the patch of 7"):
        Patches.from_folder(tmp_path, patch=7, packs=packs, quiet=True, **make)


def test_batches_stay_the_same_from_version_to_version() -> None:
    """A later version of this code must be able to resume or repeat a run."""
    patches = Patches(picture_pairs(2, (9, 12), (10, 8)), scale=2, patch=4, batch=64, seed=1)
    lr, hr = patches.at(7)
    digest = hashlib.sha256(lr.tobytes() + hr.tobytes()).hexdigest()
    assert digest == "f8de2074677e06588aac3c0759c4e6a54b203c0774ffe563905721a553e690f3"


def test_errors_name_the_picture() -> None:
    pictures = picture_pairs(2, (20, 20), (20, 7))
    with pytest.raises(DataError, match="picture 1: 7x20 is smaller than the patch of 8"):
        Patches(pictures, scale=2, patch=8, batch=1, seed=0)
    with pytest.raises(DataError, match=r"picture 0: .*not a x3 pair"):
        Patches(pictures, scale=3, patch=4, batch=1, seed=0)
    with pytest.raises(DataError, match="no pictures"):
        Patches([], scale=2, patch=4, batch=1, seed=0)
    with pytest.raises(ValueError, match="seed >= 0"):
        Patches(pictures, scale=2, patch=4, batch=1, seed=-1)
    with pytest.raises(ValueError, match="step must be 0 or more"):
        Patches(pictures, scale=2, patch=4, batch=1, seed=0).at(-1)


@pytest.mark.parametrize("mode", ["L", "LA", "1", "P"])
def test_grey_pictures_are_trained_on_as_three_equal_channels(tmp_path: Path, mode: str) -> None:
    grey = np.random.default_rng(0).integers(0, 2, (16, 16), np.uint8) * 255
    (tmp_path / "HR").mkdir()
    Image.fromarray(grey).convert(mode).save(tmp_path / "HR/a.png")
    prepare({"a": tmp_path / "HR/a.png"}, tmp_path, (2,), lambda _: None)
    made = {"scale": 2, "batch": 2, "seed": 3, "packs": tmp_path / "packs", "quiet": True}
    for batch in Patches.from_folder(tmp_path, patch=8, **made).at(0):
        np.testing.assert_array_equal(batch, batch[:, :1].repeat(3, axis=1))
    assert sorted(read_image(tmp_path / "HR/a.png").ravel()) == sorted(grey.repeat(3))
