import base64
import re
from pathlib import Path

import numpy as np
import pytest

from hitsr.base.errors import DataError
from hitsr.upscaling.gallery import gallery
from hitsr.upscaling.tasks import UpscaleTask
from hitsr.upscaling.user_pictures import UserPicture, decode, encode


def _file(path: Path, side: int, form: str) -> UserPicture:
    samples = np.random.default_rng(side).integers(0, 256, (side, side + 1, 3), np.uint8)
    picture = UserPicture(samples, None, None, "png")
    path.write_bytes(encode(picture, form, str(path)))
    return picture


def test_pictures_before_and_after_are_embedded(tmp_path: Path):
    before = _file(tmp_path / "a.tif", 4, "tiff")
    after = _file(tmp_path / "a.png", 8, "png")
    page = gallery([UpscaleTask(tmp_path / "a.tif", tmp_path / "a.png", "png")], "Upscaled <b>")
    inside = [base64.b64decode(part) for part in re.findall(r"base64,([^\"]+)", page)]
    assert inside[1] == (tmp_path / "a.png").read_bytes()
    for data, picture in zip(inside, (before, after), strict=True):
        np.testing.assert_array_equal(decode(data, "inside").colour, picture.colour)
    assert "5×4 → 9×8 pixels" in page
    assert "Upscaled &lt;b&gt;" in page


def test_the_page_fetches_nothing(tmp_path: Path):
    _file(tmp_path / "a.png", 4, "png")
    page = gallery([UpscaleTask(tmp_path / "a.png", tmp_path / "a.png", "png")], "One")
    assert re.findall(r"(?:src|href)=\"(?!data:)|https?:|url\(", page) == []


def test_a_missing_template_raises(tmp_path: Path):
    with pytest.raises(DataError, match="restore it from the repository"):
        gallery([], "None", tmp_path)
