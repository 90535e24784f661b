"""PNG files as chunks, so that what lies beside the picture neither spoils it nor is lost."""

import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

SIGNATURE = b"\x89PNG\r\n\x1a\n"

# Chunks that decoders may skip, but not here: transparency, animation, orientation.
_NEEDED = (b"tRNS", b"acTL", b"fcTL", b"fdAT", b"eXIf")
# Texts that Pillow takes the orientation from.
_XMP = b"XML:com.adobe.xmp\0\0"  # not compressed
_RAW_EXIF = b"Raw profile type exif\0"
_LARGEST_XMP = 32 * 2**20
_LARGEST_EXIF = 2**20  # in hexadecimal digits


class Chunk(NamedTuple):
    """A chunk of a PNG file."""

    name: bytes
    content: bytes


def chunks(data: bytes) -> Iterator[Chunk]:
    """The chunks of a PNG file up to its end, or up to where it is cut off; none of other files."""
    for start, end in _places(data):
        yield Chunk(data[start + 4 : start + 8], data[start + 8 : end - 4])


def packed(chunk: Chunk) -> bytes:
    """A chunk as it lies in a file: length, name, content, checksum."""
    checksum = zlib.crc32(chunk.name + chunk.content)
    return struct.pack(">I", len(chunk.content)) + b"".join(chunk) + struct.pack(">I", checksum)


def picture_only(data: bytes) -> bytes:
    """A PNG file without texts, profiles and private chunks; other files are returned unchanged.

    Pillow takes a file for damaged if these hold more than a mebibyte. Texts that may hold the
    orientation are kept. A file that is cut off stays so.
    """
    if not data.startswith(SIGNATURE):
        return data
    kept, stop, xmp = [SIGNATURE], len(SIGNATURE), False
    for start, end in _places(data):
        stop = end
        name = data[start + 4 : start + 8]
        if name == b"iTXt" and not xmp:
            xmp = data.startswith(_XMP, start + 8) and end - start < _LARGEST_XMP
            needed = xmp
        else:
            needed = _is_needed(name, data, start + 8, end - 4)
        if needed:
            kept.append(data[start:end])
        if name == b"IEND":
            return b"".join(kept)
    return b"".join((*kept, data[stop:]))


def inflated(data: bytes, limit: int) -> bytes | None:
    """What zlib compressed; None if it is damaged, or more than `limit` bytes."""
    engine = zlib.decompressobj()
    try:
        content = engine.decompress(data, limit)
    except zlib.error:
        return None
    return content if engine.eof else None


def _is_needed(name: bytes, data: bytes, start: int, end: int) -> bool:
    if name[:1].isupper() or name in _NEEDED:  # capitals mark what no decoder may skip
        return True
    if name not in (b"tEXt", b"zTXt") or not data.startswith(_RAW_EXIF, start):
        return False
    text = start + len(_RAW_EXIF)
    if name == b"tEXt":
        return end - text <= _LARGEST_EXIF
    return inflated(data[text + 1 : end], _LARGEST_EXIF) is not None


def _places(data: bytes) -> Iterator[tuple[int, int]]:
    """Where each whole chunk starts and ends."""
    start = len(SIGNATURE)
    while data.startswith(SIGNATURE) and start + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, start)
        end = start + 12 + length
        if end > len(data):
            return
        yield start, end
        start = end
