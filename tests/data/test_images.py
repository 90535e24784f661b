import struct
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hitsr.base.errors import DataError
from hitsr.data.images import (
    EXTENSIONS,
    Picture,
    crop_to_multiple,
    list_pictures,
    read_image,
    write_png,
)


def noise(*shape: int, seed: int = 0) -> Picture:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def encoded(image: Image.Image, form: str) -> bytes:
    buffer = BytesIO()
    image.save(buffer, format=form)
    return buffer.getvalue()


def test_read_undoes_write(tmp_path: Path) -> None:
    image = noise(7, 5, 3)
    write_png(tmp_path / "new" / "a.png", image)
    read = read_image(tmp_path / "new" / "a.png")
    assert read.dtype == np.uint8
    np.testing.assert_array_equal(read, image)
    read[:] = 0  # the array is the caller's own


def test_equal_pictures_give_equal_bytes_and_no_leftovers(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        write_png(tmp_path / name, noise(30, 20, 3))
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("image", [noise(4, 5), noise(4, 5, 4), noise(4, 5, 3).astype(float)])
def test_write_refuses_other_shapes_and_types(tmp_path: Path, image: Picture) -> None:
    with pytest.raises(ValueError, match=r"\(h, w, 3\) uint8, got \(4, 5"):
        write_png(tmp_path / "a.png", image)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGBA", "1"])
def test_other_lossless_modes_read_as_rgb(tmp_path: Path, mode: str) -> None:
    rgb = np.repeat(noise(6, 4, 1) // 128 * 255, 3, axis=2)
    Image.fromarray(rgb).convert(mode).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), rgb)


def test_palette_keeps_its_colours(tmp_path: Path) -> None:
    image = Image.fromarray(noise(6, 4, 3)).quantize(16)
    image.save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), np.array(image.convert("RGB")))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(tmp_path: Path, orientation: int) -> None:
    image = noise(4, 6, 3)
    exif = Image.Exif()
    exif[0x112] = orientation
    Image.fromarray(image).save(tmp_path / "a.png", exif=exif)
    upright = {
        1: image,
        2: image[:, ::-1],
        3: image[::-1, ::-1],
        4: image[::-1],
        5: image.swapaxes(0, 1),
        6: np.rot90(image, -1),
        7: np.rot90(image, 2).swapaxes(0, 1),
        8: np.rot90(image),
    }
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), upright[orientation])


def test_real_transparency_is_refused(tmp_path: Path) -> None:
    rgba = noise(5, 5, 4)
    rgba[..., 3] = 255
    rgba[2, 2, 3] = 254
    Image.fromarray(rgba).save(tmp_path / "a.png")
    Image.fromarray(rgba[..., :3]).save(
        tmp_path / "b.png", transparency=tuple(rgba[0, 0, :3].tolist())
    )
    for name in ("a.png", "b.png"):
        with pytest.raises(DataError, match=rf"{name}: transparent in places; flatten"):
            read_image(tmp_path / name)


