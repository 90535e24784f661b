import errno
import fcntl
import hashlib
import os
import resource
import stat
import tempfile
from pathlib import Path

import pytest

from hitsr.base.files import (
    content_of,
    no_file,
    replacing,
    sha256,
    visible,
    write_bytes,
    write_text,
)


def _refuse(code: int):
    def refuse(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    return refuse


def test_writes_into_new_folders(tmp_path: Path):
    file = tmp_path / "a" / "b" / "c.txt"
    write_text(file, "größer\n")
    assert file.read_bytes() == "größer\n".encode()
    write_bytes(file, b"\0\1")
    assert file.read_bytes() == b"\0\1"
    assert os.listdir(file.parent) == ["c.txt"]


def test_a_file_is_as_readable_as_any_other(tmp_path: Path):
    (tmp_path / "plain").touch()
    write_text(tmp_path / "ours", "")
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_the_old_file_stays_until_the_new_one_is_whole(tmp_path: Path):
    file = tmp_path / "a.png"
    write_text(file, "old")
    with replacing(file) as temporary:
        assert temporary.parent == file.parent  # a rename within one file system
        assert temporary.suffix == ".part"  # no reader of pictures or records takes it
        assert temporary.name.startswith(".")
        temporary.write_text("new")
        assert file.read_text() == "old"
    assert file.read_text() == "new"


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_interrupted_write_leaves_the_old_file_alone(error: type[BaseException], tmp_path: Path):
    file = tmp_path / "a.txt"
    write_text(file, "old")

    def write() -> None:
        with replacing(file) as temporary:
            temporary.write_text("ne")
            raise error

    with pytest.raises(error):
        write()
    assert file.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_full_disk_leaves_the_old_file_and_names_it(
    step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    file = tmp_path / "a.txt"
    write_text(file, "old")
    monkeypatch.setattr(*((os, step) if step == "fsync" else (Path, step)), _refuse(errno.ENOSPC))
    with pytest.raises(OSError, match="No space left on device") as caught:
        write_text(file, "new")
    assert caught.value.errno == errno.ENOSPC
    assert str(file) in str(caught.value)
    assert file.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_write_that_stops_half_way_leaves_the_old_file(tmp_path: Path):
    file = tmp_path / "a.txt"
    write_text(file, "old")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large") as caught:
            write_bytes(file, bytes(100_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert str(file) in str(caught.value)
    assert file.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_file_where_the_folder_should_be_is_named(tmp_path: Path):
    (tmp_path / "results").write_text("a file")
    for file in (tmp_path / "results/a.txt", tmp_path / "results/b/a.txt"):
        with pytest.raises(NotADirectoryError) as caught:
            write_text(file, "")
        assert caught.value.filename == str(file)
    assert (tmp_path / "results").read_text() == "a file"


# The longest names that file systems allow, in bytes.
@pytest.mark.parametrize("name", ["x" * 244, "ä" * 125 + ".json", "x" * 250 + ".json"])
def test_every_name_that_fits_is_written(name: str, tmp_path: Path):
    write_text(tmp_path / name, "text")
    assert os.listdir(tmp_path) == [name]


def test_a_name_that_does_not_fit_is_named(tmp_path: Path):
    file = tmp_path / ("x" * 256)
    with pytest.raises(OSError, match="File name too long") as caught:
        write_text(file, "text")
    assert caught.value.filename == str(file)
    assert caught.value.filename2 is None
    assert os.listdir(tmp_path) == []


def test_what_a_kill_left_is_cleaned_when_no_writer_can_still_be_at_work(tmp_path: Path):
    other = tmp_path / ".mine.part"
    for name in (".hitsr-old.part", ".hitsr-new.part", other.name):
        (tmp_path / name).write_text("half")
    os.utime(tmp_path / ".hitsr-old.part", (0, 0))
    os.utime(other, (0, 0))
    write_text(tmp_path / "a.txt", "whole")
    assert sorted(os.listdir(tmp_path)) == [".hitsr-new.part", other.name, "a.txt"]


def test_the_file_that_is_synced_was_opened_for_writing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    fsync = os.fsync

    def as_on_windows(handle: int) -> None:
        status = os.fstat(handle)
        if stat.S_ISREG(status.st_mode) and fcntl.fcntl(handle, fcntl.F_GETFL) & 3 == os.O_RDONLY:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        fsync(handle)

    monkeypatch.setattr(os, "fsync", as_on_windows)
    write_text(tmp_path / "a.txt", "text")
    assert (tmp_path / "a.txt").read_text() == "text"


@pytest.mark.parametrize("refuse_folders", [False, True])
def test_the_folder_is_synced_after_the_rename_where_it_can_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refuse_folders: bool
):
    synced = []

    def record(handle: int) -> None:
        is_folder = stat.S_ISDIR(os.fstat(handle).st_mode)
        synced.append((is_folder, (tmp_path / "a.txt").exists()))
        if is_folder and refuse_folders:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    monkeypatch.setattr(os, "fsync", record)
    write_text(tmp_path / "a.txt", "text")
    assert synced == [(False, False), (True, True)]


# Writing fails in each of these ways, with an error that names no file.
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EIO])
@pytest.mark.parametrize("step", ["mkstemp", "write", "fsync", "chmod", "replace"])
def test_every_failed_write_names_the_file(
    code: int, step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    places = {
        "mkstemp": (tempfile, "mkstemp"),
        "write": (Path, "write_bytes"),
        "fsync": (os, "fsync"),
        "chmod": (Path, "chmod"),
        "replace": (Path, "replace"),
    }
    monkeypatch.setattr(*places[step], _refuse(code))
    with pytest.raises(OSError, match=os.strerror(code)) as caught:
        write_text(tmp_path / "a.txt", "text")
    assert (caught.value.errno, caught.value.filename) == (code, str(tmp_path / "a.txt"))
    assert os.listdir(tmp_path) == []


def test_an_unwritable_folder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    file = tmp_path / "a.txt"
    if os.geteuid() == 0:  # root writes anywhere
        monkeypatch.setattr(tempfile, "mkstemp", _refuse(errno.EACCES))
    else:
        tmp_path.chmod(0o500)
    with pytest.raises(PermissionError) as caught:
        write_text(file, "")
    assert caught.value.filename == str(file)
    tmp_path.chmod(0o700)
    assert os.listdir(tmp_path) == []


def test_a_folder_in_the_files_place_is_named(tmp_path: Path):
    file = tmp_path / "a.txt"
    file.mkdir()
    with pytest.raises(OSError, match=r"a\.txt'"):
        write_text(file, "")
    assert os.listdir(tmp_path) == ["a.txt"]


def test_errors_about_other_files_keep_the_name_of_that_file(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match="source"), replacing(tmp_path / "a.txt"):
        (tmp_path / "source").read_bytes()
    with pytest.raises(OSError, match=r"^plain words$"), replacing(tmp_path / "a.txt"):
        raise OSError("plain words")


def test_sha256_is_that_of_the_content(tmp_path: Path):
    data = bytes(range(256)) * 1000
    (tmp_path / "a").write_bytes(data)
    assert sha256(tmp_path / "a") == hashlib.sha256(data).hexdigest()


def test_hidden_files_and_what_lies_in_hidden_folders_are_not_found(tmp_path: Path):
    for name in ("b.json", "a/c.json", "._b.json", ".hitsr-x.part", ".d/e.json", "a/.f.json"):
        write_text(tmp_path / name, "")
    assert [str(p.relative_to(tmp_path)) for p in visible(tmp_path, "**/*.json")] == [
        "a/c.json",
        "b.json",
    ]
    assert visible(tmp_path, "*.part") == []
    assert visible(tmp_path / ".d", "*") == [tmp_path / ".d/e.json"]  # asked for by name


def test_what_may_have_no_end_is_neither_read_nor_waited_for(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("/dev/zero")
    for read in (sha256, lambda path: content_of(path, 9)):
        for name in ("pipe", "link"):
            with pytest.raises(OSError, match=f"it is a device or pipe: '.*{name}'"):
                read(tmp_path / name)
    assert no_file(tmp_path / "pipe").endswith("pipe: is a device or pipe; name a file")
    assert no_file(tmp_path / "none").endswith("none: no such file")


def test_a_file_is_read_up_to_its_limit(tmp_path: Path):
    (tmp_path / "a").write_bytes(b"123")
    assert content_of(tmp_path / "a", 3) == b"123"
    with pytest.raises(OSError, match=r"it has more than 0\.0 MB: '.*a'"):
        content_of(tmp_path / "a", 2)
    os.truncate(tmp_path / "a", 2**40)  # takes no disk
    with pytest.raises(OSError, match="it has more than"):
        content_of(tmp_path / "a", 3)
