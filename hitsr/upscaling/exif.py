"""EXIF of users' pictures: what stays true after upscaling is kept, byte for byte.

Pillow rewrites EXIF too, but turns letters beyond ASCII into question marks and guesses types. Here
the values stay raw bytes, in the byte order of the file that they come from. A directory of tags is
written alike into an EXIF block and into a TIFF file.
"""

import struct
from collections.abc import Mapping
from fractions import Fraction
from typing import Literal, NamedTuple, TypeAlias

Order = Literal["<", ">"]  # of bytes, as `struct` spells it


class Value(NamedTuple):
    """The raw value of a tag: items of one TIFF type."""

    kind: int
    content: bytes


Directory: TypeAlias = Mapping[int, "Value | Directory"]


class Exif(NamedTuple):
    """Tags by number, and the byte order of their values."""

    order: Order
    tags: Directory


SHORT, LONG, _RATIONAL, UNDEFINED = 3, 4, 5, 7
_BYTES_OF_KIND = {1: 1, 2: 1, SHORT: 2, LONG: 4, _RATIONAL: 8, 6: 1, UNDEFINED: 1, 8: 2, 9: 4,
                  10: 8, 11: 4, 12: 8, 13: 4}  # fmt: skip
_HEADER = {"<": b"II*\0", ">": b"MM\0*"}

X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT = 282, 283, 296
_DESCRIPTION_TEXT = 270
_EXIF, _GPS, _INTEROPERABILITY = 34665, 34853, 40965
_WIDTH, _HEIGHT = 40962, 40963
# Of a TIFF's own tags: texts, dates, resolution, colour, ratings; the rest is about its layout.
_DESCRIPTION = (
    *(11, 269, 270, 271, 272, X_RESOLUTION, Y_RESOLUTION, 285, RESOLUTION_UNIT, 301, 305, 306, 315),
    *(316, 318, 319, 18246, 18249, 33432, 33434, 33437, *range(40091, 40096)),
)
# Of the camera, where a program put them beside the texts.
_CAMERA = (
    *(*range(34850, 34870), *range(36864, 37400), *range(37510, 37523), *range(37888, 37894)),
    *range(40960, 42100),
)
# Programs that write the size of the picture into its description.
_SIZES_IN_TEXT = (b'{"shape"', b"ImageJ=", b"<?xml")
# Compressed bits per pixel, subject area and location, resolution of the sensor's plane: about the
# pixels of the input. Maker notes: they hold previews, and offsets into the input.
_STALE = (37122, 37396, 37500, 41486, 41487, 41488, 41492)


def read_exif(block: bytes, turned: bool) -> Exif | None:
    """What is kept of a TIFF file or of an EXIF block; None if there is nothing, or it is damaged.

    Orientation, pixel layout, thumbnails and maker notes are left out, as are damaged tags.
    `turned`: the orientation exchanged rows and columns.
    """
    block = block.removeprefix(b"Exif\0\0").removeprefix(b"Exif\0\0")  # some write it twice
    order: Order = "<" if block.startswith(b"II") else ">"
    if not block.startswith(_HEADER[order]) or len(block) < 8:
        return None
    (start,) = struct.unpack_from(f"{order}I", block, 4)
    found = _values(block, start, order)
    camera = {
        tag: value for tag, value in _below(block, found, _EXIF, order).items() if tag not in _STALE
    }
    index = _below(block, camera, _INTEROPERABILITY, order)
    index = {tag: value for tag, value in index.items() if tag in (1, 2)}  # others: pixels
    tags = _described(found, turned)
    for place, tag, below in (
        (camera, _INTEROPERABILITY, index),
        (tags, _EXIF, camera),
        (tags, _GPS, _below(block, found, _GPS, order)),
    ):
        place.pop(tag, None)
        if below:
            place[tag] = below
    return Exif(order, tags) if tags else None


def _described(found: Directory, turned: bool) -> dict[int, "Value | Directory"]:
    """What stays true in the first directory of a block or of a TIFF file."""
    kept = {
        tag: value
        for tag, value in found.items()
        if tag in _DESCRIPTION or (tag in _CAMERA and tag not in _STALE)
    }
    kept.pop(_INTEROPERABILITY, None)
    text = kept.get(_DESCRIPTION_TEXT)
    if isinstance(text, Value) and text.content.startswith(_SIZES_IN_TEXT):
        del kept[_DESCRIPTION_TEXT]
    if turned:
        x, y = kept.pop(X_RESOLUTION, None), kept.pop(Y_RESOLUTION, None)
        kept |= {tag: value for tag, value in ((X_RESOLUTION, y), (Y_RESOLUTION, x)) if value}
    return kept


