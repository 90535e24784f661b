"""Archives are unpacked whole or, if anything in them is hostile or damaged, not at all."""

import io
import shutil
import stat
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from hitsr.base.errors import DataError
from hitsr.data import unpacking
from hitsr.data.unpacking import opened, placed, write_members

PICTURES = {f"set/{name}.png": np.random.default_rng(0).bytes(3000) for name in "abc"}


def in_zip(path: Path, files: dict[str, bytes], *more: tuple[zipfile.ZipInfo | str, bytes]) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.mkdir("set")
        for name, content in (*files.items(), *more):
            archive.writestr(name, content)


def in_tar(path: Path, files: dict[str, bytes], *more: tarfile.TarInfo) -> None:
    folder = tarfile.TarInfo("./set")
    folder.type = tarfile.DIRTYPE
    with tarfile.open(path, "w") as archive:
        archive.addfile(folder)
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        for info in more:
            archive.addfile(info)


def unpack(archive: Path, root: Path) -> int:
    """Unpack pictures by their own names; what else there is, is left."""

    def place(name: str) -> Path | None:
        return Path(Path(name).name) if name.endswith(".png") else None

    with opened(archive) as members:
        found = placed(archive, members, place)
        return write_members(archive, {root / path: member for path, member in found.items()})


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    return tmp_path / "in/pictures.bin"  # names do not decide what a file is


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out/set"


def refused(archive: Path, out: Path, told: str) -> None:
    before = sorted(out.parents[1].rglob("*"))
    with pytest.raises(DataError, match=told):
        unpack(archive, out)
    assert sorted(out.parents[1].rglob("*")) == before


@pytest.mark.parametrize("pack", [in_zip, in_tar])
def test_an_archive_is_unpacked_and_a_second_time_nothing_is_written(
    pack: Callable[[Path, dict[str, bytes]], None], archive: Path, out: Path
) -> None:
    pack(archive, {**PICTURES, "set/readme.txt": b"left out", "inner.zip": b"PK\x03\x04"})
    assert unpack(archive, out) == 3
    stamps = {path.name: path.stat().st_mtime_ns for path in out.iterdir()}
    assert {f"set/{path.name}": path.read_bytes() for path in out.iterdir()} == PICTURES
    (out / "b.png").unlink()
    assert unpack(archive, out) == 1
    assert all(stamps[name] == (out / name).stat().st_mtime_ns for name in ("a.png", "c.png"))


@pytest.mark.parametrize("content", [b"other", bytes(3000)])
def test_another_file_in_the_place_of_a_picture_is_kept_and_told(
    content: bytes, archive: Path, out: Path
) -> None:
    in_zip(archive, PICTURES)
    out.mkdir(parents=True)
    (out / "b.png").write_bytes(content)
    refused(archive, out, r"b\.png: not the file in the archive; remove it, or name another folder")
    assert (out / "b.png").read_bytes() == content


ESCAPES = ["../a.png", "set/../../a.png", "/a.png", "//host/a.png", "C:/a.png", "C:a.png"]


@pytest.mark.parametrize("name", [*ESCAPES, "..\\a.png", "set\\..\\..\\a.png", "\\a.png"])
@pytest.mark.parametrize("pack", [in_zip, in_tar])
def test_paths_that_lead_out_are_refused(
    name: str, pack: Callable[[Path, dict[str, bytes]], None], archive: Path, out: Path
) -> None:
    pack(archive, {**PICTURES, name: b"x"})
    refused(archive, out, "refused, and nothing was unpacked: the path .* leads out of it")


def test_a_folder_that_leads_out_is_refused(archive: Path, out: Path) -> None:
    in_zip(archive, PICTURES, ("set/../../", b""))
    refused(archive, out, "leads out of it")


KINDS = {
    "symbolic link": tarfile.SYMTYPE,
    "hard link": tarfile.LNKTYPE,
    "character device": tarfile.CHRTYPE,
    "block device": tarfile.BLKTYPE,
    "pipe": tarfile.FIFOTYPE,
    "sparse file": tarfile.GNUTYPE_SPARSE,
    "unknown": b"Z",
}


@pytest.mark.parametrize("kind", KINDS)
def test_links_and_devices_in_tar_files_are_refused(kind: str, archive: Path, out: Path) -> None:
    info = tarfile.TarInfo("set/d.png")
    info.type, info.linkname = KINDS[kind], "a.png"
    in_tar(archive, PICTURES, info)
    refused(archive, out, r"'set/d\.png' is a link, device or sparse file")


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO])
def test_links_and_devices_in_zip_files_are_refused(kind: int, archive: Path, out: Path) -> None:
    info = zipfile.ZipInfo("set/d.png")
    info.external_attr = (kind | 0o644) << 16
    in_zip(archive, PICTURES, (info, b"/etc/passwd"))
    refused(archive, out, r"'set/d\.png' is a link or device")


@pytest.mark.parametrize("pack", [in_zip, in_tar])
@pytest.mark.parametrize("name", ["set/A.png", "other/a.png"])
def test_two_files_in_one_place_are_refused(
    name: str, pack: Callable[[Path, dict[str, bytes]], None], archive: Path, out: Path
) -> None:
    pack(archive, {**PICTURES, name: b"x"})
    refused(archive, out, r"two of its files are [aA]\.png")


