"""EXIF, resolution and colour space, as other programs' readers find them in what is written."""

import struct
import zlib
from io import BytesIO

import numpy as np
import pytest
import tifffile
from PIL import ExifTags, Image

from hitsr.base.errors import DataError
from hitsr.base.png import Chunk, chunks, packed
from hitsr.upscaling.exif import Value, read_exif
from hitsr.upscaling.user_pictures import FileFormat, UserPicture, decode, encode

HOLD_EXIF: tuple[FileFormat, ...] = ("png", "jpeg", "webp", "tiff")
BASE, IFD = ExifTags.Base, ExifTags.IFD


def camera(orientation: int = 1) -> Image.Exif:
    """EXIF of a camera, with what becomes wrong when a picture is upscaled."""
    exif = Image.Exif()
    exif[BASE.Make], exif[BASE.Orientation] = "Maker", orientation
    exif[BASE.Artist] = "José".encode()
    exif[BASE.ImageWidth], exif[BASE.ImageLength] = 9, 8
    exif[BASE.XPTitle] = "Überschrift\0".encode("utf-16-le")
    inner = exif.get_ifd(IFD.Exif)
    inner[BASE.DateTimeOriginal] = "2024:05:06 07:08:09"
    inner[BASE.ExifImageWidth], inner[BASE.ExifImageHeight] = 9, 8
    inner[BASE.ExposureBiasValue] = -0.5
    inner[BASE.UserComment] = b"ASCII\0\0\0hello"
    inner[BASE.MakerNote] = b"offsets and a preview"
    inner[BASE.SubjectLocation] = (3, 4)
    inner[IFD.Interop] = {1: "R03", 2: b"0100", 4097: 9}
    gps = exif.get_ifd(IFD.GPSInfo)
    gps[ExifTags.GPS.GPSLatitudeRef] = "N"
    gps[ExifTags.GPS.GPSLatitude] = (48.0, 8.0, 30.5)
    return exif


def with_thumbnail(exif: bytes) -> bytes:
    """Hang a second directory with a thumbnail behind the first one of a big-endian block."""
    (count,) = struct.unpack_from(">H", exif, 14)
    link = 16 + 12 * count
    second = struct.pack(">HHHIII", 1, 513, 4, 1, 8, 0) + b"thumbnail"
    return exif[:link] + struct.pack(">I", len(exif) - 6) + exif[link + 4 :] + second


def picture_bytes(form: str, size: tuple[int, int] = (9, 8), **options: object) -> bytes:
    samples = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), np.uint8)
    buffer = BytesIO()
    Image.fromarray(samples).save(buffer, format=form, **options)
    return buffer.getvalue()


def doubled(picture: UserPicture) -> UserPicture:
    return picture._replace(colour=picture.colour.repeat(2, 0).repeat(2, 1))


def with_chunks(data: bytes, *beside: Chunk) -> bytes:
    return data[:33] + b"".join(map(packed, beside)) + data[33:]


@pytest.mark.parametrize("source", ["png", "jpeg", "webp"])
@pytest.mark.parametrize("target", HOLD_EXIF)
def test_exif_is_kept_and_put_right(source: str, target: FileFormat):
    exif = with_thumbnail(camera(orientation=6).tobytes())
    data = picture_bytes(source, exif=exif)
    written = encode(doubled(decode(data, "a")), target, "a")
    with Image.open(BytesIO(written)) as image:
        found = image.getexif()
        assert image.size == (16, 18)
        assert found[BASE.Make] == "Maker"
        assert found[BASE.Artist].encode("latin-1").decode() == "José"
        assert found[BASE.XPTitle].decode("utf-16-le") == "Überschrift\0"
        assert found.get(BASE.Orientation, 1) == 1
        assert found.get(BASE.ImageWidth, 16) == 16
        assert found.get_ifd(IFD.Exif) == {
            BASE.DateTimeOriginal: "2024:05:06 07:08:09",
            BASE.ExifImageWidth: 16,
            BASE.ExifImageHeight: 18,
            BASE.ExposureBiasValue: -0.5,
            BASE.UserComment: b"ASCII\0\0\0hello",
            IFD.Interop: found.get_ifd(IFD.Exif)[IFD.Interop],
        }
        assert found.get_ifd(IFD.Interop) == {1: "R03", 2: b"0100"}
        assert found.get_ifd(IFD.GPSInfo) == {1: "N", 2: (48.0, 8.0, 30.5)}
        assert found.get_ifd(IFD.IFD1) == {}
    assert b"thumbnail" not in written
    assert b"preview" not in written


