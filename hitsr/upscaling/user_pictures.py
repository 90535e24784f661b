"""Users' pictures with what makes them: grey or colour, alpha, 8 or 16 bits, colour profile.

Unlike `images`, which serves benchmarks, nothing is dropped in silence: what a format cannot keep
is refused. Orientation is applied to the samples; other metadata (EXIF, GPS, text) are not kept.
"""

import struct
import zlib
from io import BytesIO
from typing import Literal, NamedTuple, cast, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, ImageOps, TiffImagePlugin, UnidentifiedImageError

from hitsr.base.errors import DataError
from hitsr.data.images import DAMAGE, Samples, is_deep

Form = Literal["png", "jpeg", "webp", "tiff"]
FORMS = get_args(Form)
SUFFIXES: dict[Form, tuple[str, ...]] = {
    "png": (".png",),
    "jpeg": (".jpg", ".jpeg"),
    "webp": (".webp",),
    "tiff": (".tif", ".tiff"),
}

_MODES_8 = ("1", "L", "LA", "P", "PA", "RGB", "RGBA")
_MODES_16 = ("I;16", "I;16B", "I;16L", "RGB", "RGBA")
_WEBP_SIDE = 16383  # the format's largest
# TIFF: white-is-zero would come out inverted, and only black-is-zero and RGB need no conversion.
_TIFF_PHOTOMETRIC = (1, 2)
_TIFF_ASSOCIATED_ALPHA = 1


class UserPicture(NamedTuple):
    """A picture as its user knows it; all samples have one type, uint8 or uint16."""

    colour: Samples  # (h, w) grey or (h, w, 3) RGB
    alpha: Samples | None  # (h, w), not premultiplied
    profile: bytes | None  # ICC
    form: Form  # what it was read from

    @property
    def depth(self) -> int:
        """Bits per sample: 8 or 16."""
        return self.colour.dtype.itemsize * 8

    @property
    def channels(self) -> Samples:
        """Grey or RGB with alpha behind it, where there is one: (h, w, 1 to 4)."""
        planes = [self.colour] if self.alpha is None else [self.colour, self.alpha]
        return cast(Samples, np.dstack(planes))


def form_of(suffix: str) -> Form | None:
    """The format that a file's suffix names: ".JPG" is "jpeg"; None for any other."""
    return next((form for form, known in SUFFIXES.items() if suffix.lower() in known), None)


def decode(data: bytes, where: str) -> UserPicture:
    """The picture in a PNG, JPEG, WebP or TIFF file's bytes; a palette becomes RGB, bits 8 bits.

    Raises DataError that names `where` for a damaged file, and for CMYK or other colours, more
    than 16 bits, floats, several pages or frames, and premultiplied alpha.
    """
    try:
        with Image.open(BytesIO(data)) as image:
            form = _form(where, image)
            if getattr(image, "is_animated", False) and image.format != "MPO":
                raise DataError(f"{where}: an animation or several pages; save the one meant")
            deep = is_deep(image)
            if image.mode not in (_MODES_16 if deep else _MODES_8):
                raise DataError(f"{where}: samples are {image.mode}; convert it to RGB or grey")
            if isinstance(image, TiffImagePlugin.TiffImageFile):
                _check_tiff(where, image, deep)
            profile = image.info.get("icc_profile")
            samples = _deep(where, data, image) if deep else _shallow(image)
    except Image.DecompressionBombError as error:
        raise DataError(f"{where}: {error}; cut it into parts") from error
    except UnidentifiedImageError as error:
        raise DataError(f"{where}: damaged, or no picture that can be read") from error
    except DAMAGE as error:
        raise DataError(f"{where}: truncated or damaged ({error}); fetch it again") from error
    return _parted(samples, profile, form)


