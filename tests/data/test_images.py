import os
import struct
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hitsr.base.errors import DataError
from hitsr.base.png import SIGNATURE, Chunk, packed
from hitsr.data.images import (
    EXTENSIONS,
    Picture,
    crop_to_multiple,
    list_pictures,
    read_image,
    write_png,
)
from hitsr.report import crops


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

    height, width = image.shape[:2]
    return grey_png(b"".join(b"\0" + row.tobytes() for row in image), (width, height), 16, colour=2)


def grey_png(
    rows: bytes, size: tuple[int, int], depth: int, *beside: Chunk, colour: int = 0
) -> bytes:
    """A PNG of packed rows, each after a zero."""
    header = Chunk(b"IHDR", struct.pack(">IIBBBBB", *size, depth, colour, 0, 0, 0))
    found = (header, *beside, Chunk(b"IDAT", zlib.compress(rows, 9)), Chunk(b"IEND", b""))
    return SIGNATURE + b"".join(map(packed, found))


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


@pytest.mark.parametrize("depth", [1, 2, 4])
@pytest.mark.parametrize("key", [0, 1])
def test_a_transparent_grey_of_few_bits_is_seen(tmp_path: Path, depth: int, key: int) -> None:
    """Samples are scaled to 8 bits, the transparent one in the file is not."""
    transparent = Chunk(b"tRNS", struct.pack(">H", key))
    other = (1 - key) * 255 // (2**depth - 1)
    for sample in (0, 1):
        row = bytes([0, sample << (8 - depth)])
        (tmp_path / "a.png").write_bytes(grey_png(row, (1, 1), depth, transparent))
        if sample == key:
            with pytest.raises(DataError, match="transparent in places"):
                read_image(tmp_path / "a.png")
        else:
            assert read_image(tmp_path / "a.png").tolist() == [[[other] * 3]]


TEXT = os.urandom(2**20).hex().encode()  # compresses to half its size


@pytest.mark.parametrize("end", [False, True])
@pytest.mark.parametrize(
    "beside",
    [
        [Chunk(b"tEXt", b"Comment\0" + TEXT)] * 35,
        [Chunk(b"zTXt", b"Comment\0\0" + zlib.compress(TEXT))],
        [Chunk(b"iTXt", b"Comment\0\1\0\0\0" + zlib.compress(TEXT))],
        [Chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(TEXT))],
        [Chunk(b"iCCP", b"name\0\0" + zlib.compress(TEXT))],
        [Chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(10**8)))],
        [Chunk(b"prVt", b"")] * 5000,
    ],
    ids=["tEXt", "zTXt", "iTXt", "XMP", "iCCP", "bomb", "many"],
)
def test_what_lies_beside_a_picture_may_be_large(
    tmp_path: Path, beside: list[Chunk], end: bool
) -> None:
    image = noise(5, 4, 3)
    data = encoded(Image.fromarray(image), "PNG")
    place = len(data) - 12 if end else 33  # before IEND, or behind IHDR
    (tmp_path / "a.png").write_bytes(data[:place] + b"".join(map(packed, beside)) + data[place:])
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), image)


def test_a_large_text_keeps_its_orientation(tmp_path: Path) -> None:
    image = noise(4, 6, 3)
    data = encoded(Image.fromarray(image), "PNG")
    xmp = b"XML:com.adobe.xmp\0\0\0\0\0" + TEXT + b'<x tiff:Orientation="3"/>'
    beside = packed(Chunk(b"iTXt", xmp))
    (tmp_path / "a.png").write_bytes(data[:33] + beside + data[33:])
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), image[::-1, ::-1])


@pytest.mark.parametrize(("width", "height"), [(13300, 13300), (200_000, 100_000)])
def test_a_small_file_of_a_huge_picture_is_refused(tmp_path: Path, width: int, height: int) -> None:
    row = bytes(width // 8 + 2)
    (tmp_path / "a.png").write_bytes(grey_png(row * 100, (width, height), 1))
    with pytest.raises(DataError, match=r"a\.png: .*attack.*; cut it into smaller pictures"):
        read_image(tmp_path / "a.png")


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


def test_no_program_is_started_for_a_file_that_only_claims_to_be_a_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pillow would give PostScript to Ghostscript, and read many formats that nobody asked for."""
    monkeypatch.setattr("subprocess.Popen", lambda *_, **__: pytest.fail("started a program"))
    for form in ("EPS", "GIF", "PPM", "ICO", "TGA", "PCX"):
        (tmp_path / "a.png").write_bytes(encoded(Image.fromarray(noise(5, 4, 3)), form))
        with pytest.raises(DataError, match=r"a\.png: .* not a picture of type png, jpeg, webp"):
            read_image(tmp_path / "a.png")
        with pytest.raises(DataError, match=r"a\.png: cannot be read"):
            crops.read(tmp_path / "a.png")


def test_pipes_and_devices_are_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "zero.png").symlink_to("/dev/zero")
    for name in list_pictures(tmp_path).values():
        with pytest.raises(DataError, match="cannot be read: it is a device or pipe; check the"):
            read_image(name)


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
