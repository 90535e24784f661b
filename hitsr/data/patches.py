"""Training batches of random patches; each batch is a pure function of the seed and the step.

A run that resumes at step n therefore sees the same batches as one that was never interrupted, and
no state of a random generator has to be saved.

Shapes: b patches of a batch, p side of a patch in LR pixels, h height, w width.
"""

from collections.abc import Sequence
from copy import copy
from pathlib import Path
from typing import NamedTuple, Self, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from hitsr.base.errors import DataError
from hitsr.data.images import Picture
from hitsr.data.packs import Packed, digest_of, packed_pairs

Batch: TypeAlias = NDArray[np.float32]
Source: TypeAlias = Picture | Packed


class _Drawn(NamedTuple):
    """A patch: number of its picture, corner in LR pixels, symmetry."""

    picture: int
    top: int
    left: int
    symmetry: int


class Patches:
    """Random aligned patches of LR and HR pictures, which are in memory or in packs.

    `pictures` are (lr, hr) pairs of shapes (h, w, 3) and (h*scale, w*scale, 3), uint8. `patch` is
    the side of a patch in LR pixels, `batch` the number of patches in a batch. Raises DataError,
    naming the picture, if one is smaller than the patch or if LR and HR are not a pair. `digest`
    changes when the pictures do.
    """

    def __init__(
        self,
        pictures: Sequence[tuple[Source, Source]],
        *,
        scale: int,
        patch: int,
        batch: int,
        seed: int,
        names: Sequence[str] | None = None,
        digest: str = "",
    ) -> None:
        if not pictures:
            raise DataError("no pictures to train on; name a folder that holds some")
        if min(patch, batch) < 1 or seed < 0:
            raise ValueError(f"patch, batch must be >= 1, seed >= 0; got {patch}, {batch}, {seed}")
        names = names or [f"picture {number}" for number in range(len(pictures))]
        for name, (lr, hr) in zip(names, pictures, strict=True):
            _check_pair(name, lr, hr, scale, patch)
        self.pictures, self.names, self.digest = list(pictures), list(names), digest
        self.places = range(batch)  # of a batch, those that are cut
        self.scale, self.patch, self.batch, self.seed = scale, patch, batch, seed

    @classmethod
    def from_folder(
        cls,
        folder: Path,
        *,
        scale: int,
        patch: int,
        batch: int,
        seed: int,
        packs: Path,
        quiet: bool = False,
    ) -> Self:
        """Patches of all pairs in a prepared folder, read from packs (see `packed_pairs`)."""
        found = packed_pairs(folder, scale, packs, quiet=quiet)
        pictures = [(each.lr, each.hr) for each in found]
        names = [str(each.pair.lr) for each in found]
        return cls(
            pictures, scale=scale, patch=patch, batch=batch, seed=seed, names=names,
            digest=digest_of(found),
        )  # fmt: skip

    def only(self, places: range) -> Self:
        """The same batches, of which only the patches at these places are cut."""
        made = copy(self)
        made.places = places
        return made

    @property
    def shapes(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Shapes of LR and HR samples that are cut: (b, p, p, 3), (b, p*scale, p*scale, 3)."""
        lr, hr = self.patch, self.patch * self.scale
        return (len(self.places), lr, lr, 3), (len(self.places), hr, hr, 3)

    def at(self, step: int) -> tuple[Batch, Batch]:
        """The batch of one step: LR (b, 3, p, p) and HR (b, 3, p*scale, p*scale), in [0, 1].

        Raises ValueError for a negative step.
        """
        lr, hr = (np.empty(shape, np.uint8) for shape in self.shapes)
        self.cut(step, lr, hr)
        return _to_batch(lr), _to_batch(hr)

    def cut(self, step: int, lr: Picture, hr: Picture) -> None:
        """Write the samples of one step's batch into two uint8 arrays of `shapes`.

        Raises ValueError for a negative step.
        """
        for row, drawn in enumerate(self._drawn(step)[self.places.start : self.places.stop]):
            pair = self.pictures[drawn.picture]
            for picture, out, scale in zip(pair, (lr, hr), (1, self.scale)):
                top, left, side = (n * scale for n in (drawn.top, drawn.left, self.patch))
                part = picture[top : top + side, left : left + side]
                _transform(part, drawn.symmetry, out[row])

    def described(self, step: int, most: int | None = None) -> str:
        """A step's patches by picture, column and row: "a.png at 12, 40; b.png at 0, 3; 2 more".

        `most`: how many are named; None: all.
        """
        drawn = self._drawn(step)
        named = [f"{self.names[each.picture]} at {each.left}, {each.top}" for each in drawn[:most]]
        more = len(drawn) - len(named)
        return "; ".join([*named, *([f"{more} more"] if more else [])])

    def _drawn(self, step: int) -> list[_Drawn]:
        """The patches of a step's whole batch.

        For each a picture, a position in it and one of the eight symmetries of the square are
        drawn, in this order and uniformly.
        """
        if step < 0:
            raise ValueError(f"step must be 0 or more, got {step}")
        # Philox is counter-based: each key (seed, step) gives an independent stream.
        random = np.random.Generator(np.random.Philox(key=[self.seed, step]))
        found = []
        for _ in range(self.batch):
            picture = int(random.integers(len(self.pictures)))
            size = np.array(self.pictures[picture][0].shape[:2])
            top, left = (int(n) for n in random.integers(size - self.patch + 1))
            found.append(_Drawn(picture, top, left, int(random.integers(8))))
        return found


def _check_pair(name: str, lr: Source, hr: Source, scale: int, patch: int) -> None:
    height, width = lr.shape[:2]
    if hr.shape[:2] != (height * scale, width * scale):
        raise DataError(f"{name}: LR is {lr.shape}, HR is {hr.shape}: not a x{scale} pair")
    check_patch(name, (height, width), patch)


def check_patch(name: str, size: tuple[int, int], patch: int) -> None:
    """DataError if an LR picture of this (height, width) is smaller than a training patch."""
    height, width = size
    if min(size) < patch:
        raise DataError(
            f"{name}: {width}x{height} is smaller than the patch of {patch};"
            " leave it out, or train on smaller patches"
        )


# Symmetry s rotates by s % 4 quarter turns, then mirrors from s = 4 on. So it mirrors the picture
# (even s) or its transpose (odd s): along these axes, as OpenCV numbers them; None: along none.
_MIRRORED = (None, 0, -1, 1, 1, -1, 0, None)


def _transform(image: Picture, symmetry: int, out: Picture) -> None:
    """Write an image with symmetry 0..7 into `out`: ten times as fast as with NumPy's views."""
    turned = cv2.transpose(image) if symmetry % 2 else image
    axis = _MIRRORED[symmetry]
    if axis is None:
        out[...] = turned
    else:
        cv2.flip(turned, axis, dst=out)


def _to_batch(patches: Picture) -> Batch:
    """(b, p, p, 3) uint8 -> (b, 3, p, p) float32 in [0, 1], contiguous."""
    planes = np.ascontiguousarray(patches.transpose(0, 3, 1, 2), dtype=np.float32)
    planes /= np.float32(255)
    return planes
