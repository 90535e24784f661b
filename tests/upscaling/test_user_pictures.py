import struct
import zlib
from io import BytesIO

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms

from hitsr.base.errors import DataError
from hitsr.data.images import Picture
from hitsr.upscaling.user_pictures import UserPicture, decode, encode, format_of

PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
LOSSLESS = ("png", "tiff")


def noise(*shape: int, dtype: type = np.uint8) -> Picture:
    return np.random.default_rng(0).integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)


def made(channels: int, dtype: type = np.uint8, profile: bytes | None = PROFILE) -> UserPicture:
    samples = noise(7, 5, channels, dtype=dtype)
    colour = samples[..., 0] if channels < 3 else samples[..., :3]
    return UserPicture(colour, samples[..., -1] if channels % 2 == 0 else None, profile, "png")


def encoded(image: Image.Image, form: str, **options: object) -> bytes:
    buffer = BytesIO()
    image.save(buffer, format=form, **options)
    return buffer.getvalue()


def _same(found: UserPicture, expected: UserPicture) -> None:
    assert found.colour.dtype == expected.colour.dtype
    np.testing.assert_array_equal(found.channels, expected.channels)
    assert found.profile == expected.profile
    assert (found.alpha is None) == (expected.alpha is None)


HELD = [
    (form, channels, dtype)
    for form in LOSSLESS
    for channels in (1, 2, 3, 4)
    for dtype in (np.uint8, np.uint16)
    if (form, channels, dtype) != ("tiff", 2, np.uint16)  # refused, see below
]


@pytest.mark.parametrize("profile", [None, PROFILE])
@pytest.mark.parametrize(("form", "channels", "dtype"), HELD)
def test_decode_undoes_encode(form: str, channels: int, dtype: type, profile: bytes | None):
    picture = made(channels, dtype, profile)
    found = decode(encode(picture, form, "a"), "a")
    assert found.format == form
    _same(found, picture)


@pytest.mark.parametrize("channels", [3, 4])
def test_webp_is_written_without_loss(channels: int):
    picture = made(channels)
    found = decode(encode(picture, "webp", "a"), "a")
    assert found.format == "webp"
    _same(found, picture)


@pytest.mark.parametrize("channels", [1, 3])
def test_bmp_is_read_and_written_without_loss(channels: int):
    picture = made(channels, profile=None)
    found = decode(encode(picture, "bmp", "a"), "a")
    assert found.format == "bmp"
    _same(found, picture)


@pytest.mark.parametrize("channels", [3, 4])
def test_16_bits_of_a_tiff_go_into_a_png(channels: int):
    picture = made(channels, np.uint16)
    _same(decode(encode(decode(encode(picture, "tiff", "a"), "a"), "png", "a"), "a"), picture)


