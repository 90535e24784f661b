"""Packs: decoded pictures in memory-mapped files, so that training reads only what it cuts out.

A pack holds the raw samples of one picture, their checksum, and the hash of the picture file it was
made from: `HR/ant.png` becomes `HR/ant.safetensors`. A missing or damaged pack is made, and a pack
whose hash differs from that of the picture file is made again. So a stale pack is never used, an
interruption loses at most the packs in the making, and packs may be deleted at any time.
"""

import hashlib
import json
import zlib
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from hitsr.base.errors import DataError
from hitsr.base.files import write_bytes
from hitsr.base.reading import parse_json
from hitsr.data.images import Picture, decode_image, read_bytes
from hitsr.data.origins import Origins, check_hr, read_origins
from hitsr.data.sources import Pair, check_sizes, pairs
from hitsr.data.workers import on_all_cores

_VERSION = 2  # change it if the layout of packs or the decoding of pictures changes
_SAMPLES = "picture"


class Packed:
    """A picture in a memory-mapped file, (h, w, 3) uint8; `packed[0:4, 2:6]` reads that part only.

    `shape` may be smaller than the picture in the file: it is then cropped on the right and bottom.
    """

    def __init__(self, samples: Any, shape: tuple[int, int, int]) -> None:
        self._samples = samples  # what safetensors' get_slice returns
        self.shape = shape

    def __getitem__(self, part: tuple[slice, slice]) -> Picture:
        """A copy of some rows and columns; the slices must have step 1."""
        rows, columns = (each.indices(size)[:2] for each, size in zip(part, self.shape))
        return np.asarray(self._samples[slice(*rows), slice(*columns)])

    def cropped(self, height: int, width: int) -> Self:
        """The top left `height` x `width` pixels, in the same file."""
        return type(self)(self._samples, (height, width, 3))


class PackedPair(NamedTuple):
    """A packed LR (h, w, 3) with its packed HR, cropped to (h*scale, w*scale, 3)."""

    pair: Pair  # the picture files
    lr: Packed
    hr: Packed
    sha256: tuple[str, str]  # of the picture files, LR and HR


def packed_pairs(folder: Path, scale: int, packs: Path, *, quiet: bool = False) -> list[PackedPair]:
    """All pairs of a prepared folder, sorted by name; missing packs are made, on all cores.

    `packs` is the folder for the packs of this set; a pack takes one byte per sample. At most one
    picture per core is in memory. Raises DataError as `pairs` and `read_pair` do, and if a pack
    cannot be written.
    """
    found = pairs(folder, scale)
    pack = partial(
        _packed_pair,
        scale=scale,
        pack_path=partial(_pack_path, folder=folder, packs=packs),
        origins=read_origins(found[0].lr.parent),
    )
    return on_all_cores(f"pack {folder.name}", pack, found, quiet=quiet)


def digest_of(packed: Iterable[PackedPair]) -> str:
    """A hash of the names and the content of pictures."""
    content = [(each.pair.name, each.sha256) for each in packed]
    return hashlib.sha256(repr(content).encode()).hexdigest()


def _pack_path(picture: Path, folder: Path, packs: Path) -> Path:
    return packs / picture.relative_to(folder).with_suffix(".safetensors")


def _packed_pair(
    pair: Pair, scale: int, pack_path: Callable[[Path], Path], origins: Origins
) -> PackedPair:
    (lr, lr_hash), (hr, hr_hash) = (_packed(path, pack_path(path)) for path in (pair.lr, pair.hr))
    check_hr(pair.lr, pair.hr, hr_hash, origins)
    height, width = check_sizes(pair, lr.shape, hr.shape, scale)
    return PackedPair(pair, lr, hr.cropped(height, width), (lr_hash, hr_hash))


def _packed(picture: Path, path: Path) -> tuple[Packed, str]:
    """Open the pack of a picture file, and give the file's SHA-256.

    A pack that is missing, damaged or of other content is made first.

    Reading the picture's file and all of the pack costs a second per GB, once in a training.
    """
    data = read_bytes(picture)
    digest = hashlib.sha256(data).hexdigest()
    made_from: dict[str, object] = {"version": _VERSION, "sha256": digest}
    packed = _open_current(path, made_from)
    if packed is None:
        samples = decode_image(data, picture)
        content = save({_SAMPLES: samples}, {"hitsr": json.dumps(_described(made_from, samples))})
        try:
            if path.is_dir():
                path.rmdir()  # an empty folder; OSError for any other
            write_bytes(path, content)
        except OSError as error:
            raise DataError(
                f"{path}: a pack of {len(content) / 1e6:.1f} MB cannot be written: "
                f"{error.strerror}; make room, or name another folder with --packs"
            ) from error
        packed = _open_current(path, made_from)
    if packed is None:
        raise DataError(
            f"{path}: another program is packing a different {picture}; run one at a time"
        )
    return packed, digest


def _open_current(path: Path, made_from: dict[str, object]) -> Packed | None:
    """Open a pack; None if it is missing, damaged, or made from another file or version.

    All samples are read once, to compare their checksum: a damaged one would train unnoticed.
    """
    try:
        file: Any = safe_open(path, framework="numpy")
        samples = file.get_slice(_SAMPLES)
        height, width, channels = samples.get_shape()
        described = parse_json((file.metadata() or {}).get("hitsr", "null"))
        whole = samples[:, :]
    except (OSError, ValueError, SafetensorError):
        return None
    if channels != 3 or described != _described(made_from, whole):
        return None
    return Packed(samples, (height, width, channels))


def _described(made_from: dict[str, object], samples: Picture) -> dict[str, object]:
    """The metadata of a pack."""
    shape = zlib.crc32(f"{samples.dtype} {samples.shape}".encode())
    return {**made_from, "crc32": zlib.crc32(np.ascontiguousarray(samples).data, shape)}
