"""What a picture file says about its samples: their colours, and how many there are to an inch."""

import struct
from typing import NamedTuple

from PIL import ImageFile

from hitsr.base.errors import DataError
from hitsr.base.png import Chunk, chunks, inflated
from hitsr.upscaling.exif import (
    RESOLUTION_UNIT,
    X_RESOLUTION,
    Y_RESOLUTION,
    Exif,
    Value,
    fraction,
    fraction_of,
    read_exif,
    shorts,
)

# Brightness of HDR, and the bytes of each chunk; small letters: drafts of PNG.
_LIGHT = {b"mDCV": 24, b"mDCv": 24, b"cLLI": 8, b"cLLi": 8}
_COLOUR = {b"cICP": 4, b"gAMA": 4, b"cHRM": 32, b"sRGB": 1, **_LIGHT}
_LARGEST_PROFILE = 64 * 2**20
_METRES_PER_INCH = 0.0254
_LARGEST_RESOLUTION = 2**16  # JPEG has room for no more
_INCH, _CENTIMETRE, _NO_UNIT = 2, 3, 1  # as EXIF and TIFF number them

_SRGB_CICP = b"\1\x0d\0\1"
_SRGB_GAMMA, _GAMMA_TOLERANCE = 45455, 50
_SRGB_PRIMARIES = (31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)


class Resolution(NamedTuple):
    """Pixels per inch, or, if not `per_inch`, numbers of which only the ratio means something."""

    x: float
    y: float
    per_inch: bool


class Metadata(NamedTuple):
    """What is kept beside samples and profile."""

    colour: tuple[Chunk, ...] = ()  # chunks of a PNG about its colour space
    resolution: Resolution | None = None
    exif: Exif | None = None


def read_profile(data: bytes, image: ImageFile.ImageFile, where: str) -> bytes | None:
    """The ICC profile of a file; DataError, which names `where`, if it cannot be read."""
    chunk = _beside(data).get(b"iCCP")
    if chunk is None:
        return image.info.get("icc_profile")
    _, _, compressed = chunk.partition(b"\0")  # the name
    profile = inflated(compressed[1:], _LARGEST_PROFILE)
    if profile is None:
        raise DataError(f"{where}: its colour profile is damaged or too large; give it another")
    return profile


def read_metadata(data: bytes, image: ImageFile.ImageFile, turned: bool) -> Metadata:
    """What a picture file says beside its samples; `image` is the file as Pillow loaded it.

    `turned`: the orientation exchanges rows and columns.
    """
    beside = _beside(data)
    exif = read_exif(data if image.format == "TIFF" else _exif_block(image), turned)
    resolution = _from_container(image, beside.get(b"pHYs"))
    if resolution and turned:
        resolution = resolution._replace(x=resolution.y, y=resolution.x)
    # Decoders ignore chunks of another length, or refuse the file.
    colour = [name for name, size in _COLOUR.items() if len(beside.get(name, b"")) == size]
    return Metadata(
        tuple(Chunk(name, beside[name]) for name in colour),
        _sensible(resolution) or _sensible(_from_tags(exif)),
        exif,
    )


def other_than_srgb(metadata: Metadata, profile: bytes | None) -> str | None:
    """The chunk that gives the samples a colour space other than sRGB; None if none does.

    As PNG rules: cICP goes before the profile, that before sRGB, and that before the others.
    """
    colour = dict(metadata.colour)
    cicp = colour.get(b"cICP")
    if cicp is not None and cicp != _SRGB_CICP:
        return "cICP"
    light = [name.decode() for name in _LIGHT if name in colour]
    if light:
        return light[0]
    if cicp is not None or profile or b"sRGB" in colour:
        return None
    gamma, primaries = colour.get(b"gAMA"), colour.get(b"cHRM")
    if gamma is not None and not _near(gamma, (_SRGB_GAMMA,)):
        return "gAMA"
    if primaries is not None and not _near(primaries, _SRGB_PRIMARIES):
        return "cHRM"
    return None