def deep_rgb_png(image: Picture) -> bytes:
    """A 16-bit RGB PNG, which Pillow cannot write; (h, w, 6) uint8 are its big-endian bytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    height, width = image.shape[:2]
    rows = b"".join(b"\0" + row.tobytes() for row in image)
    header = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*each) for each in chunks)


def test_more_than_eight_bits_are_refused(tmp_path: Path) -> None:
    (tmp_path / "rgb.png").write_bytes(deep_rgb_png(noise(4, 5, 6)))
    Image.fromarray(noise(4, 5).astype(np.uint16)).save(tmp_path / "grey.png")
    Image.fromarray(noise(4, 5).astype(np.uint16)).save(tmp_path / "grey.tif")
    Image.fromarray(noise(4, 5).astype(np.float32)).save(tmp_path / "float.tif")
    for name in ("rgb.png", "grey.png", "grey.tif", "float.tif"):
        with pytest.raises(DataError, match=rf"{name}: more than 8 bits per sample; convert"):
            read_image(tmp_path / name)


def test_other_colour_spaces_are_refused(tmp_path: Path) -> None:
    Image.fromarray(noise(4, 5, 3)).convert("CMYK").save(tmp_path / "cmyk.jpg")
    Image.fromarray(noise(4, 5, 3)).convert("LAB").save(tmp_path / "lab.tif")
    for name, mode in (("cmyk.jpg", "CMYK"), ("lab.tif", "LAB")):
        with pytest.raises(DataError, match=f"{name}: samples are {mode}; convert"):
            read_image(tmp_path / name)


@pytest.mark.parametrize("name", ["a.png", "a.webp", "a.tif"])
def test_animations_are_refused(tmp_path: Path, name: str) -> None:
    frames = [Image.fromarray(noise(4, 5, 3, seed=seed)) for seed in (0, 1)]
    frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:])
    with pytest.raises(DataError, match="an animation or several pages; save the one"):
        read_image(tmp_path / name)


def test_a_phone_photo_with_a_preview_behind_it_is_one_picture(tmp_path: Path) -> None:
    frames = [Image.fromarray(noise(16, 24, 3, seed=seed)) for seed in (0, 1)]
    frames[0].save(tmp_path / "a.jpg", format="MPO", save_all=True, append_images=frames[1:])
    frames[0].save(tmp_path / "b.jpg")
    np.testing.assert_array_equal(read_image(tmp_path / "a.jpg"), read_image(tmp_path / "b.jpg"))


@pytest.mark.parametrize("form", ["PNG", "JPEG", "BMP", "WEBP"])
@pytest.mark.parametrize("share", [0, 0.01, 0.5, 0.9])
def test_truncated_files_are_refused(tmp_path: Path, form: str, share: float) -> None:
    data = encoded(Image.fromarray(noise(40, 40, 3)), form)
    path = tmp_path / "a.png"
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(DataError, match=r"a\.png: truncated or damaged.*; fetch it again"):
        read_image(path)


def test_a_damaged_byte_in_a_png_is_refused(tmp_path: Path) -> None:
    data = bytearray(encoded(Image.fromarray(noise(40, 40, 3)), "PNG"))
    data[len(data) // 2] ^= 0xFF
    (tmp_path / "a.png").write_bytes(data)
    with pytest.raises(DataError, match=r"a\.png: truncated or damaged"):
        read_image(tmp_path / "a.png")


def test_missing_files_and_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a\.png: cannot be read: No such file"):
        read_image(tmp_path / "a.png")
    with pytest.raises(DataError, match="cannot be read: Is a directory"):
        read_image(tmp_path)


def test_list_pictures_by_stem_sorted(tmp_path: Path) -> None:
    names = [f"{stem}.{end}" for stem, end in zip("zyxwvut", EXTENSIONS)] + ["a.PNG", "b.Jpeg"]
    for name in [*names, ".hidden.png", "notes.txt", "png"]:
        (tmp_path / name).touch()
    found = list_pictures(tmp_path)
    assert list(found) == sorted(Path(name).stem for name in names)
    assert found["a"] == tmp_path / "a.PNG"


def test_list_pictures_refuses_ambiguous_empty_and_missing(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no picture in it"):
        list_pictures(tmp_path)
    with pytest.raises(DataError, match="no such folder"):
        list_pictures(tmp_path / "HR")
    (tmp_path / "a.png").touch()
    (tmp_path / "a.jpg").touch()
    with pytest.raises(DataError, match=r"a\.jpg and a\.png share a name"):
        list_pictures(tmp_path)


@pytest.mark.parametrize("scale", [1, 2, 3, 4])
def test_crop_to_multiple_keeps_the_top_left(scale: int) -> None:
    image = noise(13, 11, 3)
    cropped = crop_to_multiple(image, scale)
    height, width = cropped.shape[:2]
    assert (height % scale, width % scale) == (0, 0)
    assert 13 - height < scale
    assert 11 - width < scale
    np.testing.assert_array_equal(cropped, image[:height, :width])
