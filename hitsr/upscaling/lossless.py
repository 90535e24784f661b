"""Write PNG and TIFF files of 8 or 16 bits: Pillow writes no 16-bit colour, OpenCV no metadata."""

import struct
import zlib
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from hitsr.base.png import SIGNATURE, Chunk, packed
from hitsr.data.images import Samples
from hitsr.upscaling.exif import (
    LONG,
    UNDEFINED,
    Directory,
    Exif,
    Order,
    Value,
    exif_block,
    number,
    packed_directory,
    resized,
    shorts,
)
from hitsr.upscaling.metadata import Metadata, png_density, with_resolution

_DEFLATE, _UNASSOCIATED_ALPHA = 8, 2
_STRIP_BYTES = 2**18
_END = Chunk(b"IEND", b"")


def png_file(samples: Samples, profile: bytes | None, metadata: Metadata) -> bytes:
    """(h, w, 1 to 4), grey or RGB and then alpha -> the bytes of a PNG file."""
    height, width, channels = samples.shape
    colour_type = {1: 0, 2: 4, 3: 2, 4: 6}[channels]  # PNG's codes: grey, LA, RGB, RGBA
    depth = samples.dtype.itemsize * 8
    chunks = [Chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0))]
    chunks += metadata.colour
    if profile:
        chunks.append(Chunk(b"iCCP", b"ICC\0\0" + zlib.compress(profile)))
    if metadata.resolution:
        chunks.append(png_density(metadata.resolution))
    if metadata.exif:
        block = exif_block(metadata.exif, width, height).removeprefix(b"Exif\0\0")
        chunks.append(Chunk(b"eXIf", block))
    return b"".join((SIGNATURE, *map(packed, chunks), *_samples(samples), packed(_END)))


def tiff_file(
    samples: Samples, has_alpha: bool, profile: bytes | None, metadata: Metadata
) -> bytes:
    """(h, w, 1 to 4), grey or RGB and then alpha -> the bytes of a TIFF file.

    tifffile, which this environment has, writes no EXIF.
    """
    height, width, channels = samples.shape
    exif = with_resolution(metadata.exif, metadata.resolution) or Exif("<", {})
    order = exif.order
    rows = _strips(_rows(samples, order))
    strips = [zlib.compress(strip.tobytes()) for strip in rows]
    ends = np.cumsum([8, *map(len, strips)])
    tags: Directory = {
        **resized(exif, width, height),
        256: number(width, order),
        257: number(height, order),
        258: shorts((samples.dtype.itemsize * 8,) * channels, order),
        259: shorts((_DEFLATE,), order),
        262: shorts((1 if channels < 3 else 2,), order),  # black is zero, or RGB
        273: _numbers(ends[:-1], order),
        277: shorts((channels,), order),
        278: number(len(rows[0]), order),
        279: _numbers(np.diff(ends), order),
        **({338: shorts((_UNASSOCIATED_ALPHA,), order)} if has_alpha else {}),
        **({34675: Value(UNDEFINED, profile)} if profile else {}),
    }
    start = int(ends[-1] + ends[-1] % 2)
    header = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", start)
    padding = bytes(start - int(ends[-1]))
    return b"".join((header, *strips, padding, packed_directory(tags, order, start)))


def _samples(samples: Samples) -> Iterator[bytes]:
    """The chunks of a PNG's samples, some rows at a time, which takes less memory.

    Every row is stored as its difference to the row above (PNG filter 2, "up").
    """
    engine = zlib.compressobj(6)
    rows = _rows(samples, ">")
    above = np.zeros_like(rows[:1])
    for strip in _strips(rows):
        shifted = np.vstack([above, strip[:-1]])
        filtered = np.hstack([np.full((len(strip), 1), 2, np.uint8), strip - shifted])
        above = strip[-1:]
        if compressed := engine.compress(filtered.tobytes()):
            yield packed(Chunk(b"IDAT", compressed))
    yield packed(Chunk(b"IDAT", engine.flush()))


def _strips(rows: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    """Some rows at a time, from top to bottom."""
    step = max(1, _STRIP_BYTES // rows.shape[1])
    return [rows[top : top + step] for top in range(0, len(rows), step)]


def _rows(samples: Samples, order: Order) -> NDArray[np.uint8]:
    """(h, w, c) -> the bytes of each row, (h, n), in an order of bytes."""
    ordered = np.ascontiguousarray(samples, samples.dtype.newbyteorder(order))
    return ordered.view(np.uint8).reshape(len(samples), -1)


def _numbers(values: NDArray[np.integer], order: Order) -> Value:
    return Value(LONG, values.astype(f"{order}u4").tobytes())