def test_a_zip_file_that_unpacks_to_a_multiple_is_refused(archive: Path, out: Path) -> None:
    in_zip(archive, {**PICTURES, "set/d.png": bytes(10**6)})
    refused(archive, out, "it would unpack to more than 4 times its size")
    in_zip(archive, {f"set/{number}.png": bytes(2000) for number in range(100)})
    refused(archive, out, "it would unpack to more than 4 times its size")


def test_a_sparse_file_of_a_terabyte_is_refused(archive: Path, out: Path) -> None:
    info = tarfile.TarInfo("set/d.png")
    info.pax_headers = {
        "GNU.sparse.major": "0",
        "GNU.sparse.minor": "1",
        "GNU.sparse.size": str(2**40),
        "GNU.sparse.map": "0,0",
    }
    in_tar(archive, PICTURES, info)
    refused(archive, out, "sparse file")


def test_an_archive_with_too_many_entries_is_refused(
    archive: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unpacking, "_MOST_ENTRIES", 3)
    in_zip(archive, PICTURES)
    refused(archive, out, "it has more than 3 entries")


def test_an_archive_in_an_archive_stays_packed(archive: Path, out: Path) -> None:
    inner = archive.with_name("inner.zip")
    in_zip(inner, {"set/d.png": bytes(10**6)})
    in_zip(archive, {**PICTURES, "set/inner.zip": inner.read_bytes()})
    assert unpack(archive, out) == 3
    assert sorted(path.name for path in out.iterdir()) == ["a.png", "b.png", "c.png"]


@pytest.mark.parametrize("shift", [-1000, 1000])
def test_a_wrong_size_in_the_header_of_a_zip_file_is_told(
    shift: int, archive: Path, out: Path
) -> None:
    in_zip(archive, PICTURES)
    whole = archive.read_bytes()
    assert whole.count(struct.pack("<L", 3000)) >= 6  # once beside a file, once in the list
    archive.write_bytes(whole.replace(struct.pack("<L", 3000), struct.pack("<L", 3000 + shift)))
    with pytest.raises(DataError, match=r"damaged|is cut off"):
        unpack(archive, out)
    assert not list(out.iterdir())


def test_a_wrong_size_in_the_header_of_a_tar_file_is_told(archive: Path, out: Path) -> None:
    in_tar(archive, PICTURES)
    with tarfile.open(archive) as listed:
        last = listed.getmembers()[-1]
    data = bytearray(archive.read_bytes())
    last.size = 10**9
    data[last.offset : last.offset + 512] = last.tobuf(tarfile.GNU_FORMAT)
    archive.write_bytes(data)
    refused(archive, out, r"it would unpack to more than 4|damaged")


@pytest.mark.parametrize("pack", [in_zip, in_tar])
def test_what_is_cut_off_or_flipped_is_told(
    pack: Callable[[Path, dict[str, bytes]], None], archive: Path, out: Path
) -> None:
    pack(archive, PICTURES)
    whole = archive.read_bytes()
    archive.write_bytes(whole[: len(whole) // 2])
    refused(archive, out, "no zip or tar archive, or damaged .*; delete it and fetch it again")
    if pack is in_zip:  # tar files have no checksums of what they hold
        archive.write_bytes(whole.replace(PICTURES["set/b.png"][:50], bytes(50)))
        with pytest.raises(DataError, match="damaged"):
            unpack(archive, out)
        assert not (out / "b.png").exists()


@pytest.mark.parametrize("content", [b"", b"<!DOCTYPE html><html>", b"PK\x03\x04", b"\x1f\x8b"])
def test_what_is_no_archive_is_told(content: bytes, archive: Path, out: Path) -> None:
    archive.write_bytes(content)
    refused(archive, out, "no zip or tar archive, or damaged")


def test_compressed_tar_files_are_no_archives_here(archive: Path, out: Path) -> None:
    with tarfile.open(archive, "w:gz"):
        pass
    refused(archive, out, "no zip or tar archive")


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_compression_than_deflate_is_refused(method: int, archive: Path, out: Path) -> None:
    with zipfile.ZipFile(archive, "w", method) as packed:
        packed.writestr("set/a.png", PICTURES["set/a.png"])
    refused(archive, out, "is compressed otherwise than by deflate")


def test_an_encrypted_zip_file_is_told(archive: Path, out: Path) -> None:
    in_zip(archive, PICTURES)
    data = bytearray(archive.read_bytes())
    for mark, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        start = data.find(mark)
        while start >= 0:
            data[start + place] |= 1
            start = data.find(mark, start + 1)
    archive.write_bytes(data)
    with pytest.raises(DataError, match="encrypted"):
        unpack(archive, out)


def test_too_little_room_is_told_before_anything_is_written(
    archive: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_zip(archive, PICTURES)
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=8000))
    with pytest.raises(OSError, match="are needed, and"):
        unpack(archive, out)
    assert not out.exists()