@pytest.mark.parametrize("target", HOLD_EXIF)
def test_exif_survives_a_second_time(target: FileFormat):
    data = picture_bytes("jpeg", exif=camera().tobytes())
    once = decode(encode(decode(data, "a"), target, "a"), "a")
    twice = decode(encode(once, target, "a"), "a")
    assert once.metadata.exif is not None
    assert twice.metadata == once.metadata


def test_exif_of_older_programs_is_read():
    """ImageMagick wrote it as digits into a PNG's text."""
    block = camera(orientation=6).tobytes()
    text = f"\nexif\n{len(block)}\n{block.hex()}\n".encode()
    chunk = Chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(text))
    found = decode(with_chunks(picture_bytes("png"), chunk), "a")
    assert found.colour.shape == (9, 8, 3)
    assert found.metadata.exif is not None
    assert found.metadata.exif.tags[BASE.Make] == Value(2, b"Maker\0")


def test_damaged_exif_costs_what_is_damaged():
    block = camera().tobytes()
    for length in range(len(block)):
        read_exif(block[:length], False)  # raises nothing
    found = read_exif(block[:-30], False)  # the end of the last directory
    assert found is not None
    assert BASE.Make in found.tags
    assert read_exif(b"Exif\0\0no TIFF", False) is None


@pytest.mark.parametrize("form", ["png", "jpeg", "webp"])
def test_a_picture_is_read_whatever_its_exif(form: str):
    garbage = picture_bytes(form, exif=b"Exif\0\0garbage!")
    assert decode(garbage, "a").metadata.exif is None
    odd = struct.pack(">HHIiHHIHH", 256, 9, 1, -5, BASE.Orientation, 3, 1, 6, 0)  # a width of -5
    block = b"Exif\0\0MM\0*" + struct.pack(">IH", 8, 2) + odd + bytes(4)
    assert decode(picture_bytes(form, exif=block), "a").colour.shape == (9, 8, 3)
    text = struct.pack(">HHI4s", BASE.Orientation, 2, 2, b"6\0")
    block = b"Exif\0\0MM\0*" + struct.pack(">IH", 8, 1) + text + bytes(4)
    assert decode(picture_bytes(form, exif=block), "a").colour.shape == (8, 9, 3)


def test_exif_takes_no_more_memory_than_its_block():
    """Tags that all point at the same bytes are worth no more than these."""
    size = 10**5
    entries = b"".join(struct.pack(">HHII", 0x9000 + i, 7, size, 8) for i in range(1000))
    start = 8 + size
    block = b"MM\0*" + struct.pack(">I", start) + bytes(size) + struct.pack(">H", 1000) + entries
    found = read_exif(block, False)
    assert found is not None
    assert len(found.tags) == 1


