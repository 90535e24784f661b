import numpy as np
import pytest
from PIL import Image

from hitsr.errors import DataError
from hitsr.report.sections.pictures import Box, busiest_window, choose, picture_row


def test_busiest_window_finds_the_noise():
    image = np.full((60, 80, 3), 128, np.uint8)
    image[20:40, 50:70] = np.random.default_rng(0).integers(0, 255, (20, 20, 3))
    window = busiest_window(image, (20, 20))
    assert abs(window.left - 50) <= 1
    assert abs(window.top - 20) <= 1


def test_busiest_window_agrees_with_looking_at_every_window():
    image = np.random.default_rng(1).integers(0, 255, (12, 17, 3)).astype(np.uint8)
    grey = image.astype(float).mean(axis=2)
    energy = np.diff(grey, axis=0)[:, :-1] ** 2 + np.diff(grey, axis=1)[:-1] ** 2
    sums = {
        (top, left): energy[top : top + 4, left : left + 5].sum()
        for top in range(energy.shape[0] - 3)
        for left in range(energy.shape[1] - 4)
    }
    top, left = max(sums, key=sums.__getitem__)
    assert busiest_window(image, (5, 4)) == Box(left, top, 5, 4)


def test_a_flat_or_tiny_picture_has_a_window():
    assert busiest_window(np.zeros((3, 3, 3), np.uint8), (10, 10)) == Box(0, 0, 2, 2)


def test_the_picture_is_the_one_that_bicubic_does_worst(full):
    assert choose(full.evidence()).picture == "brick"


def test_the_row_has_hr_bicubic_and_each_network(full):
    row = picture_row(full.evidence())
    shown = {cutout.method: cutout for cutout in row.cutouts}
    assert shown["hr"].psnr_db == ""
    assert shown["bicubic"].psnr_db == "30.00"
    assert shown["hit_sir"].uri.startswith("data:image/webp;base64,")
    assert shown["hit_srf"].uri is None
    assert row.region == Box(0, 0, 60, 40)


def test_without_pictures_there_is_no_row(folder):
    assert picture_row(folder.evidence()) is None


def test_a_picture_of_another_size_is_named(full):
    path = full.path / "pictures/hit_sir-x2-s1.test/brick.png"
    Image.new("RGB", (30, 20)).save(path)
    with pytest.raises(DataError, match="30 x 20"):
        picture_row(full.evidence())


def test_a_truncated_picture_is_named(full):
    path = full.path / "pictures/hit_sir-x2-s1.test/brick.png"
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(DataError, match=r"brick\.png"):
        picture_row(full.evidence())
