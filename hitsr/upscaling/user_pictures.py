"""Read and write users' pictures: grey or RGB, alpha, 8 or 16 bits, colour, resolution and EXIF.

Unlike `hitsr.data.images`, which is for benchmarks, this module drops none of these: a picture that
the output format cannot hold is refused. The orientation is applied to the samples; other metadata
(texts, XMP, IPTC) are not kept.
"""

import struct
from io import BytesIO
from typing import Literal, NamedTuple, cast, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, TiffImagePlugin

from hitsr.base.errors import DataError
from hitsr.base.png import picture_only
from hitsr.data.images import Samples, is_deep, open_picture, orientation_of, upright
from hitsr.upscaling.exif import exif_block
from hitsr.upscaling.lossless import png_file, tiff_file
from hitsr.upscaling.metadata import (
    Metadata,
    other_than_srgb,
    read_metadata,
    read_profile,
    with_resolution,
)

FileFormat = Literal["png", "jpeg", "webp", "tiff", "bmp"]
FORMATS = get_args(FileFormat)
SUFFIXES: dict[FileFormat, tuple[str, ...]] = {
    "png": (".png",),
    "jpeg": (".jpg", ".jpeg"),
    "webp": (".webp",),
    "tiff": (".tif", ".tiff"),
    "bmp": (".bmp",),
}

_MODES_8 = ("1", "L", "LA", "P", "PA", "RGB", "RGBA")
_MODES_16 = ("I;16", "I;16B", "I;16L", "RGB", "RGBA")
_LARGEST_SIDE: dict[FileFormat, int] = {"webp": 16383, "jpeg": 65535}
_LARGEST_TIFF = 2**32 - 2**26  # bytes before compression; the rest is for what lies beside them
_LARGEST_JPEG_EXIF = 65533  # bytes
_BMP_PROFILES = (b"DEBM", b"KNIL")  # colour spaces "MBED" and "LINK" of a BMP's header
# Black-is-zero and RGB: OpenCV would read white-is-zero inverted, and others need conversion.
_TIFF_PHOTOMETRIC = (1, 2)
_TIFF_UNSPECIFIED, _TIFF_ASSOCIATED_ALPHA = 0, 1
_TURNING = (5, 6, 7, 8)  # orientations that exchange rows and columns


class UserPicture(NamedTuple):
    """A decoded picture; colour and alpha have the same type, uint8 or uint16."""

    colour: Samples  # (h, w) grey or (h, w, 3) RGB
    alpha: Samples | None  # (h, w), not premultiplied
    profile: bytes | None  # ICC
    format: FileFormat  # of the file it was read from
    metadata: Metadata = Metadata()

    @property
    def depth(self) -> int:
        """Bits per sample: 8 or 16."""
        return self.colour.dtype.itemsize * 8

    @property
    def planes(self) -> list[Samples]:
        """Colour, and then alpha if there is one."""
        return [self.colour] if self.alpha is None else [self.colour, self.alpha]

    @property
    def channels(self) -> Samples:
        """All channels in one array, grey or RGB and then alpha if there is one: (h, w, 1 to 4)."""
        return cast(Samples, np.dstack(self.planes))


def format_of(suffix: str) -> FileFormat | None:
    """The format of files with a suffix: ".JPG" -> "jpeg"; None for unknown suffixes."""
    return next((name for name, known in SUFFIXES.items() if suffix.lower() in known), None)


def decode(data: bytes, where: str) -> UserPicture:
    """Decode a PNG, JPEG, WebP, TIFF or BMP file; palettes become RGB, 1 bit becomes 8.

    Raises DataError, which names `where`, for a damaged file, and for CMYK and other colour spaces,
    more than 16 bits, floats, several pages or frames, and premultiplied alpha.
    """
    with open_picture(data, where) as image:
        file_format = _format(image)
        deep = is_deep(image)
        if isinstance(image, TiffImagePlugin.TiffImageFile):
            _check_tiff(where, image, deep)
        if image.mode not in (_MODES_16 if deep else _MODES_8):
            raise DataError(f"{where}: samples are {image.mode}; convert it to RGB or grey")
        if file_format == "bmp" and data[70:74] in _BMP_PROFILES and data[14] >= 108:
            raise DataError(f"{where}: a bmp with a colour profile; convert it to png")
        grey_alpha = "LA;16B" in (str(tile.args) for tile in image.tile)
        orientation = orientation_of(image)
        samples = _deep(where, data, image, orientation) if deep else _shallow(image)
        if grey_alpha:  # OpenCV expands it to RGBA
            samples = samples[..., [0, 3]]
        profile = read_profile(data, image, where)
        metadata = read_metadata(data, image, orientation in _TURNING)
    return _user_picture(samples, profile, file_format)._replace(metadata=metadata)


