from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hitsr.base.errors import DataError
from hitsr.data.images import Picture, write_png
from hitsr.measure.metrics import psnr, ssim
from hitsr.measure.quality import score_folders


def _picture(height: int, width: int, seed: int = 0) -> Picture:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """SR and HR folders with pictures `a` (odd-sized HR) and `b` (SR named as LR files are)."""
    sr, hr = tmp_path / "sr", tmp_path / "hr"
    write_png(hr / "a.png", _picture(33, 35))
    write_png(hr / "b.png", _picture(32, 32, 1))
    write_png(sr / "a.png", _picture(32, 34, 2))
    write_png(sr / "bx2.png", _picture(32, 32, 1))
    return sr, hr


def _score(folders: tuple[Path, Path], scale: int = 2):
    return score_folders(*folders, scale, quiet=True)


def test_scores_each_picture_inside_its_border(folders: tuple[Path, Path]):
    scores = _score(folders)
    assert [score.name for score in scores] == ["a", "b"]
    sr, hr = _picture(32, 34, 2), _picture(33, 35)[:32, :34]
    assert scores[0].psnr_db == psnr(sr, hr, border=2)
    assert scores[0].ssim == ssim(sr, hr, border=2)


def test_identical_pictures_have_no_finite_psnr(folders: tuple[Path, Path]):
    same = _score(folders)[1]
    assert same.psnr_db is None
    assert same.ssim == pytest.approx(1)


def test_a_name_may_end_like_a_scale(folders: tuple[Path, Path]):
    sr, hr = folders
    write_png(hr / "ax2.png", _picture(32, 32))
    write_png(sr / "ax2.png", _picture(32, 32))
    assert [score.name for score in _score(folders)] == ["a", "ax2", "b"]


def test_a_missing_picture_is_named_with_its_nearest(folders: tuple[Path, Path]):
    (folders[0] / "bx2.png").rename(folders[0] / "bx3.png")
    with pytest.raises(DataError, match=r"no SR picture for .*b\.png; .* did you mean 'bx3'"):
        _score(folders)


def test_a_stray_picture_is_an_error(folders: tuple[Path, Path]):
    write_png(folders[0] / "c.png", _picture(32, 32))
    with pytest.raises(DataError, match=r"c\.png: no HR picture"):
        _score(folders)


def test_two_candidates_are_an_error(folders: tuple[Path, Path]):
    write_png(folders[0] / "ax2.png", _picture(32, 34))
    with pytest.raises(DataError, match="both a and ax2 match a"):
        _score(folders)


@pytest.mark.parametrize("size", [(33, 35), (48, 51), (24, 24)])
def test_another_size_is_an_error_that_blames_no_scale(
    folders: tuple[Path, Path], size: tuple[int, int]
):
    """Uncropped, of x3, or of an HR picture that was cropped to multiples of 12."""
    write_png(folders[0] / "a.png", _picture(*size))
    told = f"SR is {size[1]}x{size[0]}, HR is 35x33: a x2 SR of it would be 34x32; score it at its"
    with pytest.raises(DataError, match=rf"a\.png: {told} own scale, and against the HR picture"):
        _score(folders)


def _renamed(folder: Path, before: str, after: str) -> None:
    for path, name in zip(sorted(folder.iterdir()), "ab", strict=True):
        path.rename(folder / f"{before}{name}{after}.png")


@pytest.mark.parametrize(
    ("before", "after"),
    [("", "_SwinIR"), ("", "x2"), ("", "_x2_SwinIR"), ("", "x2_out"), ("SR_", ""), ("SR-", "-x2"),
     ("", "SR"), ("", "_a")],
)  # fmt: skip
def test_names_of_sr_pictures_may_all_be_extended_alike(
    folders: tuple[Path, Path], before: str, after: str, capsys: pytest.CaptureFixture[str]
):
    expected = _score(folders)
    _renamed(folders[0], before, after)
    assert score_folders(*folders, 2) == expected
    assert (f"pictures are named {before}NAME{after}" in capsys.readouterr().err) == (after != "x2")


def test_one_name_within_another_keeps_its_own_picture(folders: tuple[Path, Path]):
    sr, hr = folders
    _renamed(sr, "", "_net")
    for folder, name in ((hr, "a_net"), (sr, "a_net_net")):
        write_png(folder / f"{name}.png", _picture(32, 32, 5))
    assert [(score.name, score.psnr_db is None) for score in _score(folders)] == [
        ("a", False),
        ("a_net", True),
        ("b", True),
    ]


@pytest.mark.parametrize("after", ["x4", "_x4_net"])
def test_pictures_named_by_another_scale_are_an_error(folders: tuple[Path, Path], after: str):
    _renamed(folders[0], "", after)
    with pytest.raises(DataError, match=f"named NAME{after}, but the scale is 2; correct --scale"):
        _score(folders)


def test_the_missing_one_of_pictures_named_alike_is_named(folders: tuple[Path, Path]):
    _renamed(folders[0], "", "_net")
    write_png(folders[1] / "longer.png", _picture(32, 32))
    told = r"no SR picture for .*longer\.png; it must be named longer_net, as 2 of 3 are"
    with pytest.raises(DataError, match=told):
        _score(folders)


