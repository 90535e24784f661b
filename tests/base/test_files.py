import errno
import hashlib
import os
import resource
import tempfile
from pathlib import Path

import pytest

from hitsr.base.files import replacing, sha256, write_bytes, write_text


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
        assert temporary.suffix == ".png"
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
    with pytest.raises(OSError, match="results"):
        write_text(tmp_path / "results" / "a.txt", "")
    assert (tmp_path / "results").read_text() == "a file"


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
