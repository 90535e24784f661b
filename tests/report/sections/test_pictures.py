import io
import json

import numpy as np
import pytest
from PIL import Image

from hitsr.base.errors import DataError
from hitsr.report.crops import Box, around, busiest_window, disputed_window, read
from hitsr.report.embedding import relative_uri
from hitsr.report.explorer import explored_sets, explorer_data
from hitsr.report.restored import Restored, restored_sets
from hitsr.report.sections.pictures import choose, methods_of, shown_pictures


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


def test_disputed_window_is_where_pictures_differ_whoever_is_better():
    images = [np.full((60, 80, 3), 128, np.uint8) for _ in range(3)]
    images[1][10:20, 30:40] = 255
    window = disputed_window(images, (20, 20))
    assert window == disputed_window(images[::-1], (20, 20))
    assert window.left <= 30 <= 40 <= window.left + window.width
    assert window.top <= 10 <= 20 <= window.top + window.height


def test_a_region_stays_inside_the_picture():
    assert around(Box(0, 0, 10, 10), (40, 30), (100, 80)) == Box(0, 0, 40, 30)
    assert around(Box(95, 75, 4, 4), (40, 30), (100, 80)) == Box(60, 50, 40, 30)
    assert around(Box(5, 5, 2, 2), (40, 30), (20, 20)) == Box(0, 0, 20, 20)


def only_set(folder) -> Restored:
    (restored,) = restored_sets(folder.evidence())
    return restored


def test_the_picture_is_the_one_that_bicubic_does_worst(finished):
    assert choose(only_set(finished)) == "brick"


def test_the_row_has_hr_bicubic_and_each_network_of_the_config(finished):
    (row,) = shown_pictures(finished.evidence())
    assert [cutout.method for cutout in row.cutouts] == ["hr", "swinir_light", "bicubic", "hit_sir"]
    shown = {cutout.method: cutout for cutout in row.cutouts}
    assert shown["hr"].psnr_db == ""
    assert shown["bicubic"].psnr_db == "30.00"
    assert row.columns == 2
    assert row.region == Box(0, 0, 60, 40)
    assert row.finding.startswith("“brick” of “test” ×2: 30.50 to 31.00")


def test_networks_of_ones_own_come_after_the_pairs(configured):
    folder = configured(own={"mine": {"source": "mine.py:build", "scales": [2]}}).everything()
    assert methods_of(folder.evidence())[-1] == "mine"
    (row,) = shown_pictures(folder.evidence())
    assert row.cutouts[-1].crop is None
    assert not row.is_paired


def test_a_crop_has_the_pixels_of_the_restored_picture(full):
    (row,) = shown_pictures(full.evidence())
    crop = next(cutout.crop for cutout in row.cutouts if cutout.method == "hit_sir")
    with Image.open(full.path / "pictures/hit_sir-x2-s1.test/brick.png") as picture:
        expected = np.asarray(picture)
    with Image.open(io.BytesIO(crop.data)) as shown:
        assert np.array_equal(np.asarray(shown), expected)


def test_there_is_a_row_for_each_set_at_each_scale(configured):
    folder = configured(data__test=["test", "Set5"], train__scales=[2, 3]).everything()
    assert [row.key for row in shown_pictures(folder.evidence())] == ["test-x2", "Set5-x2"]


def test_a_network_without_pictures_keeps_its_place(full):
    for path in (full.path / "pictures/hit_sir-x2-s1.test").iterdir():
        path.unlink()
    (row,) = shown_pictures(full.evidence())
    assert row.cutouts[-1].method == "hit_sir"
    assert row.cutouts[-1].crop is None


def test_the_first_seed_is_shown(configured):
    folder = configured(train__seeds=[9, 10]).everything()
    assert only_set(folder).folders["hit_sir"].name == "hit_sir-x2-s9.test"


def test_without_pictures_there_is_no_row(folder):
    assert shown_pictures(folder.evidence()) == []
    assert explored_sets(folder.evidence()) == []


def without_hashes(full):
    """As records were before they named the files of their pictures."""
    path = full.output("quality", "hit_sir-x2-s1.test")
    pictures = json.loads(path.read_text())["pictures"]
    for picture in pictures:
        picture["sr_sha256"] = None
    full.edit("quality", "hit_sir-x2-s1.test", pictures=pictures)


def test_a_picture_of_another_size_is_named(full):
    without_hashes(full)
    path = full.path / "pictures/hit_sir-x2-s1.test/brick.png"
    Image.new("RGB", (30, 20)).save(path)
    with pytest.raises(DataError, match="30 x 20"):
        shown_pictures(full.evidence())


def test_a_truncated_picture_is_named(full):
    without_hashes(full)
    path = full.path / "pictures/hit_sir-x2-s1.test/brick.png"
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(DataError, match=r"brick\.png"):
        shown_pictures(full.evidence())


def test_the_explorer_has_every_picture_and_crops_where_networks_differ_most(full, monkeypatch):
    monkeypatch.setattr("hitsr.report.explorer.CROPPED", 1)
    full.quality("hit_sir-x2-s1", "test", (31.0, 33.0))
    (explored,) = explored_sets(full.evidence())
    assert explored.methods == ("bicubic", "swinir_light", "hit_sir")
    assert explored.pair == ("swinir_light", "hit_sir")
    brick, cat = explored.pictures
    assert (brick.name, brick.crops) == ("brick", {})
    assert cat.psnr_db == {"bicubic": 31.0, "swinir_light": 31.5, "hit_sir": 33.0}
    assert set(cat.crops) == {"hr", "bicubic", "swinir_light", "hit_sir"}


def test_the_explorers_data_is_plain_and_leaves_out_what_is_infinite(full):
    full.quality("hit_sir-x2-s1", "test", (31.0, None))
    (data,) = json.loads(json.dumps(explorer_data(explored_sets(full.evidence()), relative_uri)))
    assert data["pictures"][0]["crops"]["hr"] == "pictures/test-x2/brick.hr.crop.webp"
    assert data["pictures"][1]["psnr"] == {"bicubic": 31.0, "swinir_light": 31.5}


def test_photographs_are_cut_as_exif_turns_them(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    lying = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    Image.fromarray(lying).save(tmp_path / "turned.png", exif=exif)
    assert np.array_equal(read(tmp_path / "turned.png"), np.rot90(lying, -1))
