"""Read files of weights by their content, whatever their suffix; no code in a file is run.

Two formats are read: safetensors, and PyTorch's checkpoints (zip or older) of tensors and plain
values. Any other content is refused by name.
"""

import pickle
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file

from hitsr.base.errors import WeightsError, cut
from hitsr.base.files import no_file
from hitsr.base.reading import parse_json

# A small file may hold much: mappings that hold each other, a tensor that repeats one number, zeros
# that are compressed. The state of a training has some thousand entries.
_MOST_ENTRIES, _DEEPEST = 100_000, 50
_MOST_RATIO, _LITTLE = 4, 2**20  # bytes for each byte of the file; bytes that any file may hold
_PICKLE, _ZIP = b"\x80", b"PK"
_LEGACY = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # of PyTorch's format before zip
_FETCH_AGAIN = "download it again"
# First bytes of what is often saved as weights by mistake.
_OTHERS = {
    b"version https://git-lfs": "a pointer of Git LFS; fetch the file itself with `git lfs pull`",
    b"<": "a web page; open its link in a browser and save the file that it offers",
    b"{": "JSON; name the file of the weights",
    b"\x1f\x8b": "a compressed archive; unpack it",
    b"\xfd7zXZ": "a compressed archive; unpack it",
    b"7z\xbc\xaf": "a compressed archive; unpack it",
    b"Rar!": "a compressed archive; unpack it",
    b"\x89HDF": "HDF5; save the weights with torch.save or as safetensors",
    b"\x93NUMPY": "a NumPy array; save the weights with torch.save or as safetensors",
}
_MAKE_SCALAR: Any = np.float64(0).__reduce__()[0]
# Checkpoints hold scores as NumPy's scalars, whose unpickling runs nothing else.
_SCALARS: list[Any] = [
    np.dtype,
    *{type(np.dtype(kind)) for kind in "?bhilqBHILQefd"},
    *((_MAKE_SCALAR, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")),
]


class WeightsFile(NamedTuple):
    """The content of a file of weights."""

    entries: Mapping[Any, Any]  # a state dict, or what it is wrapped in
    belongs_to: Mapping[str, Any]  # what hitsr wrote about network, scale and run; may be empty


def read_weights(path: Path) -> WeightsFile:
    """Read a file of weights; WeightsError says why it is none, or why it cannot be read."""
    if not path.is_file():
        raise WeightsError(no_file(path))
    with path.open("rb") as file:
        head = file.read(64)
    if _is_safetensors(head):
        return WeightsFile(_safetensors(path), belongs_to(path))
    if head.startswith((_PICKLE, _ZIP)):
        return WeightsFile(_pickled(path, head), {})
    raise WeightsError(f"{path}: not a checkpoint: it is {_kind(head)}")


def belongs_to(path: Path) -> Mapping[str, Any]:
    """What hitsr wrote into a file about network, scale and run; empty for other files.

    Raises WeightsError if that is damaged.
    """
    with path.open("rb") as file:
        if not _is_safetensors(file.read(64)):
            return {}
    try:
        with safe_open(path, framework="numpy") as opened:
            written = (opened.metadata() or {}).get("hitsr", "{}")
    except (SafetensorError, OSError):
        return {}  # reading the tensors will raise with the reason
    try:
        found = parse_json(written)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise WeightsError(
            f"{path}: its metadata `hitsr`, which name the network, are damaged; export it again"
        )
    return found


def _is_safetensors(head: bytes) -> bool:
    """Eight bytes with the length of a header of at most 100 MB, which is JSON."""
    return head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= 100_000_000


def _safetensors(path: Path) -> Mapping[str, Any]:
    try:
        return load_file(path)
    except SafetensorError as error:
        raise WeightsError(
            f"{path}: not a checkpoint: incomplete or damaged safetensors ({cut(str(error))}); "
            f"{_FETCH_AGAIN}"
        ) from None


def _pickled(path: Path, head: bytes) -> Mapping[Any, Any]:
    if head.startswith(_ZIP):
        _check_archive(path)
    try:
        with (
            warnings.catch_warnings(action="ignore"),  # of pickle's versions
            torch.serialization.safe_globals(_SCALARS),
            path.open("rb") as file,  # torch.load itself would go by the suffix
        ):
            loaded = torch.load(file, map_location="cpu", weights_only=True)
    # Not quoted: PyTorch's messages advise to load the file in a way that runs its code.
    except Exception as error:  # anything from EOFError to RuntimeError
        if head.startswith((_ZIP, _LEGACY)) and not isinstance(error, pickle.UnpicklingError):
            reason = f"not a checkpoint: incomplete or damaged; {_FETCH_AGAIN}"
        else:
            reason = (
                f"not a checkpoint of tensors alone: it {_other_objects(path)}; other objects "
                "are refused because loading them runs code; ask its author for a state dict"
            )
        raise WeightsError(f"{path}: {reason}") from None
    if not isinstance(loaded, Mapping):
        raise WeightsError(f"{path}: holds {type(loaded).__name__}, not a state dict")
    _check_extent(loaded, path)
    return loaded


def _check_extent(loaded: Mapping[Any, Any], path: Path) -> None:
    """Raise WeightsError if reading all entries would take time or memory without reason.

    Entries are counted wherever they repeat; a tensor under two names counts once.
    """
    level: list[Mapping[Any, Any]] = [loaded]
    sizes: dict[tuple[Any, ...], int] = {}
    count = depth = 0
    while level:
        depth, inner = depth + 1, []
        for mapping in level:
            count += len(mapping)
            if count > _MOST_ENTRIES or depth > _DEEPEST:
                raise WeightsError(
                    f"{path}: not a checkpoint: it holds more than {_MOST_ENTRIES:,} entries, or "
                    f"more than {_DEEPEST} levels of them; ask its author for a state dict"
                )
            for value in mapping.values():
                if isinstance(value, Mapping):
                    inner.append(value)
                elif isinstance(value, torch.Tensor) and value.layout == torch.strided:
                    sizes[value.data_ptr(), *value.shape] = value.nbytes
        level = inner
    _check_size(sum(sizes.values()), path)


def _check_size(size: int, path: Path) -> None:
    """Raise WeightsError if a file would take far more memory than its size."""
    if size > max(_LITTLE, path.stat().st_size * _MOST_RATIO):
        raise WeightsError(
            f"{path}: not a checkpoint: it would take more than {_MOST_RATIO} times its size in "
            f"memory; {_FETCH_AGAIN}, or save its state dict with torch.save again"
        )


def _check_archive(path: Path) -> None:
    """Raise WeightsError for a zip file that PyTorch did not write, or that lacks its end."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            size = sum(info.file_size for info in archive.infolist())
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        raise WeightsError(
            f"{path}: not a checkpoint: the end of the file is missing; {_FETCH_AGAIN}"
        ) from None
    if any(name.endswith("/constants.pkl") for name in names):
        raise WeightsError(
            f"{path}: not a checkpoint: it is a TorchScript program; ask for its state dict"
        )
    if not any(name.endswith("data.pkl") for name in names):
        raise WeightsError(
            f"{path}: not a checkpoint: it is an archive of {len(names)} other files; unpack it"
        )
    _check_size(size, path)


def _other_objects(path: Path) -> str:
    """In words, the first classes or functions that a checkpoint needs besides tensors."""
    try:
        names = sorted(torch.serialization.get_unsafe_globals_in_checkpoint(path))
    except Exception:  # it reads archives alone, and of damaged ones raises anything
        names = []
    return (
        f"holds {', '.join(map(cut, names[:3]))}" if names else "holds other objects or is damaged"
    )


def _kind(head: bytes) -> str:
    """In words, what a file that begins with these bytes is."""
    if not head:
        return f"empty; {_FETCH_AGAIN}"
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    for first, kind in _OTHERS.items():
        if start.startswith(first):
            return kind
    if all(byte in b"\t\n\r" or byte >= 32 for byte in head):
        return "text; name the file of the weights"
    return f"neither safetensors nor of PyTorch; {_FETCH_AGAIN}, or name another file"