def exif_block(exif: Exif, width: int, height: int) -> bytes:
    """EXIF as it lies in a JPEG or WebP; a size in pixels becomes that of the upscaled picture."""
    header = _HEADER[exif.order] + struct.pack(f"{exif.order}I", 8)
    return b"Exif\0\0" + header + packed_directory(resized(exif, width, height), exif.order, 8)


def resized(exif: Exif, width: int, height: int) -> dict[int, "Value | Directory"]:
    """The tags, in which a size in pixels, where one is given, is that of the upscaled picture."""
    return _with_size(
        exif.tags, {_WIDTH: number(width, exif.order), _HEIGHT: number(height, exif.order)}
    )


def _with_size(tags: Directory, size: Mapping[int, Value]) -> dict[int, "Value | Directory"]:
    return {
        tag: size.get(tag, value) if isinstance(value, Value) else _with_size(value, size)
        for tag, value in tags.items()
    }


def number(value: int, order: Order) -> Value:
    """A number of up to 32 bits as the value of a tag."""
    return Value(LONG, struct.pack(f"{order}I", value))


def shorts(values: tuple[int, ...], order: Order) -> Value:
    """Numbers of up to 16 bits as the value of a tag."""
    return Value(SHORT, struct.pack(f"{order}{len(values)}H", *values))


def fraction(value: float, order: Order) -> Value:
    """A positive number as the value of a tag, to four decimals or more."""
    near = Fraction(value).limit_denominator(10_000)
    return Value(_RATIONAL, struct.pack(f"{order}2I", near.numerator, near.denominator))


def fraction_of(value: "Value | Directory | None", order: Order) -> float | None:
    """The number in a tag; None if there is none."""
    if not isinstance(value, Value) or value.kind != _RATIONAL:
        return None
    above, below = struct.unpack_from(f"{order}2I", value.content)
    return above / below if above and below else None


def packed_directory(tags: Directory, order: Order, start: int) -> bytes:
    """A directory with all below it, to lie at byte `start` of a file or block."""
    entries, behind = [], b""
    after = start + 2 + 12 * len(tags) + 4
    for tag, value in sorted(tags.items()):
        place = after + len(behind)
        if not isinstance(value, Value):
            below = packed_directory(value, order, place)
            value = number(place, order)
        else:
            below = value.content if len(value.content) > 4 else b""
        short = struct.pack(f"{order}I", place) if below else value.content.ljust(4, b"\0")
        items = len(value.content) // _BYTES_OF_KIND[value.kind]
        entries.append(struct.pack(f"{order}HHI", tag, value.kind, items) + short)
        behind += below + bytes(len(below) % 2)
    no_next = bytes(4)
    return struct.pack(f"{order}H", len(tags)) + b"".join(entries) + no_next + behind


def _below(block: bytes, tags: Directory, tag: int, order: Order) -> dict[int, Value | Directory]:
    """The directory that a tag points at; empty if there is none."""
    pointer = tags.get(tag)
    if not isinstance(pointer, Value) or pointer.kind not in (LONG, 13):
        return {}
    (start,) = struct.unpack_from(f"{order}I", pointer.content)
    return _values(block, start, order)


def _values(block: bytes, start: int, order: Order) -> dict[int, Value | Directory]:
    """The values of one directory without damaged ones, together no larger than the block."""
    if start + 2 > len(block):
        return {}
    (count,) = struct.unpack_from(f"{order}H", block, start)
    values: dict[int, Value | Directory] = {}
    left = len(block)
    for place in range(start + 2, min(start + 2 + 12 * count, len(block) - 11), 12):
        tag, kind, items, content = struct.unpack_from(f"{order}HHI4s", block, place)
        size = _BYTES_OF_KIND.get(kind, 0) * items
        if size > 4:
            (offset,) = struct.unpack(f"{order}I", content)
            content = block[offset : offset + min(size, left)]
        if 0 < size <= len(content):
            values[tag] = Value(kind, content[:size])
            left -= size
    return values