def test_a_tiff_keeps_its_texts_and_not_its_layout():
    buffer = BytesIO()
    samples = np.random.default_rng(0).integers(0, 2**16, (8, 9, 3), np.uint16)
    tifffile.imwrite(
        buffer,
        samples,
        photometric="rgb",
        software="scanner",
        byteorder=">",
        extratags=[
            (315, "s", 0, "Anna", True),
            (33550, "d", 3, (1, 1, 0), True),
            (37724, "B", 8, b"8BIMLayr", True),
        ],
    )
    written = encode(doubled(decode(buffer.getvalue(), "a")), "tiff", "a")
    with tifffile.TiffFile(BytesIO(written)) as tiff:
        tags = tiff.pages[0].tags
        assert tags["Software"].value == "scanner"
        assert tags["Artist"].value == "Anna"
        assert "ImageDescription" not in tags  # tifffile's own: it gives the shape
        assert 33550 not in tags  # the size of a pixel on a map
        assert 37724 not in tags  # Photoshop's layers
        np.testing.assert_array_equal(tiff.asarray(), samples.repeat(2, 0).repeat(2, 1))


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("source", ["png", "jpeg", "tiff", "exif"])
@pytest.mark.parametrize("target", HOLD_EXIF)
def test_resolution_in_dpi_is_kept(source: str, target: FileFormat, turned: bool):
    exif = Image.Exif()
    exif[BASE.Orientation] = 8 if turned else 1
    options: dict[str, object] = {"dpi": (300, 150)}
    if source == "exif":  # a phone's JPEG gives it nowhere else
        options = {}
        exif[BASE.XResolution], exif[BASE.YResolution] = 300.0, 150.0
        exif[BASE.ResolutionUnit] = 2
    data = picture_bytes("jpeg" if source == "exif" else source, exif=exif, **options)
    written = encode(doubled(decode(data, "a")), target, "a")
    with Image.open(BytesIO(written)) as image:
        tags = image.getexif()
        in_exif = (tags.get(BASE.XResolution), tags.get(BASE.YResolution))
        found = image.info.get("dpi") if target != "webp" else in_exif
    assert found == pytest.approx((150, 300) if turned else (300, 150), abs=0.1)


def test_a_bmp_keeps_its_resolution():
    written = encode(doubled(decode(picture_bytes("bmp", dpi=(96, 72)), "a")), "bmp", "a")
    with Image.open(BytesIO(written)) as image:
        assert image.info["dpi"] == pytest.approx((96, 72), abs=0.1)


@pytest.mark.parametrize("form", ["png", "jpeg", "webp", "tiff", "bmp"])
def test_no_resolution_is_made_up(form: FileFormat):
    picture = UserPicture(np.zeros((4, 5, 3), np.uint8), None, None, "png")
    assert decode(encode(picture, form, "a"), "a").metadata == picture.metadata


def test_pixels_that_are_not_square_stay_so_or_are_refused():
    ratio = Chunk(b"pHYs", struct.pack(">IIB", 4, 3, 0))
    picture = decode(with_chunks(picture_bytes("png"), ratio), "a")
    assert ratio in chunks(encode(picture, "png", "a"))
    with Image.open(BytesIO(encode(picture, "tiff", "a"))) as image:
        found = image.getexif()
        assert (found[282], found[283], found[296]) == (4, 3, 1)
    for form in ("jpeg", "webp"):
        with pytest.raises(DataError, match=f"a: {form} cannot say that pixels are not square"):
            encode(picture, form, "a")


GAMMA = Chunk(b"gAMA", struct.pack(">I", 100_000))
CICP = Chunk(b"cICP", b"\x09\x10\0\1")  # BT.2020 with PQ: HDR
PRIMARIES = (31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000)  # Display P3
CHROMA = Chunk(b"cHRM", struct.pack(">8I", *PRIMARIES))
BRIGHTNESS = Chunk(b"mDCV", bytes(range(24)))
LEVELS = Chunk(b"cLLI", bytes(range(8)))
SRGB = Chunk(b"sRGB", b"\0")
SRGB_GAMMA = Chunk(b"gAMA", struct.pack(">I", 45455))
SRGB_CICP = Chunk(b"cICP", b"\x01\x0d\0\1")
PROFILE = Chunk(b"iCCP", b"name\0\0" + zlib.compress(b"profile"))


