"""Read and write users' pictures: grey or RGB, alpha, 8 or 16 bits, and colour profile.

Unlike `hitsr.data.images`, which is for benchmarks, this module drops none of these: a picture that
the output format cannot hold is refused. The orientation is applied to the samples; other metadata
(EXIF, GPS, text) are not kept.
"""

import struct
import zlib
from io import BytesIO
from typing import Literal, NamedTuple, cast, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, ImageOps, TiffImagePlugin

from hitsr.base.errors import DataError
from hitsr.data.images import Samples, is_deep, open_picture

FileFormat = Literal["png", "jpeg", "webp", "tiff"]
FORMATS = get_args(FileFormat)
SUFFIXES: dict[FileFormat, tuple[str, ...]] = {
    "png": (".png",),
    "jpeg": (".jpg", ".jpeg"),
    "webp": (".webp",),
    "tiff": (".tif", ".tiff"),
}

_MODES_8 = ("1", "L", "LA", "P", "PA", "RGB", "RGBA")
_MODES_16 = ("I;16", "I;16B", "I;16L", "RGB", "RGBA")
_WEBP_SIDE = 16383  # largest side that WebP allows
# Black-is-zero and RGB: OpenCV would read white-is-zero inverted, and others need conversion.
_TIFF_PHOTOMETRIC = (1, 2)
_TIFF_ASSOCIATED_ALPHA = 1
_ORIENTATION = 0x0112  # EXIF and TIFF tag


class UserPicture(NamedTuple):
    """A decoded picture; colour and alpha have the same type, uint8 or uint16."""

    colour: Samples  # (h, w) grey or (h, w, 3) RGB
    alpha: Samples | None  # (h, w), not premultiplied
    profile: bytes | None  # ICC
    format: FileFormat  # of the file it was read from

    @property
    def depth(self) -> int:
        """Bits per sample: 8 or 16."""
        return self.colour.dtype.itemsize * 8

    @property
    def channels(self) -> Samples:
        """All channels in one array, grey or RGB and then alpha if there is one: (h, w, 1 to 4)."""
        planes = [self.colour] if self.alpha is None else [self.colour, self.alpha]
        return cast(Samples, np.dstack(planes))


def format_of(suffix: str) -> FileFormat | None:
    """The format of files with a suffix: ".JPG" -> "jpeg"; None for unknown suffixes."""
    return next((name for name, known in SUFFIXES.items() if suffix.lower() in known), None)


def decode(data: bytes, where: str) -> UserPicture:
    """Decode the bytes of a PNG, JPEG, WebP or TIFF file; palettes become RGB, 1 bit becomes 8.

    Raises DataError, which names `where`, for a damaged file, and for CMYK and other colour spaces,
    more than 16 bits, floats, several pages or frames, and premultiplied alpha.
    """
    with open_picture(data, where) as image:
        file_format = _format(where, image)
        deep = is_deep(image)
        if image.mode not in (_MODES_16 if deep else _MODES_8):
            raise DataError(f"{where}: samples are {image.mode}; convert it to RGB or grey")
        if isinstance(image, TiffImagePlugin.TiffImageFile):
            _check_tiff(where, image, deep)
        profile = image.info.get("icc_profile")
        samples = _deep(where, data, image) if deep else _shallow(image)
    return _user_picture(samples, profile, file_format)


def encode(picture: UserPicture, file_format: FileFormat, where: str) -> bytes:
    """The picture as the bytes of a file: PNG, TIFF and WebP without loss, JPEG at quality 95.

    Raises DataError as `check_holds` does: for alpha or 16 bits in JPEG, for 16 bits, grey or a
    side above 16383 pixels in WebP, and for 16-bit grey with alpha in TIFF.
    """
    check_holds(picture, file_format, where)
    match file_format:
        case "png":
            return _png(picture)
        case "tiff":
            return _tiff(picture)
        case "webp":
            options: dict[str, object] = {"lossless": True, "exact": True}
            return _pillow(picture, "WEBP", options)
        case "jpeg":
            return _pillow(picture, "JPEG", {"quality": 95, "subsampling": 0})


def check_holds(picture: UserPicture, file_format: FileFormat, where: str) -> None:
    """Raise DataError, which names `where`, if a format cannot hold the picture without loss."""
    reason = _cannot_hold(picture, file_format)
    if reason:
        raise DataError(f"{where}: {reason}; choose --format png")


def _format(where: str, image: ImageFile.ImageFile) -> FileFormat:
    found = "jpeg" if image.format == "MPO" else str(image.format).lower()
    if found not in FORMATS:
        raise DataError(f"{where}: is {found}; want one of {', '.join(FORMATS)}")
    return cast(FileFormat, found)


def _check_tiff(where: str, image: TiffImagePlugin.TiffImageFile, deep: bool) -> None:
    """Refuse TIFFs that Pillow (8 bits) or OpenCV (16 bits) would misread without an error."""
    tags = image.tag_v2
    extra = tags.get(TiffImagePlugin.EXTRASAMPLES, ())
    if _TIFF_ASSOCIATED_ALPHA in (extra if isinstance(extra, tuple) else (extra,)):
        raise DataError(f"{where}: colours are premultiplied by alpha; save it with plain alpha")
    if deep and max(tags.get(TiffImagePlugin.BITSPERSAMPLE, (1,))) > 16:
        raise DataError(f"{where}: more than 16 bits per sample; convert it to 16 bits")
    photometric = tags.get(TiffImagePlugin.PHOTOMETRIC_INTERPRETATION)
    if deep and photometric not in _TIFF_PHOTOMETRIC:
        raise DataError(f"{where}: 16-bit samples, neither RGB nor black-is-zero grey; convert it")