def encode(picture: UserPicture, file_format: FileFormat, where: str) -> bytes:
    """The picture as the bytes of a file: JPEG at quality 95, the other formats without loss.

    Raises DataError as `check_holds` does, or if the picture cannot be encoded.
    """
    check_holds(picture, file_format, where)
    match file_format:
        case "png":
            return png_file(picture.channels, picture.profile, picture.metadata)
        case "tiff":
            has_alpha = picture.alpha is not None
            return tiff_file(picture.channels, has_alpha, picture.profile, picture.metadata)
        case "webp":
            exif = with_resolution(picture.metadata.exif, picture.metadata.resolution)
            picture = picture._replace(metadata=picture.metadata._replace(exif=exif))
            return _pillow(picture, "WEBP", {"lossless": True, "exact": True}, where)
        case "jpeg":
            return _pillow(picture, "JPEG", {"quality": 95, "subsampling": 0}, where)
        case "bmp":
            return _pillow(picture, "BMP", {}, where)


def check_holds(picture: UserPicture, file_format: FileFormat, where: str, scale: int = 1) -> None:
    """Raise DataError, which names `where`, if a format cannot hold the picture without loss.

    That is: alpha in JPEG and BMP; 16 bits in JPEG, WebP and BMP; grey in WebP; 16-bit grey with
    alpha in TIFF; a colour profile or EXIF in BMP; a PNG's other ways to name a colour space than
    a profile; pixels that are not square, by a ratio without a unit, outside PNG and TIFF; and,
    once it has grown by `scale`, a side above 16383 pixels in WebP or 65535 in JPEG, and 4 GiB in
    TIFF.
    """
    reason = _cannot_hold(picture, file_format, scale)
    if reason:
        raise DataError(f"{where}: {reason}; choose --format png")


def _format(image: ImageFile.ImageFile) -> FileFormat:
    return cast(FileFormat, "jpeg" if image.format == "MPO" else str(image.format).lower())


def _check_tiff(where: str, image: TiffImagePlugin.TiffImageFile, deep: bool) -> None:
    """Refuse TIFFs that Pillow (8 bits) or OpenCV (16 bits) would misread without an error."""
    tags = image.tag_v2
    found = tags.get(TiffImagePlugin.EXTRASAMPLES, ())
    extra = found if isinstance(found, tuple) else (found,)
    if _TIFF_UNSPECIFIED in extra:
        raise DataError(
            f"{where}: a channel beside the colours without a meaning; save it as alpha"
        )
    if _TIFF_ASSOCIATED_ALPHA in extra:
        raise DataError(f"{where}: colours are premultiplied by alpha; save it with plain alpha")
    if deep and max(tags.get(TiffImagePlugin.BITSPERSAMPLE, (1,))) > 16:
        raise DataError(f"{where}: more than 16 bits per sample; convert it to 16 bits")
    photometric = tags.get(TiffImagePlugin.PHOTOMETRIC_INTERPRETATION)
    if deep and photometric not in _TIFF_PHOTOMETRIC:
        raise DataError(f"{where}: 16-bit samples, neither RGB nor black-is-zero grey; convert it")


def _shallow(image: ImageFile.ImageFile) -> Samples:
    """8-bit samples with the orientation applied: (h, w, 1 to 4)."""
    grey = image.mode in ("1", "L", "LA")
    mode = ("L" if grey else "RGB") + ("A" if image.has_transparency_data else "")
    return np.atleast_3d(np.array(upright(image).convert(mode)))


