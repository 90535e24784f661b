"""Read and write pictures as arrays; files that cannot be read without loss are refused.

A picture is an (h, w, 3) uint8 array, RGB, samples 0..255. Colour profiles are ignored, as is usual
in super-resolution benchmarks.
"""

import struct
import unicodedata
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageFile, TiffImagePlugin, UnidentifiedImageError

from hitsr.base.errors import DataError, printable
from hitsr.base.files import content_of, write_bytes
from hitsr.base.png import picture_only
from hitsr.plan.picture_sets import DECODERS, EXTENSIONS, MOST_BYTES, is_picture

Samples: TypeAlias = NDArray[np.uint8] | NDArray[np.uint16]  # grey (h, w) or RGB (h, w, 3)
Picture: TypeAlias = NDArray[np.uint8]

# Advice of errors about pictures that are not there: by hand, or within the pipeline.
PREPARE_AGAIN = "run `hitsr prepare`, or `snakemake --forcerun prepare`"

# Pillow modes that convert to 8-bit RGB without loss if alpha is opaque everywhere.
_LOSSLESS_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA")
# Errors that Pillow's decoders raise on damaged files; found by truncating files and flipping bits.
_DAMAGE = (
    *(OSError, EOFError, SyntaxError, ValueError, TypeError, LookupError),
    *(struct.error, zlib.error),
)
_TRANSPOSITIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# A picture above Pillow's limit (89 million pixels) is taken for an attack if each byte of its file
# stands for more pixels than this; photographs have less than ten.
_PIXELS_PER_BYTE = 100
# Compared with Pillow's default of 6: 2.3 times faster to write, files 13 % larger.
_COMPRESS_LEVEL = 3


def read_image(path: Path) -> Picture:
    """Read one picture: (h, w, 3) uint8.

    Grey becomes three equal channels, palette colours become RGB, opaque alpha is dropped, and the
    EXIF orientation is applied. Raises DataError for a missing or damaged file, and for
    transparency, more than 8 bits per sample, CMYK and other colour spaces, and animations.
    """
    return decode_image(read_bytes(path), path)


def read_bytes(path: Path, where: str = "") -> bytes:
    """The raw bytes of a file; DataError if it is missing, cannot be read, or is a device or pipe.

    Errors begin with `where`, by default the path.
    """
    try:
        return content_of(path, MOST_BYTES)
    except OSError as error:
        raise DataError(
            f"{where or path}: cannot be read: {error.strerror}; check the path"
        ) from error


def decode_image(data: bytes, path: Path) -> Picture:
    """Decode the bytes of a picture file as `read_image` does; `path` is named in errors."""
    with open_picture(data, str(path)) as image:
        if is_deep(image):
            raise DataError(f"{path}: more than 8 bits per sample; convert it to 8 bits first")
        if image.mode not in _LOSSLESS_MODES:
            raise DataError(f"{path}: samples are {image.mode}; convert it to 8-bit RGB or grey")
        return np.array(_opaque(path, upright(image)).convert("RGB"))


@contextmanager
def open_picture(data: bytes, where: str) -> Iterator[ImageFile.ImageFile]:
    """Open a picture file with Pillow; decoding errors inside the block become DataError.

    What lies in a PNG beside the picture is left out: `hitsr.base.png` reads it. Raises DataError,
    which names `where`, for a damaged file, for an animation or several pages, and for a picture so
    large that an attack is suspected.
    """
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"PIL\.")  # about sizes and damaged EXIF
            with Image.open(BytesIO(picture_only(data)), formats=DECODERS) as image:
                _check_size(image, len(data), where)
                _scale_key(image)
                # MPO: a phone's JPEG with a preview or depth map behind it; the first counts.
                if getattr(image, "is_animated", False) and image.format != "MPO":
                    raise DataError(
                        f"{where}: an animation or several pages; save the one you want"
                    )
                yield image
    except Image.DecompressionBombError as error:
        raise DataError(f"{where}: {error}; cut it into smaller pictures") from error
    except UnidentifiedImageError as error:
        raise DataError(
            f"{where}: truncated or damaged, or not a picture of type png, jpeg, webp, tiff or "
            "bmp; fetch it again, or convert it"
        ) from error
    except _DAMAGE as error:
        raise DataError(f"{where}: truncated or damaged ({error}); fetch it again") from error


def size_in_header(path: Path) -> tuple[int, int] | None:
    """Width and height as a picture file's header has them; None if it cannot be read.

    No samples are read, so a damaged picture is not noticed.
    """
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"PIL\.")
            with Image.open(path) as image:
                return image.size
    except (OSError, Image.DecompressionBombError, *_DAMAGE):
        return None


def orientation_of(image: ImageFile.ImageFile) -> int:
    """The EXIF orientation of an opened file, 1 to 8; 1 if damaged EXIF gives none.

    Loads the samples, unless it is a TIFF: that is turned while it is loaded, and is upright then.
    """
    if image.format != "TIFF":
        image.load()
    try:
        found = image.getexif().get(ExifTags.Base.Orientation, 1)
    except SyntaxError:  # it does not begin as EXIF does
        return 1
    return found if found in _TRANSPOSITIONS else 1


def upright(image: ImageFile.ImageFile) -> Image.Image:
    """The picture with its orientation applied.

    Pillow's own function for this also rewrites EXIF, which fails if that holds odd values.
    """
    image.load()
    transposition = _TRANSPOSITIONS.get(orientation_of(image))
    return image if transposition is None else image.transpose(transposition)