def _shallow(image: ImageFile.ImageFile) -> Samples:
    """8-bit samples with the orientation applied: (h, w, 1 to 4)."""
    upright = ImageOps.exif_transpose(image)
    grey = upright.mode in ("1", "L", "LA")
    mode = ("L" if grey else "RGB") + ("A" if upright.has_transparency_data else "")
    return np.atleast_3d(np.array(upright.convert(mode)))


def _deep(where: str, data: bytes, image: ImageFile.ImageFile) -> Samples:
    """16-bit samples with the orientation applied: (h, w, 1 to 4).

    By OpenCV, because Pillow reduces 16-bit RGB to 8 bits.
    """
    import cv2

    if "transparency" in image.info:
        raise DataError(f"{where}: a transparent colour in 16 bits; save it with an alpha channel")
    found = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if found is None or found.dtype != np.uint16:
        raise DataError(f"{where}: truncated or damaged, or not unsigned 16-bit samples")
    samples = np.atleast_3d(found)
    if samples.shape[2] >= 3:
        samples = samples[..., [2, 1, 0, *range(3, samples.shape[2])]]  # OpenCV's order is BGR
    if "LA;16B" in _raw_modes(image):  # grey with alpha, which OpenCV expands to RGBA
        samples = samples[..., [0, 3]]
    if image.format == "TIFF":
        return np.asarray(samples, np.uint16)  # OpenCV always orients TIFFs
    return _upright(np.asarray(samples, np.uint16), image.getexif().get(_ORIENTATION, 1))


def _raw_modes(image: ImageFile.ImageFile) -> list[str]:
    return [str(tile.args) for tile in image.tile]


def _upright(samples: NDArray[np.uint16], orientation: int) -> NDArray[np.uint16]:
    """Apply an EXIF orientation, 1 to 8."""
    if orientation in (5, 6, 7, 8):
        samples = samples.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        samples = samples[::-1]
    if orientation in (2, 3, 6, 7):
        samples = samples[:, ::-1]
    return np.ascontiguousarray(samples)


def _user_picture(samples: Samples, profile: bytes | None, file_format: FileFormat) -> UserPicture:
    """Split (h, w, 1 to 4) into colour, (h, w) or (h, w, 3), and alpha, (h, w)."""
    channels = samples.shape[2]
    colour = samples[..., 0] if channels < 3 else samples[..., :3]
    alpha = samples[..., -1] if channels % 2 == 0 else None
    return UserPicture(colour, alpha, profile, file_format)


def _cannot_hold(picture: UserPicture, file_format: FileFormat) -> str | None:
    """Why a format cannot hold the picture; None if it can."""
    height, width = picture.colour.shape[:2]
    grey = picture.colour.ndim == 2
    if file_format == "tiff" and picture.depth == 16 and grey and picture.alpha is not None:
        return "few programs read a tiff of 16-bit grey with alpha"
    if file_format in ("jpeg", "webp") and picture.depth == 16:
        return f"{file_format} holds 8 bits per sample, this has 16"
    if file_format == "jpeg" and picture.alpha is not None:
        return "jpeg holds no transparency"
    if file_format == "webp" and grey:
        return "webp holds no grey pictures"
    if file_format == "webp" and max(height, width) > _WEBP_SIDE:
        return f"webp holds {_WEBP_SIDE} pixels a side, this has {width}x{height}"
    return None


def _pillow(picture: UserPicture, name: str, options: dict[str, object]) -> bytes:
    buffer = BytesIO()
    image = Image.fromarray(_squeezed(picture.channels))
    image.save(buffer, format=name, icc_profile=picture.profile, **options)
    return buffer.getvalue()


def _squeezed(channels: Samples) -> Samples:
    """(h, w, 1) -> (h, w), the layout in which libraries want grey; others are left as they are."""
    return channels[..., 0] if channels.shape[2] == 1 else channels


def _png(picture: UserPicture) -> bytes:
    """Written by our own code: Pillow writes no 16-bit colour, OpenCV no profile and no grey alpha.

    Every row is stored as its difference to the row above (PNG filter 2, "up").
    """
    samples = picture.channels
    height, width, channels = samples.shape
    rows = samples.astype(samples.dtype.newbyteorder(">")).view(np.uint8).reshape(height, -1)
    above = np.vstack([np.zeros_like(rows[:1]), rows[:-1]])
    filtered = np.hstack([np.full((height, 1), 2, np.uint8), rows - above])
    colour_type = {1: 0, 2: 4, 3: 2, 4: 6}[channels]  # PNG's codes: grey, LA, RGB, RGBA
    header = struct.pack(">IIBBBBB", width, height, picture.depth, colour_type, 0, 0, 0)
    profile = picture.profile and _chunk(b"iCCP", b"ICC\0\0" + zlib.compress(picture.profile))
    data = _chunk(b"IDAT", zlib.compress(filtered.tobytes(), 6))
    return b"".join(
        (b"\x89PNG\r\n\x1a\n", _chunk(b"IHDR", header), profile or b"", data, _chunk(b"IEND", b""))
    )


def _chunk(name: bytes, content: bytes) -> bytes:
    """A PNG chunk: length, name, content, checksum."""
    checksum = zlib.crc32(name + content)
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", checksum)


def _tiff(picture: UserPicture) -> bytes:
    """Deflate-compressed, by tifffile because Pillow writes no 16-bit colour."""
    import tifffile

    buffer = BytesIO()
    samples = _squeezed(picture.channels)
    tifffile.imwrite(
        buffer,
        samples,
        photometric="minisblack" if picture.colour.ndim == 2 else "rgb",
        planarconfig=None if samples.ndim == 2 else "contig",
        extrasamples=None if picture.alpha is None else ["unassalpha"],
        compression="zlib",
        iccprofile=picture.profile,
        metadata=None,
    )
    return buffer.getvalue()