def _deep(where: str, data: bytes, image: ImageFile.ImageFile, orientation: int) -> Samples:
    """16-bit samples with the orientation applied: (h, w, 1 to 4).

    By OpenCV, because Pillow reduces 16-bit RGB to 8 bits.
    """
    import cv2

    if "transparency" in image.info:
        raise DataError(f"{where}: a transparent colour in 16 bits; save it with an alpha channel")
    try:
        found = cv2.imdecode(np.frombuffer(picture_only(data), np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:  # such as a side above its limit
        problem = f"OpenCV cannot read it ({error.err})"
        raise DataError(f"{where}: {problem}; convert it to 8 bits") from error
    if found is None or found.dtype != np.uint16:
        raise DataError(f"{where}: truncated or damaged, or not unsigned 16-bit samples")
    samples = np.atleast_3d(found)
    if samples.shape[2] >= 3:
        samples = samples[..., [2, 1, 0, *range(3, samples.shape[2])]]  # OpenCV's order is BGR
    if image.format == "TIFF":
        return np.ascontiguousarray(samples, np.uint16)  # OpenCV always orients TIFFs
    return _upright(np.asarray(samples, np.uint16), orientation)


def _upright(samples: NDArray[np.uint16], orientation: int) -> NDArray[np.uint16]:
    """Apply an EXIF orientation, 1 to 8."""
    if orientation in _TURNING:
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


def _cannot_hold(picture: UserPicture, file_format: FileFormat, scale: int) -> str | None:
    """Why a format cannot hold the picture; None if it can."""
    height, width = (side * scale for side in picture.colour.shape[:2])
    grey = picture.colour.ndim == 2
    if file_format == "tiff" and picture.depth == 16 and grey and picture.alpha is not None:
        return "few programs read a tiff of 16-bit grey with alpha"
    if file_format in ("jpeg", "webp", "bmp") and picture.depth == 16:
        return f"{file_format} holds 8 bits per sample, this has 16"
    if file_format in ("jpeg", "bmp") and picture.alpha is not None:
        return f"{file_format} holds no transparency"
    if file_format == "webp" and grey:
        return "webp holds no grey pictures"
    samples_bytes = sum(plane.nbytes for plane in picture.planes) * scale**2
    if file_format == "tiff" and samples_bytes > _LARGEST_TIFF:
        return f"tiff holds {_LARGEST_TIFF} bytes"
    largest = _LARGEST_SIDE.get(file_format)
    if largest and max(height, width) > largest:
        return f"{file_format} holds {largest} pixels a side, this has {width}x{height}"
    return _cannot_hold_beside(picture, file_format)


def _cannot_hold_beside(picture: UserPicture, file_format: FileFormat) -> str | None:
    """Why a format cannot hold what the file says beside the samples; None if it can."""
    metadata = picture.metadata
    space = other_than_srgb(metadata, picture.profile)
    if file_format != "png" and space:
        return f"{file_format} cannot hold the colour space that {space} names"
    if file_format == "bmp" and (picture.profile or metadata.exif):
        return "bmp holds neither a colour profile nor EXIF"
    by_ratio = metadata.resolution is not None and not metadata.resolution.per_inch
    if file_format in ("jpeg", "webp", "bmp") and by_ratio:
        return f"{file_format} cannot say that pixels are not square"
    if file_format == "jpeg" and len(_exif(picture)) > _LARGEST_JPEG_EXIF:
        return f"jpeg holds {_LARGEST_JPEG_EXIF} bytes of EXIF"
    return None


def _exif(picture: UserPicture) -> bytes:
    """EXIF as it lies in a file; empty if there is none."""
    height, width = picture.colour.shape[:2]
    return exif_block(picture.metadata.exif, width, height) if picture.metadata.exif else b""


def _pillow(picture: UserPicture, name: str, options: dict[str, object], where: str) -> bytes:
    buffer = BytesIO()
    image = Image.fromarray(_squeezed(picture.channels))
    resolution = picture.metadata.resolution
    dpi = resolution[:2] if resolution else (0, 0)  # zero: not known
    try:
        image.save(
            buffer,
            format=name,
            icc_profile=picture.profile,
            exif=_exif(picture),
            dpi=dpi,
            **options,
        )
    except (OSError, ValueError, struct.error) as error:
        problem = f"cannot be written as {name} ({error})"
        raise DataError(f"{where}: {problem}; choose --format png") from error
    return buffer.getvalue()


def _squeezed(channels: Samples) -> Samples:
    """(h, w, 1) -> (h, w), the layout in which libraries want grey; others are left as they are."""
    return channels[..., 0] if channels.shape[2] == 1 else channels