def encode(picture: UserPicture, form: Form, where: str) -> bytes:
    """A file's bytes with all that the picture has: PNG, TIFF and WebP lossless, JPEG quality 95.

    Raises DataError as `check_holds`: alpha or 16 bits in JPEG, 16 bits or grey in WebP, a side
    above 16383 pixels in WebP, 16-bit grey with alpha in TIFF.
    """
    check_holds(picture, form, where)
    match form:
        case "png":
            return _png(picture)
        case "tiff":
            return _tiff(picture)
        case "webp":
            options: dict[str, object] = {"lossless": True, "exact": True}
            return _pillow(picture, "WEBP", options)
        case "jpeg":
            return _pillow(picture, "JPEG", {"quality": 95, "subsampling": 0})


def check_holds(picture: UserPicture, form: Form, where: str) -> None:
    """Raise DataError that names `where` if a format cannot hold all that a picture has."""
    reason = _cannot_hold(picture, form)
    if reason:
        raise DataError(f"{where}: {reason}; choose --format png")


def _form(where: str, image: ImageFile.ImageFile) -> Form:
    found = "jpeg" if image.format == "MPO" else str(image.format).lower()
    if found not in FORMS:
        raise DataError(f"{where}: is {found}; want one of {', '.join(FORMS)}")
    return cast(Form, found)


def _check_tiff(where: str, image: TiffImagePlugin.TiffImageFile, deep: bool) -> None:
    """What Pillow hides (8 bits) and OpenCV does not look at (16 bits)."""
    tags = image.tag_v2
    extra = tags.get(TiffImagePlugin.EXTRASAMPLES, ())
    if _TIFF_ASSOCIATED_ALPHA in (extra if isinstance(extra, tuple) else (extra,)):
        raise DataError(f"{where}: colours are premultiplied by alpha; save it with plain alpha")
    if deep and max(tags.get(TiffImagePlugin.BITSPERSAMPLE, (1,))) > 16:
        raise DataError(f"{where}: more than 16 bits per sample; convert it to 16 bits")
    photometric = tags.get(TiffImagePlugin.PHOTOMETRIC_INTERPRETATION)
    if deep and photometric not in _TIFF_PHOTOMETRIC:
        raise DataError(f"{where}: 16-bit samples are neither RGB nor black-is-zero grey; convert")


def _shallow(image: ImageFile.ImageFile) -> Samples:
    """8-bit samples, upright: (h, w, 1 to 4)."""
    upright = ImageOps.exif_transpose(image)
    grey = upright.mode in ("1", "L", "LA")
    mode = ("L" if grey else "RGB") + ("A" if upright.has_transparency_data else "")
    return np.atleast_3d(np.array(upright.convert(mode)))


def _deep(where: str, data: bytes, image: ImageFile.ImageFile) -> Samples:
    """16-bit samples, upright: (h, w, 1 to 4). Pillow itself would cut RGB to 8 bits."""
    import cv2

    if "transparency" in image.info:
        raise DataError(f"{where}: a transparent colour in 16 bits; save it with an alpha channel")
    flags = cv2.IMREAD_UNCHANGED
    found = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    if found is None or found.dtype != np.uint16:
        raise DataError(f"{where}: truncated or damaged, or not unsigned 16-bit samples")
    samples = np.atleast_3d(found)
    if samples.shape[2] >= 3:
        samples = samples[..., [2, 1, 0, *range(3, samples.shape[2])]]  # OpenCV's order is BGR
    if "LA;16B" in _raw_modes(image):  # grey with alpha, which both libraries make RGBA
        samples = samples[..., [0, 3]]
    if image.format == "TIFF":
        return np.asarray(samples, np.uint16)  # OpenCV has turned it upright, whatever the flags
    return _upright(np.asarray(samples, np.uint16), image.getexif().get(_ORIENTATION, 1))


def _raw_modes(image: ImageFile.ImageFile) -> list[str]:
    return [str(tile.args) for tile in image.tile]


_ORIENTATION = 0x0112  # the EXIF and TIFF tag