@pytest.mark.parametrize("channels", [1, 3])
def test_jpeg_keeps_grey_grey_and_the_profile(channels: int):
    smooth = made(channels)._replace(colour=np.full((16, 16, 3)[: 2 + channels // 3], 90, np.uint8))
    found = decode(encode(smooth, "jpeg", "a"), "a")
    assert found.colour.shape == smooth.colour.shape
    assert found.profile == PROFILE
    assert np.abs(found.colour.astype(int) - 90).max() <= 1


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_other_readers_see_the_same_8_bit_png(channels: int):
    picture = made(channels)
    with Image.open(BytesIO(encode(picture, "png", "a"))) as image:
        assert image.mode == ("L", "LA", "RGB", "RGBA")[channels - 1]
        np.testing.assert_array_equal(np.array(image).reshape(7, 5, -1), picture.channels)
        assert image.info["icc_profile"] == PROFILE


@pytest.mark.parametrize("form", LOSSLESS)
@pytest.mark.parametrize("channels", [3, 4])
def test_other_readers_see_the_same_16_bit_colours(channels: int, form: str):
    picture = made(channels, np.uint16)
    data = np.frombuffer(encode(picture, form, "a"), np.uint8)
    found = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
    order = [2, 1, 0, 3][:channels]
    np.testing.assert_array_equal(found, picture.channels[..., order])


def test_16_bit_grey_written_by_pillow_is_read_exactly():
    samples = noise(7, 5, dtype=np.uint16)
    for form in ("png", "tiff"):
        found = decode(encoded(Image.fromarray(samples), form), "a")
        np.testing.assert_array_equal(found.colour, samples)


@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied_as_pillow_does(orientation: int, deep: bool):
    dtype = np.uint16 if deep else np.uint8
    samples = noise(4, 6, 3, dtype=dtype)
    tag = [(0x0112, "H", 1, orientation, True)]
    buffer = BytesIO()
    tifffile.imwrite(buffer, samples, photometric="rgb", metadata=None, extratags=tag)
    transpositions = {
        2: [Image.Transpose.FLIP_LEFT_RIGHT], 3: [Image.Transpose.ROTATE_180],
        4: [Image.Transpose.FLIP_TOP_BOTTOM], 5: [Image.Transpose.TRANSPOSE],
        6: [Image.Transpose.ROTATE_270], 7: [Image.Transpose.TRANSVERSE],
        8: [Image.Transpose.ROTATE_90],
    }  # fmt: skip
    found = decode(buffer.getvalue(), "a").colour
    for plane in range(3):
        image = Image.fromarray(samples[..., plane])
        for step in transpositions.get(orientation, []):
            image = image.transpose(step)
        np.testing.assert_array_equal(found[..., plane], np.asarray(image))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied_alike_to_8_and_16_bit_png(orientation: int):
    exif = Image.Exif()
    exif[0x0112] = orientation
    shallow = noise(4, 6)
    expected = decode(encoded(Image.fromarray(shallow), "png", exif=exif.tobytes()), "a")
    deep = Image.fromarray(shallow.astype(np.uint16) * 257)
    found = decode(encoded(deep, "png", exif=exif.tobytes()), "a")
    np.testing.assert_array_equal(found.colour, expected.colour.astype(np.uint16) * 257)


def test_jpeg_orientation_is_applied():
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encoded(Image.new("RGB", (8, 4)), "jpeg", exif=exif.tobytes())
    assert decode(data, "a").colour.shape == (8, 4, 3)


def test_a_palette_becomes_its_colours_and_a_transparent_entry_alpha():
    image = Image.fromarray(noise(6, 4, 3)).quantize(8)
    plain = decode(encoded(image, "png"), "a")
    np.testing.assert_array_equal(plain.colour, np.array(image.convert("RGB")))
    assert plain.alpha is None
    clear = decode(encoded(image, "png", transparency=3), "a")
    np.testing.assert_array_equal(clear.alpha == 0, np.array(image) == 3)


def test_one_bit_becomes_grey():
    image = Image.fromarray(noise(6, 4) > 127)
    found = decode(encoded(image, "png"), "a")
    np.testing.assert_array_equal(found.colour, np.array(image) * np.uint8(255))


@pytest.mark.parametrize(
    ("picture", "form", "message"),
    [
        (made(4), "jpeg", "jpeg holds no transparency"),
        (made(3, np.uint16), "jpeg", "jpeg holds 8 bits per sample, this has 16"),
        (made(3, np.uint16), "webp", "webp holds 8 bits per sample, this has 16"),
        (made(1), "webp", "webp holds no grey pictures"),
        (made(4, profile=None), "bmp", "bmp holds no transparency"),
        (made(3, np.uint16), "bmp", "bmp holds 8 bits per sample, this has 16"),
        (UserPicture(np.zeros((65536, 1), np.uint8), None, None, "png"), "jpeg", "1x65536"),
        (made(2, np.uint16), "tiff", "few programs read a tiff of 16-bit grey with alpha"),
        (UserPicture(np.zeros((1, 16384, 3), np.uint8), None, None, "png"), "webp", "16384x1"),
    ],
)
def test_a_picture_that_the_format_cannot_hold_is_refused(
    picture: UserPicture, form: str, message: str
):
    with pytest.raises(DataError, match=rf"^out\.x: .*{message}.*; choose --format png$"):
        encode(picture, form, "out.x")


def _tiff(samples: np.ndarray, **options: object) -> bytes:
    buffer = BytesIO()
    tifffile.imwrite(buffer, samples, metadata=None, **options)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (encoded(Image.new("CMYK", (4, 4)), "jpeg"), "samples are CMYK"),
        (encoded(Image.new("F", (4, 4)), "tiff"), "convert"),
        (
            encoded(Image.new("RGB", (4, 4)), "gif"),
            "not a picture of type png, jpeg",
        ),
        (b"no picture", "not a picture"),
        (encode(made(3), "png", "a")[:-40], "damaged"),
        (encode(made(3, np.uint16), "png", "a")[:-60], "damaged"),
        (_tiff(noise(4, 4, 4), photometric="rgb", extrasamples=["assocalpha"]), "premultiplied"),
        (
            _tiff(
                noise(4, 4, 2),
                photometric="minisblack",
                planarconfig="contig",
                extrasamples=["assocalpha"],
            ),
            "premultiplied",
        ),
        (
            _tiff(noise(4, 4, 4), photometric="rgb", extrasamples=["unspecified"]),
            "without a meaning",
        ),
        (
            _tiff(noise(4, 4, 4, dtype=np.uint16), photometric="rgb", extrasamples=[0]),
            "without a meaning",
        ),
        (_tiff(noise(4, 4, dtype=np.uint16), photometric="miniswhite"), "black-is-zero"),
        (_tiff(noise(2, 4, 4, 3), photometric="rgb"), "several pages"),
    ],
    ids=[
        "cmyk",
        "float",
        "gif",
        "text",
        "cut",
        "cut16",
        "premultiplied",
        "premultiplied grey",
        "channel",
        "channel16",
        "white0",
        "pages",
    ],
)
def test_pictures_that_would_be_misread_are_refused(data: bytes, message: str):
    with pytest.raises(DataError, match=rf"^a\.x: .*{message}"):
        decode(data, "a.x")


def test_a_16_bit_transparent_colour_is_refused():
    data = encode(made(3, np.uint16, None), "png", "a")
    key = struct.pack(">HHH", 1, 2, 3)
    chunk = struct.pack(">I", 6) + b"tRNS" + key + struct.pack(">I", zlib.crc32(b"tRNS" + key))
    with pytest.raises(DataError, match="a transparent colour in 16 bits"):
        decode(data[:33] + chunk + data[33:], "a")


def test_suffixes_name_formats():
    assert [format_of(s) for s in (".JPG", ".jpeg", ".tif", ".png", ".bmp", ".gif", "")] == [
        "jpeg", "jpeg", "tiff", "png", "bmp", None, None,
    ]  # fmt: skip