def png_density(resolution: Resolution) -> Chunk:
    """The resolution as a PNG's chunk."""
    unit = _METRES_PER_INCH if resolution.per_inch else 1
    x, y = round(resolution.x / unit), round(resolution.y / unit)
    return Chunk(b"pHYs", struct.pack(">IIB", x, y, resolution.per_inch))


def with_resolution(exif: Exif | None, resolution: Resolution | None) -> Exif | None:
    """EXIF that gives the resolution, if it gives none yet."""
    if resolution is None or (exif and X_RESOLUTION in exif.tags):
        return exif
    order = exif.order if exif else "<"
    unit = _INCH if resolution.per_inch else _NO_UNIT
    tags = {
        X_RESOLUTION: fraction(resolution.x, order),
        Y_RESOLUTION: fraction(resolution.y, order),
        RESOLUTION_UNIT: shorts((unit,), order),
    }
    return Exif(order, {**(exif.tags if exif else {}), **tags})


def _exif_block(image: ImageFile.ImageFile) -> bytes:
    """The raw EXIF of a file; empty if there is none."""
    written = image.info.get("Raw profile type exif")  # in digits, by ImageMagick, in older PNGs
    if written is None:
        return bytes(image.info.get("exif", b""))
    return bytes.fromhex("".join(written.split("\n")[3:]))


def _beside(data: bytes) -> dict[bytes, bytes]:
    """The first chunk of each name in a PNG; empty for other files."""
    found: dict[bytes, bytes] = {}
    for chunk in chunks(data):
        found.setdefault(chunk.name, chunk.content)
    return found


def _from_container(image: ImageFile.ImageFile, density: bytes | None) -> Resolution | None:
    """The resolution beside EXIF: in a PNG's chunk, or the header of a JPEG or BMP."""
    if density is not None and len(density) == 9:
        x, y, metres = struct.unpack(">IIB", density)
        unit = _METRES_PER_INCH if metres else 1
        return Resolution(x * unit, y * unit, metres == 1)
    if "jfif_density" in image.info:
        x, y = image.info["jfif_density"]
        jfif_unit = image.info["jfif_unit"]  # 0: none, 1: inch, 2: centimetre
        unit = 2.54 if jfif_unit == 2 else 1
        return Resolution(x * unit, y * unit, jfif_unit in (1, 2))
    if image.format == "BMP" and "dpi" in image.info:
        x, y = image.info["dpi"]
        return Resolution(x, y, per_inch=True)
    return None


def _from_tags(exif: Exif | None) -> Resolution | None:
    if exif is None:
        return None
    x, y = (fraction_of(exif.tags.get(tag), exif.order) for tag in (X_RESOLUTION, Y_RESOLUTION))
    if x is None or y is None:
        return None
    named = exif.tags.get(RESOLUTION_UNIT)
    unit = _INCH
    if isinstance(named, Value):
        unit = int.from_bytes(named.content, "little" if exif.order == "<" else "big")
    per_unit = 2.54 if unit == _CENTIMETRE else 1
    return Resolution(x * per_unit, y * per_unit, unit != _NO_UNIT)


def _sensible(resolution: Resolution | None) -> Resolution | None:
    """The resolution, unless it says nothing or nonsense."""
    if resolution is None or (not resolution.per_inch and resolution.x == resolution.y):
        return None
    sensible = all(0 < number < _LARGEST_RESOLUTION for number in resolution[:2])
    return resolution if sensible else None


def _near(content: bytes, expected: tuple[int, ...]) -> bool:
    """Whether the numbers of a chunk are those of sRGB, up to rounding."""
    if len(content) != 4 * len(expected):
        return False
    found = struct.unpack(f">{len(expected)}I", content)
    return all(abs(a - b) <= _GAMMA_TOLERANCE for a, b in zip(found, expected, strict=True))