def write_png(path: Path, image: Picture) -> None:
    """Write an (h, w, 3) uint8 picture atomically; equal pictures give equal bytes.

    Raises ValueError for another shape or type, and OSError if the file cannot be written.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"{path}: a picture is (h, w, 3) uint8, got {image.shape} {image.dtype}")
    buffer = BytesIO()  # Pillow's own errors of writing say neither why nor where
    Image.fromarray(image).save(buffer, format="PNG", compress_level=_COMPRESS_LEVEL)
    write_bytes(path, buffer.getvalue())


def list_pictures(folder: Path) -> dict[str, Path]:
    """The pictures directly in a folder: stem -> path, sorted by stem; hidden files are skipped.

    Raises DataError if the folder is missing or holds no picture, if two pictures share a stem, and
    for a name that does not fit into one line of text, as records hold it.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; check the path, or {PREPARE_AGAIN}")
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if not is_picture(path.name) or path.is_dir():
            continue
        if any(unicodedata.category(each) in ("Cc", "Cs") for each in path.name):
            name = printable(path.name)
            raise DataError(
                f"{folder}: {name}: a name with line breaks, controls or bytes that are no UTF-8 "
                "cannot stand in records; rename it"
            )
        if path.stem in found:
            raise DataError(
                f"{folder}: {found[path.stem].name} and {path.name} share a name; keep one"
            )
        found[path.stem] = path
    if not found:
        inner = next((path for path in sorted(folder.iterdir()) if path.is_dir()), None)
        hint = f"; pictures in {inner} and other subfolders are not read" if inner else ""
        wanted = ", ".join(EXTENSIONS)
        raise DataError(f"{folder}: no picture in it; want files of type {wanted}{hint}")
    return dict(sorted(found.items()))


def crop_to_multiple(image: Picture, scale: int) -> Picture:
    """Crop right and bottom so that both sides are multiples of `scale`; returns a view."""
    height, width = image.shape[:2]
    return image[: height - height % scale, : width - width % scale]


def check_samples(name: str, value: object, *, grey: bool = False, deep: bool = False) -> None:
    """Raise ValueError, which calls the value `name`, unless it is the array of a picture.

    That is (h, w, 3) uint8 with a pixel or more; with `grey` also (h, w), with `deep` also uint16.
    """
    types = (np.uint8, np.uint16) if deep else (np.uint8,)
    if (
        isinstance(value, np.ndarray)
        and value.dtype in types
        and value.size
        and ((value.ndim == 3 and value.shape[2] == 3) or (grey and value.ndim == 2))
    ):
        return
    shapes = "(h, w, 3) RGB" + " or (h, w) grey" * grey
    ranges = "0..255 in uint8" + " or 0..65535 in uint16" * deep
    raise ValueError(
        f"{name} must be a NumPy array, not empty, {shapes}, {ranges}, got {described(value)}"
    )


def described(value: object) -> str:
    """What was given instead of a picture: "(20, 20) float64", "list", "Tensor (3, 8, 8) ..."."""
    kind = "" if isinstance(value, np.ndarray) else type(value).__name__
    shape, dtype = getattr(value, "shape", None), getattr(value, "dtype", None)
    said = [kind, "" if shape is None else str(tuple(shape)), "" if dtype is None else str(dtype)]
    return " ".join(filter(None, said))


def size_text(image: Picture) -> str:
    """Width x height, in the order of picture viewers: "480x320"."""
    return f"{image.shape[1]}x{image.shape[0]}"


def is_deep(image: ImageFile.ImageFile) -> bool:
    """Whether the samples of an opened file have more than 8 bits.

    Pillow silently reads 16-bit RGB as 8-bit, so its mode does not tell. The file's header does: a
    TIFF's BITSPERSAMPLE tag, or else the raw mode that the tiles are decoded from (`RGB;16B`).
    """
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        return bool(max(image.tag_v2.get(TiffImagePlugin.BITSPERSAMPLE, (1,))) > 8)
    arguments = [tile.args if isinstance(tile.args, tuple) else (tile.args,) for tile in image.tile]
    return any(";16" in str(argument[0]) for argument in arguments if argument)


def _check_size(image: ImageFile.ImageFile, file_bytes: int, where: str) -> None:
    """Refuse a picture whose file is too small for its size, before its samples take memory."""
    pixels, limit = image.width * image.height, Image.MAX_IMAGE_PIXELS
    if limit is not None and pixels > max(limit, file_bytes * _PIXELS_PER_BYTE):
        raise DataError(
            f"{where}: {image.width}x{image.height} pixels in {file_bytes} bytes, which looks like "
            "an attack; cut it into smaller pictures"
        )


def _scale_key(image: ImageFile.ImageFile) -> None:
    """Scale a PNG's transparent grey of 2 or 4 bits as Pillow scales the samples: to 8 bits."""
    raw_mode = str(image.tile[0].args) if image.tile else ""
    if "transparency" in image.info and raw_mode in ("L;2", "L;4"):
        image.info["transparency"] *= 255 // (2 ** int(raw_mode[2:]) - 1)


def _opaque(path: Path, image: Image.Image) -> Image.Image:
    """The image, if it is opaque everywhere; DataError if not."""
    if not image.has_transparency_data:
        return image
    image = image.convert("RGBA")
    if image.getchannel("A").getextrema() != (255, 255):
        raise DataError(f"{path}: transparent in places; flatten it onto a background first")
    return image