def _upright(samples: NDArray[np.uint16], orientation: int) -> NDArray[np.uint16]:
    """Apply an EXIF orientation: 1 to 8; from 5 on, rows and columns are exchanged."""
    if orientation in (5, 6, 7, 8):
        samples = samples.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        samples = samples[::-1]
    if orientation in (2, 3, 6, 7):
        samples = samples[:, ::-1]
    return np.ascontiguousarray(samples)


def _parted(samples: Samples, profile: bytes | None, form: Form) -> UserPicture:
    """Colour and alpha: (h, w, 1 to 4) -> (h, w) or (h, w, 3), and (h, w)."""
    channels = samples.shape[2]
    colour = samples[..., 0] if channels < 3 else samples[..., :3]
    alpha = samples[..., -1] if channels % 2 == 0 else None
    return UserPicture(colour, alpha, profile, form)


def _cannot_hold(picture: UserPicture, form: Form) -> str | None:
    height, width = picture.colour.shape[:2]
    grey = picture.colour.ndim == 2
    if form == "tiff" and picture.depth == 16 and grey and picture.alpha is not None:
        return "few programs read a tiff of 16-bit grey with alpha"
    if form in ("jpeg", "webp") and picture.depth == 16:
        return f"{form} holds 8 bits per sample, this has 16"
    if form == "jpeg" and picture.alpha is not None:
        return "jpeg holds no transparency"
    if form == "webp" and grey:
        return "webp holds no grey pictures"
    if form == "webp" and max(height, width) > _WEBP_SIDE:
        return f"webp holds {_WEBP_SIDE} pixels a side, this has {width}x{height}"
    return None


def _pillow(picture: UserPicture, name: str, options: dict[str, object]) -> bytes:
    buffer = BytesIO()
    image = Image.fromarray(
        picture.channels.squeeze(-1) if _is_plain(picture) else picture.channels
    )
    image.save(buffer, format=name, icc_profile=picture.profile, **options)
    return buffer.getvalue()


def _is_plain(picture: UserPicture) -> bool:
    return picture.colour.ndim == 2 and picture.alpha is None


def _png(picture: UserPicture) -> bytes:
    """By hand: Pillow writes no 16-bit colour, OpenCV no profile and no grey with alpha.

    Every row is stored as its difference to the one above (filter 2).
    """
    samples = picture.channels
    height, width, channels = samples.shape
    rows = samples.astype(samples.dtype.newbyteorder(">")).view(np.uint8).reshape(height, -1)
    above = np.vstack([np.zeros_like(rows[:1]), rows[:-1]])
    filtered = np.hstack([np.full((height, 1), 2, np.uint8), rows - above])
    kind = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    header = struct.pack(">IIBBBBB", width, height, picture.depth, kind, 0, 0, 0)
    profile = picture.profile and _chunk(b"iCCP", b"ICC\0\0" + zlib.compress(picture.profile))
    data = _chunk(b"IDAT", zlib.compress(filtered.tobytes(), 6))
    return b"".join(
        (b"\x89PNG\r\n\x1a\n", _chunk(b"IHDR", header), profile or b"", data, _chunk(b"IEND", b""))
    )


def _chunk(name: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(name + content)
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", checksum)


def _tiff(picture: UserPicture) -> bytes:
    """Deflated; by tifffile, because Pillow writes no 16-bit colour."""
    import tifffile

    buffer = BytesIO()
    samples = picture.channels
    tifffile.imwrite(
        buffer,
        samples.squeeze(-1) if _is_plain(picture) else samples,
        photometric="minisblack" if picture.colour.ndim == 2 else "rgb",
        planarconfig=None if _is_plain(picture) else "contig",
        extrasamples=None if picture.alpha is None else ["unassalpha"],
        compression="zlib",
        iccprofile=picture.profile,
        metadata=None,
    )
    return buffer.getvalue()
