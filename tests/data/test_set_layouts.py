"""Sets as others lay them out, with LR pictures of their own, go through prepare and pairs."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hitsr.base.errors import DataError
from hitsr.data.bicubic import imresize
from hitsr.data.images import Picture, read_image, write_png
from hitsr.data.origins import UNSTATED, degradation_of, origins_file
from hitsr.data.sources import find_pictures, pairs, prepare, read_pair
from hitsr.plan.picture_sets import hr_folder, lr_folder

NAMES = ("0001", "img_002", "Aisazu'NihaIrarenai")


def noise(seed: int) -> Picture:
    return np.random.default_rng(seed).integers(0, 256, (24, 36, 3), dtype=np.uint8)


def bicubic(hr: Picture) -> Picture:
    return imresize(hr, 1 / 2)


def own(hr: Picture) -> Picture:
    """LR of another degradation: every second pixel."""
    return np.ascontiguousarray(hr[::2, ::2])


def lay(
    folder: Path, hr: str, lr: str | None, degrade: Callable[[Picture], Picture] = bicubic
) -> None:
    """Write a set; `hr` and `lr` are paths within it, with {name}."""
    for seed, name in enumerate(NAMES):
        write_png(folder / hr.format(name=name), noise(seed))
        if lr:
            write_png(folder / lr.format(name=name), degrade(noise(seed)))


def complete(folder: Path) -> list[str]:
    """Prepare a set in place at x2, as the pipeline does; what it says."""
    said: list[str] = []
    prepare(find_pictures(folder, 2)[0], folder, (2,), said.append)
    return said


def snapshot(folder: Path) -> dict[Path, bytes]:
    found = (path for path in folder.rglob("*") if path.suffix == ".png")
    return {path: path.read_bytes() for path in found}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "Set5 [new]"


LAYOUTS = [
    ("HR/{name}.png", "LR_bicubic/X2/{name}x2.png"),  # HiT-SR, BasicSR, EDSR
    ("HR/{name}.png", "LR_bicubic/X2/{name}.png"),
    ("HR/{name}.png", "LR_bicubic/x2/{name}x2.png"),
    ("HR/{name}.png", "LR/X2/{name}.png"),
    ("HR/{name}.png", "LR/x2/{name}_x2.png"),
    ("HR/{name}.png", "LR/{name}.png"),
    ("HR/{name}.png", "X2/{name}.png"),
    ("HR/{name}.png", "x2/{name}x2.png"),
    ("HR/{name}.png", "LR_x2/{name}.png"),
    ("HR/{name}.png", "LR_unknown/X2/{name}x2.png"),
    ("HR/{name}.png", "LRBI/x2/{name}_LRBI_x2.png"),
    ("HR/x2/{name}_HR_x2.png", "LRBI/x2/{name}_LRBI_x2.png"),  # RCAN
    ("HR/Set5 [new]/x2/{name}_HR_x2.png", "LRBI/Set5 [new]/x2/{name}_LRBI_x2.png"),
    ("GTmod12/{name}.png", "LRbicx2/{name}.png"),  # BasicSR
    ("original/{name}.png", "LRbicx2/{name}.png"),
    ("DIV2K_train_HR/{name}.png", "DIV2K_train_LR_bicubic/X2/{name}x2.png"),
    ("DIV2K_train_HR/{name}.png", "DIV2K_train_LR_mild/{name}x2m.png"),
    ("image_SRF_2/{name}_SRF_2_HR.png", "image_SRF_2/{name}_SRF_2_LR.png"),  # SelfExSR
    ("{name}_SRF_2_HR.png", "{name}_SRF_2_LR.png"),
    ("HR/{name}_SRF_2_HR.png", "LR/X2/{name}_SRF_2_LR.png"),
    ("HR/{name}_HR.png", "LR/X2/{name}_LR2.png"),  # RealSR
    ("GT/{name}.png", "LQ/{name}.png"),
    ("DF2K_HR/{name}.png", "DF2K_bicubic_2x/{name}.png"),
    ("HR/{name}.png", "LRBD/x2/{name}_LRBD_x2.png"),  # endings that no code lists
    ("HR/{name}.png", "LR_mine/{name} (blurred).png"),
    ("DIV2K_train_HR/{name}.png", "DIV2K_train_LR_wild/{name}x2w1.png"),
    ("DF2K_train_HR/{name}.png", "DF2K_train_LR_bicubic/X2/{name}x2.png"),  # BasicSR
    ("Flickr2K_HR/{name}.png", "Flickr2K_LR_bicubic/X2/{name}x2.png"),
    ("DIV2K_train_HR_sub/{name}.png", "DIV2K_train_LR_bicubic/X2_sub/{name}.png"),
    ("DIV2K_train_HR_sub/{name}.png", "DIV2K_train_LR_bicubic_X2_sub/{name}.png"),
    ("HR_sub/{name}.png", "LR_bicubic/X2_sub/{name}.png"),
    ("HR/{name}.png", "LR_bicubic/X2_sub/{name}.png"),
]


@pytest.mark.parametrize(("hr", "lr"), LAYOUTS)
@pytest.mark.parametrize("degrade", [bicubic, own])
def test_given_lr_pictures_are_used_as_they_are(
    folder: Path, hr: str, lr: str, degrade: Callable[[Picture], Picture]
) -> None:
    lay(folder, hr, lr, degrade)
    before = snapshot(folder)
    said = complete(folder)
    assert snapshot(folder) == before
    found = pairs(folder, 2)
    assert [pair.name for pair in found] == sorted(NAMES)
    for pair in found:
        truth = noise(NAMES.index(pair.name))
        for read, expected in zip(read_pair(pair, 2), (degrade(truth), truth), strict=True):
            np.testing.assert_array_equal(read, expected)
    is_own = degrade is own
    assert degradation_of(folder, 2).startswith("given-" if is_own else "matlab-bicubic")
    assert [" 3 of 3 LR pictures, which are not the bicubic" in line for line in said] == (
        [True] if is_own else []
    )


@pytest.mark.parametrize("hr", dict.fromkeys(hr for hr, _ in LAYOUTS))
def test_lr_pictures_are_made_in_every_layout(folder: Path, hr: str) -> None:
    lay(folder, hr, None)
    complete(folder)
    for pair in pairs(folder, 2):
        np.testing.assert_array_equal(read_image(pair.lr), bicubic(read_image(pair.hr)))
    assert len(pairs(folder, 2)) == 3
    before = snapshot(folder)
    complete(folder)
    assert snapshot(folder) == before


def test_equal_degradations_have_equal_names_and_others_not(tmp_path: Path) -> None:
    for name, degrade in {"a": own, "b": own, "c": lambda hr: own(hr) // 2}.items():
        lay(tmp_path / name, *LAYOUTS[0], degrade)
        assert degradation_of(tmp_path / name, 2) == UNSTATED
        complete(tmp_path / name)
    a, b, c = (degradation_of(tmp_path / name, 2) for name in "abc")
    assert a == b != c


def test_other_files_beside_selfexsr_pictures_are_no_pictures_of_the_set(folder: Path) -> None:
    lay(folder, *LAYOUTS[17])
    write_png(folder / "image_SRF_2/0001_SRF_2_bicubic.png", noise(9))
    complete(folder)
    assert len(pairs(folder, 2)) == 3


@pytest.mark.parametrize(
    ("first", "second", "told"),
    [
        ("DIV2K_train_HR/a.png", "DIV2K_valid_HR/b.png", "keep one folder, or make a link with"),
        ("HR/a.png", "hr/a.png", "keep one folder"),
    ],
)
def test_several_folders_of_hr_pictures_are_told(
    folder: Path, first: str, second: str, told: str
) -> None:
    write_png(folder / first, noise(0))
    write_png(folder / second, noise(1))
    with pytest.raises(DataError, match=told):
        find_pictures(folder, 2)


def test_several_folders_of_lr_pictures_are_told(folder: Path) -> None:
    lay(folder, "HR/{name}.png", "LR/X2/{name}.png")
    lay(folder, "HR/{name}.png", "LR_bicubic/X2/{name}.png")
    with pytest.raises(DataError, match=r"LR pictures for x2 in .*LR/X2 and .*LR_bicubic/X2: keep"):
        pairs(folder, 2)
    (folder / "HR").rename(folder / "GTmod12")
    (folder / "original").mkdir()
    with pytest.raises(DataError, match="keep one folder"):
        pairs(folder, 2)


def test_a_link_named_hr_decides_between_folders(folder: Path) -> None:
    lay(folder, "DIV2K_train_HR/{name}.png", None)
    lay(folder, "DIV2K_valid_HR/{name}.png", None)
    (folder / "HR").symlink_to("DIV2K_train_HR")
    complete(folder)
    assert {pair.hr.parent for pair in pairs(folder, 2)} == {folder / "HR"}


@pytest.fixture
def basicsr(folder: Path) -> Path:
    """DIV2K as BasicSR's scripts leave it: whole pictures, and sub-images of both sizes."""
    for scale in (2, 3):
        for seed, name in enumerate(("0001", "0002")):
            hr, lr = noise(seed), imresize(noise(seed), 1 / scale)
            bicubic_lr = folder / "DIV2K_train_LR_bicubic"
            write_png(folder / f"DIV2K_train_HR/{name}.png", hr)
            write_png(bicubic_lr / f"X{scale}/{name}x{scale}.png", lr)
            for part in range(2):  # cut out of the LR, which is not the bicubic of what is cut out
                high, low = (slice(18 * part, 18 * part + 18), slice(part * 18 // scale, None))
                width = slice(low.start, low.start + 18 // scale)
                write_png(folder / f"DIV2K_train_HR_sub/{name}_s00{part + 1}.png", hr[:, high])
                write_png(bicubic_lr / f"X{scale}_sub/{name}_s00{part + 1}.png", lr[:, width])
    (folder / "DIV2K_train_HR_sub.lmdb").mkdir()
    (folder / "DIV2K_train_LR_bicubic_X2_sub.lmdb").mkdir()
    return folder


@pytest.mark.parametrize("scale", [2, 3])
@pytest.mark.parametrize(
    ("chosen", "names", "lr"),
    [
        ("DIV2K_train_HR", ["0001", "0002"], "X{scale}/0001x{scale}.png"),
        (
            "DIV2K_train_HR_sub",
            ["0001_s001", "0001_s002", "0002_s001", "0002_s002"],
            "X{scale}_sub/0001_s001.png",
        ),
    ],
)
def test_whole_pictures_and_sub_images_have_lr_of_their_own(
    basicsr: Path, scale: int, chosen: str, names: list[str], lr: str
) -> None:
    before = snapshot(basicsr)
    with pytest.raises(DataError, match=r"_HR and .*_HR_sub: keep one folder"):
        find_pictures(basicsr, scale)
    (basicsr / "HR").symlink_to(chosen)
    for _ in range(2):
        hr, _ = find_pictures(basicsr, scale)
        prepare(hr, basicsr, (scale,), lambda _: None)
        found = pairs(basicsr, scale)
        assert [pair.name for pair in found] == names
        assert found[0].lr == basicsr / "DIV2K_train_LR_bicubic" / lr.format(scale=scale)
    (basicsr / "HR").unlink()
    assert snapshot(basicsr) == before
    other = {"DIV2K_train_HR", "DIV2K_train_HR_sub"} - {chosen}
    (basicsr / other.pop()).rename(basicsr.parent / "elsewhere")
    assert pairs(basicsr, scale)[0].lr == found[0].lr


def test_sub_images_of_another_scale_are_not_taken(folder: Path) -> None:
    for scale in (2, 3):
        write_png(folder / "DIV2K_train_HR_sub/0001_s001.png", noise(0))
        lr = folder / f"DIV2K_train_LR_bicubic_X{scale}_sub/0001_s001.png"
        write_png(lr, imresize(noise(0), 1 / scale))
    for scale in (2, 3):
        (pair,) = pairs(folder, scale)
        assert pair.lr.parent.name == f"DIV2K_train_LR_bicubic_X{scale}_sub"


def test_given_lr_of_another_size_is_told(folder: Path) -> None:
    lay(folder, "HR/{name}.png", "LR/{name}.png", lambda hr: imresize(hr, 1 / 3))
    with pytest.raises(DataError, match=r"0001\.png: LR is 12x8, HR is 36x24: not a x2 pair") as e:
        complete(folder)
    assert str(e.value).count("not a x2 pair") == 3


def test_lr_that_is_missing_among_bicubic_ones_is_made_and_among_others_told(folder: Path) -> None:
    gone = "LR/X2/0001.png"
    lay(folder, "HR/{name}.png", "LR/X2/{name}.png")
    (folder / gone).unlink()
    complete(folder)
    np.testing.assert_array_equal(read_image(folder / gone), bicubic(noise(0)))
    lay(folder, "HR/{name}.png", "LR/X2/{name}.png", own)
    (folder / gone).unlink()
    origins_file(folder / "LR/X2").unlink()
    before = snapshot(folder)
    with pytest.raises(DataError, match="LR/X2: no LR for 0001, and the others are not bicubic"):
        complete(folder)
    assert snapshot(folder) == before


def test_lr_of_another_folder_is_taken_along(folder: Path, tmp_path: Path) -> None:
    lay(folder, "HR/{name}_HR_x2.png", "LRBI/x2/{name}_LRBI_x2.png", own)
    hr, lr = find_pictures(folder, 2)
    for _ in range(2):
        prepare(hr, tmp_path / "out", (2,), lambda _: None, lr.files)
        for pair in pairs(tmp_path / "out", 2):
            np.testing.assert_array_equal(read_image(pair.lr), own(read_image(pair.hr)))
    assert degradation_of(tmp_path / "out", 2) == degradation_of(tmp_path / "out", 2)


@pytest.mark.parametrize("lr", [None, "LR_bicubic/X2/{name}.png", "LRBI/x2/{name}_LRBI_x2.png"])
def test_a_replaced_hr_picture_gets_a_new_lr(folder: Path, lr: str | None) -> None:
    lay(folder, "HR/{name}.png", lr)
    complete(folder)
    before = snapshot(folder)
    write_png(folder / "HR/0001.png", noise(9))
    (told,) = complete(folder)
    assert "made anew, since the HR pictures changed: 0001" in told
    pair, *others = pairs(folder, 2)
    np.testing.assert_array_equal(read_image(pair.lr), bicubic(noise(9)))
    assert all(other.lr.read_bytes() == before[other.lr] for other in others)
    assert complete(folder) == []


def test_a_replaced_hr_picture_whose_lr_was_given_is_told(folder: Path) -> None:
    lay(folder, *LAYOUTS[0], own)
    complete(folder)
    write_png(folder / "HR/0001.png", noise(9))
    with pytest.raises(DataError, match=r"0001x2\.png: belongs to the HR picture before .*0001"):
        complete(folder)
    write_png(folder / "LR_bicubic/X2/0001x2.png", own(noise(9)))
    complete(folder)
    np.testing.assert_array_equal(read_image(pairs(folder, 2)[0].lr), own(noise(9)))


@pytest.mark.parametrize("lr", [None, LAYOUTS[0][1]])
def test_an_lr_that_was_edited_is_told(folder: Path, lr: str | None) -> None:
    lay(folder, LAYOUTS[0][0], lr)
    complete(folder)
    edited = folder / "LR_bicubic/X2/0001x2.png"
    Image.fromarray(bicubic(noise(0))).save(edited)  # the same picture in other bytes
    complete(folder)
    write_png(edited, own(noise(0)))
    with pytest.raises(DataError, match=r"0001x2\.png: was edited since .*; remove it"):
        complete(folder)
    edited.unlink()
    complete(folder)
    np.testing.assert_array_equal(read_image(edited), bicubic(noise(0)))


def test_the_lr_of_a_deleted_hr_picture_goes_if_it_can_be_made_again(folder: Path) -> None:
    lay(folder, LAYOUTS[0][0], None)
    complete(folder)
    (folder / "HR/0001.png").unlink()
    (told,) = complete(folder)
    assert "0001x2.png: removed, since its HR picture is gone" in told
    assert len(pairs(folder, 2)) == 2


def test_a_given_lr_without_hr_picture_is_kept_and_told(folder: Path) -> None:
    lay(folder, *LAYOUTS[0], own)
    complete(folder)
    (folder / "HR/0001.png").unlink()
    for read in (complete, lambda folder: pairs(folder, 2)):
        with pytest.raises(DataError, match=r"0001x2\.png: no picture in .*HR belongs to it"):
            read(folder)


def test_nothing_is_made_beside_lr_pictures_of_other_names(folder: Path) -> None:
    lay(folder, *LAYOUTS[0], own)
    lr = folder / "LR_bicubic/X2"
    (lr / "0001x2.png").rename(lr / "0001.png")
    before = snapshot(folder)
    with pytest.raises(
        DataError, match=r"0001\.png: here the LR of .* is to be called 0001x2\.png"
    ):
        complete(folder)
    (lr / "0001.png").rename(lr / "0001_x3.png")
    with pytest.raises(DataError, match=r"0001_x3\.png: no picture in .*HR belongs to it; did you"):
        complete(folder)
    assert sorted(before.values()) == sorted(snapshot(folder).values())


def test_the_lr_of_a_longer_name_is_not_taken_for_that_of_a_shorter_one(folder: Path) -> None:
    for seed, name in enumerate(("cat", "dog")):
        write_png(folder / f"HR/{name}.png", noise(seed))
    write_png(folder / "LR/cat_2x2.png", bicubic(noise(2)))
    with pytest.raises(DataError, match=r"cat_2x2\.png: no picture in .*HR belongs to it"):
        complete(folder)


def test_pictures_are_added_to_a_set_from_another_folder(folder: Path, tmp_path: Path) -> None:
    lay(folder, *LAYOUTS[0])
    write_png(tmp_path / "more/b.png", noise(9))
    prepare({"b": tmp_path / "more/b.png"}, folder, (2,), lambda _: None)
    assert len(pairs(folder, 2)) == 4


def test_a_damaged_list_of_origins_is_told(folder: Path) -> None:
    lay(folder, *LAYOUTS[0])
    complete(folder)
    for damage in ("", "{", "[]", '{"files": {"a.png": 1}}'):
        origins_file(folder / "LR_bicubic/X2").write_text(damage)
        with pytest.raises(
            DataError, match=r"prepared\.json: cannot be read or is damaged; delete"
        ):
            complete(folder)


def test_two_lr_pictures_of_one_hr_are_told(folder: Path) -> None:
    lay(folder, *LAYOUTS[0])
    write_png(folder / "LR_bicubic/X2/0001.png", own(noise(0)))
    with pytest.raises(DataError, match=r"0001\.png: 0001x2\.png is the LR of .*too; keep one"):
        pairs(folder, 2)


def test_a_damaged_lr_is_told_with_what_makes_it_again(folder: Path) -> None:
    lay(folder, LAYOUTS[0][0], None)
    complete(folder)
    lr = folder / "LR_bicubic/X2/0001x2.png"
    whole = lr.read_bytes()
    lr.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"0001x2\.png: truncated .*, or remove it to have it made"):
        complete(folder)
    lr.unlink()
    complete(folder)
    assert lr.read_bytes() == whole


def test_a_link_that_leads_to_itself_is_no_folder(tmp_path: Path) -> None:
    lay(tmp_path, "HR/{name}.png", None)
    for name in ("loop", "LR"):
        (tmp_path / name).symlink_to(name)
    assert hr_folder(tmp_path, 2) == tmp_path / "HR"
    assert lr_folder(tmp_path, 2) is None
