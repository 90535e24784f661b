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


def test_a_picture_that_cannot_be_shown_is_told(tmp_path: Path):
    tasks = []
    for name in ("a/x.png", "b/x.png", "b/gone.png", "n\udcff.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        _file(tmp_path / name, 4, "png")
        tasks.append(UpscaleTask(tmp_path / name, tmp_path / name, "png"))
    (tmp_path / "b/gone.png").unlink()
    (tmp_path / "a/x.png").write_bytes(b"damaged")
    told: list[str] = []
    page = gallery(tasks, "All", tell=told.append)
    assert [line.split(": not in the gallery: ")[0] for line in told] == [
        str(tmp_path / name) for name in ("a/x.png", "b/gone.png")
    ]
    assert re.findall("<b>(.+)</b>", page) == ["b/x.png", r"n\udcff.png"]
    page.encode()


@pytest.mark.parametrize("channels", [3, 4])
def test_16_bits_in_a_tiff_are_shown(tmp_path: Path, channels: int):
    samples = np.random.default_rng(0).integers(0, 2**16, (4, 5, channels), np.uint16)
    alpha = samples[..., 3] if channels == 4 else None
    picture = UserPicture(samples[..., :3], alpha, None, "png")
    (tmp_path / "a.tif").write_bytes(encode(picture, "tiff", "a"))
    told: list[str] = []
    task = UpscaleTask(tmp_path / "a.tif", tmp_path / "a.tif", "tiff")
    page = gallery([task], "One", tell=told.append)
    assert told == []
    data = base64.b64decode(re.findall(r"base64,([^\"]+)", page)[0])
    np.testing.assert_array_equal(decode(data, "inside").channels, samples)


def test_the_page_fetches_nothing(tmp_path: Path):
    _file(tmp_path / "a.png", 4, "png")
    page = gallery([UpscaleTask(tmp_path / "a.png", tmp_path / "a.png", "png")], "One")
    assert re.findall(r"(?:src|href)=\"(?!data:)|https?:|url\(", page) == []


def test_a_missing_template_raises(tmp_path: Path):
    with pytest.raises(DataError, match="restore it from the repository"):
        gallery([], "None", tmp_path)