@pytest.mark.parametrize(
    "space",
    [(GAMMA,), (CICP,), (GAMMA, CHROMA), (CICP, BRIGHTNESS, LEVELS), (SRGB,), (SRGB_GAMMA,),
     (PROFILE, GAMMA, CHROMA)],
)  # fmt: skip
def test_a_png_keeps_the_chunks_about_its_colours(space: tuple[Chunk, ...]):
    picture = decode(with_chunks(picture_bytes("png"), *space), "a")
    names = [chunk.name for chunk in chunks(encode(picture, "png", "a"))]
    written = decode(encode(picture, "png", "a"), "a")
    assert set(written.metadata.colour) == set(space) - {PROFILE}
    assert written.profile == (b"profile" if PROFILE in space else None)
    assert max(names.index(chunk.name) for chunk in space) < names.index(b"IDAT")


def test_chunks_of_a_wrong_length_are_dropped():
    """Pillow takes a file with one for damaged."""
    short = [Chunk(name, b"\1") for name in (b"gAMA", b"cICP", b"cHRM", b"mDCV")]
    picture = decode(with_chunks(picture_bytes("png"), SRGB, *short), "a")
    written = encode(picture, "png", "a")
    assert set(chunks(written)) & {SRGB, *short} == {SRGB}
    with Image.open(BytesIO(written)) as image:
        image.load()


@pytest.mark.parametrize("form", ["jpeg", "webp", "tiff", "bmp"])
@pytest.mark.parametrize(
    "space", [(GAMMA,), (CICP,), (CHROMA,), (LEVELS,), (SRGB, CICP), (PROFILE, CICP)]
)
def test_other_formats_refuse_colours_that_they_cannot_name(
    space: tuple[Chunk, ...], form: FileFormat
):
    picture = decode(with_chunks(picture_bytes("png"), *space), "a")
    name = space[-1].name.decode()
    with pytest.raises(DataError, match=f"a: {form} cannot hold the colour space that {name}"):
        encode(picture, form, "a")


@pytest.mark.parametrize(
    "space", [(SRGB, GAMMA), (SRGB_GAMMA,), (SRGB_CICP, GAMMA), (PROFILE, GAMMA, CHROMA)]
)
def test_other_formats_hold_srgb_and_profiles(space: tuple[Chunk, ...]):
    picture = decode(with_chunks(picture_bytes("png"), *space), "a")
    assert decode(encode(picture, "tiff", "a"), "a").profile == picture.profile


def test_a_large_profile_is_kept_and_a_damaged_one_refused():
    large = np.random.default_rng(0).bytes(2 * 2**20)
    chunk = Chunk(b"iCCP", b"name\0\0" + zlib.compress(large))
    assert decode(with_chunks(picture_bytes("png"), chunk), "a").profile == large
    for content in (chunk.content[:-1], b"name\0\0" + zlib.compress(bytes(65 * 2**20))):
        with pytest.raises(DataError, match="a: its colour profile is damaged or too large"):
            decode(with_chunks(picture_bytes("png"), Chunk(b"iCCP", content)), "a")


def test_bmp_refuses_what_it_cannot_hold():
    picture = decode(picture_bytes("jpeg", exif=camera().tobytes()), "a")
    with pytest.raises(DataError, match="a: bmp holds neither a colour profile nor EXIF"):
        encode(picture, "bmp", "a")
    plain = picture._replace(metadata=picture.metadata._replace(exif=None))
    with pytest.raises(DataError, match="a: bmp holds neither a colour profile nor EXIF"):
        encode(plain._replace(profile=b"profile"), "bmp", "a")
    np.testing.assert_array_equal(decode(encode(plain, "bmp", "a"), "a").colour, plain.colour)


def test_a_bmp_with_a_profile_is_refused():
    samples = picture_bytes("bmp")[54:]
    header = struct.pack("<IiiHHIIiiII", 124, 9, 8, 1, 24, 0, 0, 0, 0, 0, 0).ljust(56, b"\0")
    header = (header + b"DEBM").ljust(124, b"\0")
    data = b"BM" + struct.pack("<IHHI", 138 + len(samples), 0, 0, 138) + header + samples
    with pytest.raises(DataError, match="a: a bmp with a colour profile"):
        decode(data, "a")
    plain = data.replace(b"DEBM", b"BGRs")
    assert decode(plain, "a").colour.shape == (8, 9, 3)
