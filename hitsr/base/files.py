"""Write files atomically: after a full disk or a kill, the old file is still there, unchanged."""

import errno
import hashlib
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from io import BufferedReader
from pathlib import Path

# Names of temporary files: short, so that they fit wherever the file's own name does; hidden and of
# a type of their own, so that no reader takes one that a kill left for a result.
_PREFIX, _SUFFIX = ".hitsr-", ".part"
_STALE_S = 86_400  # no file takes a day to write


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path in the folder of `path`, to be written inside the block.

    When the block ends, the temporary file replaces `path`; on an error it is deleted and `path`
    stays untouched. Its suffix is not that of `path`, so writers must be told their format. An
    OSError (no space left, read-only folder) names `path`.
    """
    temporary: Path | None = None
    try:
        with naming(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            _sweep(path.parent)
            handle, name = tempfile.mkstemp(dir=path.parent, prefix=_PREFIX, suffix=_SUFFIX)
            os.close(handle)
            temporary = Path(name)
            yield temporary
            with temporary.open("r+b") as written:  # only a writable file can be synced everywhere
                os.fsync(written.fileno())
            temporary.chmod(0o666 & ~_umask())
            temporary.replace(path)
            sync_folder(path.parent)
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Let an OSError of writing `path`, which may name no file or a temporary one, name `path`.

    Errors about other files keep their names.
    """
    try:
        yield
    except OSError as error:
        is_named = isinstance(error.filename, str | bytes)  # not by the number of a handle
        named = Path(os.fsdecode(error.filename)) if is_named else path
        is_other = named not in (path, *path.parents) and not named.name.startswith(_PREFIX)
        if error.errno is None or is_other:
            raise
        number, reason = error.errno, error.strerror
        if number == errno.EEXIST:  # a file where a folder should be
            number, reason = errno.ENOTDIR, f"{os.strerror(errno.ENOTDIR)} ({named})"
        raise OSError(number, reason, str(path)) from error


@cache
def _sweep(folder: Path) -> None:
    """Delete temporary files that a killed process left, once per folder and process."""
    sweep(folder, _STALE_S)


def sweep(folder: Path, older_s: float = 0) -> None:
    """Delete temporary files of this age; without an age, nobody may be writing in the folder."""
    for path in folder.glob(f"{_PREFIX}*{_SUFFIX}"):
        with suppress(OSError):  # another process may be sweeping too
            if not older_s or time.time() - path.stat().st_mtime > older_s:
                path.unlink()


def sync_folder(folder: Path) -> None:
    """Make a rename survive a power cut, where folders can be synced: not on Windows."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file atomically, as `replacing` does."""
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 file atomically, as `replacing` does."""
    write_bytes(path, text.encode())


def check_room(folder: Path, needed: int) -> None:
    """Raise OSError (no space left), which names the folder, unless `needed` bytes are free."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        reason = f"{size_words(needed)} are needed, and {size_words(free)} are free; make room"
        raise OSError(errno.ENOSPC, reason, str(folder))


def size_words(count: int) -> str:
    """A number of bytes in words: "3.5 GB", "12.0 MB"."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"


def content_of(path: Path, most: int) -> bytes:
    """The content of a file; OSError, which names it, if it has more than `most` bytes.

    An OSError too for a device or pipe, which may have no end, or may never begin.
    """
    with _opened(path) as file:
        size = os.fstat(file.fileno()).st_size  # to read a number of bytes takes memory for all
        content = b"" if size > most else file.read()
    if max(size, len(content)) > most:
        raise OSError(errno.EFBIG, f"it has more than {size_words(most)}", str(path))
    return content


def visible(folder: Path, pattern: str) -> list[Path]:
    """Paths below a folder that match, sorted, but for hidden ones.

    Hidden files are left by macOS (`._a.json`), by editors, and by writers that were killed.
    """
    found = sorted(folder.glob(pattern))
    return [p for p in found if not any(x.startswith(".") for x in p.relative_to(folder).parts)]


def sha256(path: Path) -> str:
    """SHA-256 of a file's content, in hex; OSError as `content_of`, for a file of any size."""
    with _opened(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _opened(path: Path) -> BufferedReader:
    """A file, opened to be read; to open a pipe would wait for whoever writes to it."""
    if stat.S_IFMT(path.stat().st_mode) not in (stat.S_IFREG, stat.S_IFDIR):
        raise OSError(errno.EINVAL, "it is a device or pipe", str(path))
    return path.open("rb")  # which says of a folder that it is one


def no_file(path: Path) -> str:
    """Why a path, which is not that of a file, is none."""
    if path.is_dir():
        return f"{path}: is a folder; name a file in it"
    return f"{path}: is a device or pipe; name a file" if path.exists() else f"{path}: no such file"


def _umask() -> int:
    """The process's umask; the only way to read it is to set it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