def test_pictures_of_two_networks_are_an_error(folders: tuple[Path, Path]):
    _renamed(folders[0], "", "_one")
    for name in ("a", "b"):
        write_png(folders[0] / f"{name}_two.png", _picture(32, 32))
    with pytest.raises(DataError, match="a_one and a_two both match a; keep the SR pict"):
        _score(folders)


@pytest.mark.parametrize(
    ("hr", "sr"), [("man", "woman"), ("1", "10"), ("a", "ab"), ("a", "banana")]
)
def test_a_name_within_a_word_or_number_is_not_extended(tmp_path: Path, hr: str, sr: str):
    for folder, name in (("hr", hr), ("sr", sr)):
        write_png(tmp_path / folder / f"{name}.png", _picture(32, 32))
    with pytest.raises(DataError, match=rf"no SR picture for .*{hr}\.png; it must be named"):
        score_folders(tmp_path / "sr", tmp_path / "hr", 2, quiet=True)


def test_too_small_to_score_is_an_error(folders: tuple[Path, Path]):
    write_png(folders[0] / "a.png", _picture(12, 12))
    write_png(folders[1] / "a.png", _picture(12, 12))
    with pytest.raises(DataError, match=r"a\.png: cannot be scored: .*; leave the picture out"):
        _score(folders)


def test_rgb_is_scored_too_and_grey_where_the_picture_is(folders: tuple[Path, Path]) -> None:
    sr, hr = folders
    grey = np.repeat(_picture(40, 48)[..., :1], 3, axis=2)
    write_png(hr / "bridge.png", grey)
    write_png(sr / "bridge.png", np.clip(grey.astype(int) + 5, 0, 255).astype(np.uint8))
    scores = {score.name: score for score in _score(folders)}
    assert scores["a"].rgb is not None
    assert scores["a"].grey is None
    bridge = scores["bridge"]
    assert bridge.rgb is not None
    assert bridge.grey is not None
    # RGB scores equal grey scores; luma spans fewer levels and scores higher.
    assert bridge.rgb.psnr_db == pytest.approx(bridge.grey.psnr_db)
    assert bridge.psnr_db is not None
    assert bridge.grey.psnr_db is not None
    assert bridge.psnr_db > bridge.grey.psnr_db + 1


def test_other_metrics_get_both_pictures_without_border(folders: tuple[Path, Path]) -> None:
    seen = []

    def size(sr: Picture, hr: Picture) -> float:
        seen.append((sr.shape, hr.shape))
        return 1.5

    scores = score_folders(*folders, 2, {"size": size}, quiet=True)
    assert all(score.others == {"size": 1.5} for score in scores)
    assert sorted(seen) == [((28, 28, 3),) * 2, ((28, 30, 3),) * 2]


def test_a_metric_that_fails_for_a_picture_says_why_and_the_rest_stands(
    folders: tuple[Path, Path],
) -> None:
    def picky(sr: Picture, _: Picture) -> float:
        assert sr.shape[1] > 28
        return 1.5

    def silent(*_: Picture) -> float:
        raise AssertionError

    def undefined(*_: Picture) -> float:
        raise DataError("the metric's value is nan")

    metrics = {"picky": picky, "silent": silent, "undefined": undefined}
    first, second = score_folders(*folders, 2, metrics, quiet=True)
    assert first.others == {"picky": 1.5}
    assert second.others == {}
    assert first.unavailable == {
        "silent": "AssertionError",
        "undefined": "the metric's value is nan",
    }
    assert second.unavailable["picky"].startswith("AssertionError: assert 28 > 28")
    assert second.psnr_db is None
    assert first.psnr_db == _score(folders)[0].psnr_db


@pytest.mark.parametrize("grey_side", ["sr", "hr", "both"])
def test_a_one_channel_file_stands_for_three_equal_channels(tmp_path: Path, grey_side: str) -> None:
    pictures = {"sr": _picture(40, 48), "hr": _picture(40, 48, 1)}
    for role, picture in pictures.items():
        is_grey_file = grey_side in (role, "both")
        pictures[role] = np.repeat(picture[..., :1], 3, axis=2) if is_grey_file else picture
        (tmp_path / role).mkdir()
        samples = picture[..., 0] if is_grey_file else picture
        Image.fromarray(samples).save(tmp_path / role / "a.png")
    (score,) = score_folders(tmp_path / "sr", tmp_path / "hr", 2, quiet=True)
    assert score.psnr_db == psnr(pictures["sr"], pictures["hr"], 2)
    assert score.rgb is not None
    assert score.rgb.ssim == ssim(pictures["sr"], pictures["hr"], 2, "rgb")
    assert (score.grey is None) == (grey_side == "sr")
    assert score.one_channel == (("sr", "hr") if grey_side == "both" else (grey_side,))


def test_all_pictures_that_cannot_be_scored_are_named(folders: tuple[Path, Path]):
    (folders[0] / "a.png").write_bytes(b"no picture")
    write_png(folders[0] / "bx2.png", _picture(30, 30))
    with pytest.raises(DataError) as told:
        _score(folders)
    first, second = str(told.value).splitlines()
    assert str(folders[0] / "a.png") in first
    assert str(folders[0] / "bx2.png") in second
