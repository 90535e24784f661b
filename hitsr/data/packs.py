"""Pictures decoded once into packs: files of raw samples, of which training reads slices alone.

A pack holds one picture and the hash of the file that it was made from: `HR/ant.png` becomes
`HR/ant.safetensors`. It is made where it is missing and remade where that file is another,
so a stale one is never used, a stop loses one picture, and packs may be deleted at any time.
"""

import hashlib
import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from hitsr.base.errors import DataError
from hitsr.base.files import write_bytes
from hitsr.base.progress import Progress
from hitsr.data.images import Picture, decode_image, read_bytes
from hitsr.data.sources import Pair, check_sizes, pairs

_VERSION = 1  # of a pack's layout, and of how its picture is decoded
_SAMPLES = "picture"


class Packed:
    """A picture in a pack: (h, w, 3) uint8 in a mapped file. `packed[0:4, 2:6]` reads that alone.

    `shape` may leave out rows below and columns on the right of what the file holds.
    """

    def __init__(self, samples: Any, shape: tuple[int, int, int]) -> None:
        self._samples, self.shape = samples, shape  # the first as safe_open's get_slice gives it

    def __getitem__(self, part: tuple[slice, slice]) -> Picture:
        """Rows and columns, each from..to in steps of one: a copy of those samples."""
        rows, columns = (each.indices(size)[:2] for each, size in zip(part, self.shape))
        return np.asarray(self._samples[slice(*rows), slice(*columns)])

    def cropped(self, height: int, width: int) -> Self:
        """The same file's upper left part."""
        return type(self)(self._samples, (height, width, 3))


class PackedPair(NamedTuple):
    """A pair of a prepared folder, HR cropped to (h*scale, w*scale, 3) for an LR of (h, w, 3)."""

    pair: Pair  # the files
    lr: Packed
    hr: Packed


def packed_pairs(folder: Path, scale: int, packs: Path, *, quiet: bool = False) -> list[PackedPair]:
    """All pairs of a prepared folder, sorted by name; packs are made where wanted, on all cores.

    `packs` is the folder for those of this set; they take as many bytes as there are samples. No
    more than one picture per core is in memory. Raises DataError as `pairs` and `read_pair` do, and
    if the disk is full or refuses.
    """
    found = pairs(folder, scale)
    place = partial(_place, folder=folder, packs=packs)
    with (
        Progress(f"pack {folder.name}", len(found), "picture", quiet) as progress,
        ThreadPoolExecutor(os.cpu_count()) as workers,
    ):
        packed = []
        for pair in workers.map(partial(_pair, scale=scale, place=place), found):
            packed.append(pair)
            progress.advance()
    return packed


def _place(picture: Path, folder: Path, packs: Path) -> Path:
    return packs / picture.relative_to(folder).with_suffix(".safetensors")


def _pair(pair: Pair, scale: int, place: Callable[[Path], Path]) -> PackedPair:
    lr, hr = (_pack(picture, place(picture)) for picture in (pair.lr, pair.hr))
    height, width = check_sizes(pair, lr.shape, hr.shape, scale)
    return PackedPair(pair, lr, hr.cropped(height, width))


def _pack(picture: Path, path: Path) -> Packed:
    """The picture's pack, made unless there is one of these very bytes."""
    data = read_bytes(picture)
    made_from = {"version": _VERSION, "sha256": hashlib.sha256(data).hexdigest()}
    packed = _opened(path, made_from)
    if packed is None:
        content = save({_SAMPLES: decode_image(data, picture)}, {"hitsr": json.dumps(made_from)})
        try:
            write_bytes(path, content)
        except OSError as error:
            raise DataError(
                f"{path}: a pack of {len(content) / 1e6:.1f} MB cannot be written: "
                f"{error.strerror}; make room, or name another folder with --packs"
            ) from error
        packed = _opened(path, made_from)
    if packed is None:
        raise DataError(f"{path}: another program packs another {picture}; run one at a time")
    return packed


def _opened(path: Path, made_from: dict[str, object]) -> Packed | None:
    """None for no pack, one of another file, and one that was cut short."""
    try:
        file: Any = safe_open(path, framework="numpy")
    except (FileNotFoundError, SafetensorError):
        return None
    if json.loads((file.metadata() or {}).get("hitsr", "null")) != made_from:
        return None
    samples = file.get_slice(_SAMPLES)
    height, width, channels = samples.get_shape()
    return Packed(samples, (height, width, channels))
