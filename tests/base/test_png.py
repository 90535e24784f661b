import zlib

import pytest

from hitsr.base.png import SIGNATURE, Chunk, chunks, inflated, packed, picture_only

XMP = b"XML:com.adobe.xmp\0\0\0\0\0<xmp/>"
NEEDED = [
    Chunk(b"IHDR", bytes(13)),
    Chunk(b"tRNS", b"\0\1"),
    Chunk(b"iTXt", XMP),
    Chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(b"\nexif\n2\n00")),
    Chunk(b"IDAT", b"first"),
    Chunk(b"IDAT", b"second"),
    Chunk(b"eXIf", b"II*\0"),
    Chunk(b"IEND", b""),
]
BESIDE = [
    Chunk(b"iCCP", b"profile"),
    Chunk(b"tEXt", b"Comment\0text"),
    Chunk(b"iTXt", b"Comment\0\0\0\0\0text"),
    Chunk(b"iTXt", XMP),  # the second: Pillow limits what all texts hold together
    Chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(bytes(2**20 + 1))),
    Chunk(b"prVt", b"private"),
]


def file_of(found: list[Chunk]) -> bytes:
    return SIGNATURE + b"".join(map(packed, found))


def test_chunks_undo_packed():
    assert list(chunks(file_of(NEEDED))) == NEEDED


def test_only_what_makes_the_picture_is_left():
    mixed = [*NEEDED[:3], *BESIDE, *NEEDED[3:]]
    assert picture_only(file_of(mixed)) == file_of(NEEDED)
    assert picture_only(file_of(mixed) + b"behind the end") == file_of(NEEDED)


@pytest.mark.parametrize("lost", [1, 12, 20, 40])
def test_what_is_cut_off_stays_so(lost: int):
    cut = file_of(NEEDED)[:-lost]
    assert picture_only(cut) == cut


def test_other_files_are_left_alone():
    assert picture_only(b"GIF89a") == b"GIF89a"
    assert list(chunks(b"GIF89a")) == []


def test_inflated_stops_at_its_limit():
    bomb = zlib.compress(bytes(10**6))
    assert inflated(bomb, 10**6) == bytes(10**6)
    assert inflated(bomb, 10**6 - 1) is None
    assert inflated(bomb[:-1], 10**6) is None
    assert inflated(b"damaged", 10**6) is None
