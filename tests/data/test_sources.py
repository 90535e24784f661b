import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hitsr.base.errors import DataError
from hitsr.data.bicubic import imresize
from hitsr.data.images import Picture, crop_to_multiple, read_image, write_png
from hitsr.data.photographs import photographs
from hitsr.data.sources import pairs, prepare, read_pair

SCALES = (2, 3)


def noise(*shape: int, seed: int = 0) -> Picture:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def silent(line: str) -> None:
    assert line


@pytest.fixture
def sources(tmp_path: Path) -> dict[str, Path]:
    found = {name: tmp_path / "photos" / f"{name}.png" for name in ("ant", "bee")}
    for seed, path in enumerate(found.values()):
        write_png(path, noise(13, 22, 3, seed=seed))
    return found


@pytest.fixture
def prepared(tmp_path: Path, sources: dict[str, Path]) -> Path:
    prepare(sources, tmp_path / "set", SCALES, silent)
    return tmp_path / "set"


def snapshot(folder: Path) -> dict[Path, tuple[bytes, int]]:
    return {
        path: (path.read_bytes(), path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_the_split_follows_its_rule() -> None:
    for split in ("train", "test"):
        for photo in photographs(split):
            with Image.open(photo.locate()) as image:
                lossless_colour = image.format == "PNG" and image.mode == "RGB"
            alone = not photo.name.startswith("motorcycle")
            assert (photo.split == "test") == (lossless_colour and alone), photo.name
    names = [photo.name for photo in (*photographs("train"), *photographs("test"))]
    assert len(set(names)) == len(names) == 12
    assert [photo.name for photo in photographs("test")] == ["astronaut", "chelsea", "coffee"]


def test_a_file_with_another_hash_is_refused() -> None:
    photo = replace(photographs("test")[0], sha256="0" * 64)
    with pytest.raises(DataError, match=r"astronaut\.png: not the file that scikit-image 0\.26"):
        photo.locate()


def test_a_missing_file_or_package_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    photo = photographs("test")[0]
    with pytest.raises(DataError, match=r"gone\.png: no such file; install scikit-image 0\.26"):
        replace(photo, file="data/gone.png").locate()
    monkeypatch.setattr("hitsr.data.photographs.find_spec", lambda _: None)
    with pytest.raises(DataError, match=r"skimage is not installed; install scikit-image 0\.26"):
        photo.locate()


def test_finding_photographs_imports_no_big_package() -> None:
    code = (
        "import sys; from hitsr.data.photographs import photographs;"
        "[p.locate() for s in ('train', 'test') for p in photographs(s)];"
        "print({'skimage', 'matplotlib', 'torch', 'scipy'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_prepare_lays_out_full_hr_and_downscaled_crops(
    prepared: Path, sources: dict[str, Path]
) -> None:
    for name, source in sources.items():
        hr = read_image(source)
        np.testing.assert_array_equal(read_image(prepared / "HR" / f"{name}.png"), hr)
        for scale in SCALES:
            lr = read_image(prepared / "LR_bicubic" / f"X{scale}" / f"{name}x{scale}.png")
            expected = imresize(crop_to_multiple(hr, scale), 1 / scale)
            np.testing.assert_array_equal(lr, expected)


def test_prepare_continues_after_an_interruption(prepared: Path, sources: dict[str, Path]) -> None:
    before = snapshot(prepared)
    gone = prepared / "LR_bicubic" / "X2" / "beex2.png"
    gone.unlink()
    assert prepare(sources, prepared, SCALES, silent)[:2] == (1, 5)
    after = snapshot(prepared)
    assert after.pop(gone)[0] == before.pop(gone)[0]
    assert after == before


def test_prepare_leaves_hr_pictures_where_they_are(tmp_path: Path) -> None:
    hr = tmp_path / "HR" / "cat.jpg"
    hr.parent.mkdir()
    Image.fromarray(noise(8, 8, 3)).save(hr)
    assert prepare({"cat": hr}, tmp_path, (2,), silent)[:2] == (1, 1)
    assert list(hr.parent.iterdir()) == [hr]
    assert pairs(tmp_path, 2)[0].hr == hr


def test_prepare_never_overwrites_another_picture(prepared: Path, sources: dict[str, Path]) -> None:
    write_png(prepared / "HR" / "ant.png", noise(13, 22, 3, seed=9))
    before = snapshot(prepared)
    with pytest.raises(DataError, match=r"HR/ant\.png: not the picture in .*photos/ant\.png"):
        prepare(sources, prepared, SCALES, silent)
    assert snapshot(prepared) == before


def test_prepare_refuses_an_lr_of_another_size(prepared: Path, sources: dict[str, Path]) -> None:
    write_png(prepared / "LR_bicubic" / "X3" / "antx3.png", noise(6, 11, 3))
    with pytest.raises(DataError, match=r"antx3\.png: LR is 11x6, HR is 21x12: not a x3 pair"):
        prepare(sources, prepared, SCALES, silent)


def test_prepare_refuses_an_empty_set_and_tiny_pictures(
    tmp_path: Path, sources: dict[str, Path]
) -> None:
    with pytest.raises(DataError, match="no pictures to prepare"):
        prepare({}, tmp_path / "set", SCALES, silent)
    with pytest.raises(DataError, match=r"ant\.png: 22x13 is too small for x14"):
        prepare(sources, tmp_path / "set", (2, 14), silent)
    with pytest.raises(ValueError, match="2 or more"):
        prepare(sources, tmp_path / "set", (1, 2), silent)
    assert not (tmp_path / "set").exists()


def test_pairs_are_sorted_and_read_cropped(prepared: Path, sources: dict[str, Path]) -> None:
    found = pairs(prepared, 3)
    assert [pair.name for pair in found] == ["ant", "bee"]
    lr, hr = read_pair(found[0], 3)
    assert (lr.shape, hr.shape) == ((4, 7, 3), (12, 21, 3))
    np.testing.assert_array_equal(hr, read_image(sources["ant"])[:12, :21])


def test_pairs_name_what_is_missing(prepared: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere/HR: no such folder"):
        pairs(tmp_path / "nowhere", 2)
    with pytest.raises(DataError, match=r"LR_bicubic/X4: no such folder.*hitsr prepare"):
        pairs(prepared, 4)
    (prepared / "LR_bicubic" / "X2" / "antx2.png").unlink()
    with pytest.raises(DataError, match=r"X2/antx2\.png: missing.*hitsr prepare"):
        pairs(prepared, 2)


def test_pairs_suggest_the_right_name(prepared: Path) -> None:
    lr = prepared / "LR_bicubic" / "X2"
    (lr / "antx2.png").rename(lr / "ant_x2.png")
    with pytest.raises(DataError, match=r"ant_x2\.png: no picture in .*did you mean 'antx2'"):
        pairs(prepared, 2)


@pytest.mark.parametrize(("height", "width"), [(3, 7), (4, 8), (5, 7), (6, 11)])
def test_read_pair_refuses_other_sizes(prepared: Path, height: int, width: int) -> None:
    pair = pairs(prepared, 3)[0]
    write_png(pair.lr, noise(height, width, 3))
    message = f"LR is {width}x{height}, HR is 22x13: not a x3 pair; rerun `hitsr prepare`"
    with pytest.raises(DataError, match=message):
        read_pair(pair, 3)


def test_prepare_fills_folders_that_hold_other_files(
    tmp_path: Path, sources: dict[str, Path]
) -> None:
    for folder in ("HR", "LR_bicubic/X2"):
        (tmp_path / "set" / folder).mkdir(parents=True)
        (tmp_path / "set" / folder / "Thumbs.db").touch()
    assert prepare(sources, tmp_path / "set", (2,), silent)[:2] == (4, 0)
    assert len(pairs(tmp_path / "set", 2)) == 2


def test_prepare_works_in_a_folder_that_only_others_can_write(
    prepared: Path, sources: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, _: str) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    for file in prepared.rglob("prepared.json"):
        file.unlink()
    monkeypatch.setattr("hitsr.data.origins.write_text", refuse)
    said: list[str] = []
    assert prepare(sources, prepared, (2,), said.append)[:2] == (0, 4)
    assert "Permission denied; replaced HR pictures will not be noticed" in said[0]
