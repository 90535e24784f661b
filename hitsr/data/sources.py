"""Picture sets: folders of HR and LR pairs, and the demo's photographs from two installed packages.

A prepared folder has the layout of HiT-SR's data sets: `HR/<name>.png` at full size and
`LR_bicubic/X2/<name>x2.png`, which `prepare` makes from the HR cropped to a multiple of the scale.
"""

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from hitsr.base.errors import DataError, did_you_mean
from hitsr.base.files import sha256
from hitsr.data.bicubic import imresize
from hitsr.data.images import (
    PREPARE_AGAIN,
    Picture,
    crop_to_multiple,
    list_pictures,
    read_image,
    size_text,
    write_png,
)

Split = Literal["train", "test"]

_WHEELS = {"skimage": "scikit-image 0.26", "matplotlib": "matplotlib 3.11"}


@dataclass(frozen=True)
class Photograph:
    """A photograph that an installed package ships, identified by the hash of its file."""

    file: str  # path inside the package
    sha256: str
    split: Split
    credit: str  # author and licence
    package: str = "skimage"  # import name

    @property
    def name(self) -> str:
        return Path(self.file).stem

    def locate(self) -> Path:
        """Path of the file, found without importing the package.

        Raises DataError if the package or the file is missing, or the file has another hash.
        """
        wheel = _WHEELS[self.package]
        package = find_spec(self.package)
        if package is None or package.origin is None:
            raise DataError(f"{self.name}: {self.package} is not installed; install {wheel}")
        path = Path(package.origin).parent / self.file
        if not path.is_file():
            raise DataError(f"{path}: no such file; install {wheel}, which ships it")
        if sha256(path) != self.sha256:
            raise DataError(f"{path}: not the file that {wheel} ships; reinstall that version")
        return path


def photographs(split: Split) -> tuple[Photograph, ...]:
    """The demo's photographs of one split, sorted by name.

    All natural photographs in the two packages are used (no medical, astronomical or document
    pictures). Lossless colour photographs that are not half of a stereo pair are for testing, all
    others for training. So no JPEG or grey picture is scored, and no scene is in both splits.
    """
    return tuple(photo for photo in _PHOTOGRAPHS if photo.split == split)


@dataclass(frozen=True)
class Pair:
    """The files of an HR picture and of its downscaled LR picture."""

    name: str
    lr: Path
    hr: Path


class Prepared(NamedTuple):
    """How many files `prepare` wrote, and how many existing files it checked and kept."""

    written: int
    kept: int


def pairs(folder: Path, scale: int) -> list[Pair]:
    """The pairs of a prepared folder at one scale, sorted by name.

    Raises DataError if a folder is missing, an HR picture has no LR, or an LR picture no HR.
    """
    hr_pictures = list_pictures(folder / "HR")
    lr_pictures = list_pictures(_lr_folder(folder, scale))
    names = {f"{name}x{scale}": name for name in hr_pictures}
    missing = [stem for stem in names if stem not in lr_pictures]
    for stem, path in lr_pictures.items():
        if stem not in names:
            hint = did_you_mean(stem, missing or names)
            raise DataError(f"{path}: no picture in {folder / 'HR'} belongs to it; {hint}")
    if missing:
        first = _lr_file(folder, names[missing[0]], scale)
        raise DataError(f"{first}: missing ({len(missing)} of {len(names)} are); {PREPARE_AGAIN}")
    return [Pair(name, lr_pictures[stem], hr_pictures[name]) for stem, name in names.items()]


def read_pair(pair: Pair, scale: int) -> tuple[Picture, Picture]:
    """Read LR (h, w, 3) and HR cropped to (h*scale, w*scale, 3), both uint8.

    Raises DataError if the HR, cropped to a multiple of the scale, is not `scale` times the LR.
    """
    lr, hr = read_image(pair.lr), read_image(pair.hr)
    height, width = check_sizes(pair, lr.shape, hr.shape, scale)
    return lr, hr[:height, :width]


def check_sizes(
    pair: Pair, lr: tuple[int, ...], hr: tuple[int, ...], scale: int
) -> tuple[int, int]:
    """The (height, width) to crop HR to, given both shapes; raises as `read_pair` does."""
    height, width = (side - side % scale for side in hr[:2])
    if (height, width) != (lr[0] * scale, lr[1] * scale):
        raise DataError(
            f"{pair.lr}: LR is {lr[1]}x{lr[0]}, HR is {hr[1]}x{hr[0]}: not a x{scale} pair;"
            " rerun `hitsr prepare`"
        )
    return height, width


def prepare(
    hr_sources: dict[str, Path],
    out: Path,
    scales: tuple[int, ...],
    progress: Callable[[str], None],
) -> Prepared:
    """Write HR pictures and their downscaled LR pictures into the folder `out`, on all cores.

    `hr_sources` maps names to files; a source that lies in `out`/HR is used where it is. `progress`
    is called with a line of text per picture. Existing outputs are checked and kept, so that an
    interrupted run can continue. Raises DataError, and overwrites nothing, if an existing output is
    a different picture (HR) or has a different size (LR), or if a source is smaller than a scale.
    """
    if not hr_sources:
        raise DataError(f"{out}: no pictures to prepare; name a folder that holds some")
    if any(scale < 2 for scale in scales):
        raise ValueError(f"scales must be 2 or more, got {scales}")
    # NumPy and Pillow release the interpreter lock: 2 threads are 1.7 times as fast as one.
    with ThreadPoolExecutor(os.cpu_count()) as workers:
        results = []
        prepare_one = partial(_prepare_picture, out=out, scales=scales)
        prepared = workers.map(prepare_one, hr_sources, hr_sources.values())
        for name, result in zip(hr_sources, prepared):
            progress(f"{out.name}/{name}: {result.written} written, {result.kept} kept")
            results.append(result)
    return _total(results)


def prepare_demo(out: Path, scales: tuple[int, ...], progress: Callable[[str], None]) -> Prepared:
    """Prepare the packaged photographs as the folders `out`/train and `out`/test."""
    splits: tuple[Split, ...] = ("train", "test")
    sources = {split: {p.name: p.locate() for p in photographs(split)} for split in splits}
    return _total(prepare(sources[split], out / split, scales, progress) for split in splits)


def _total(parts: Iterable[Prepared]) -> Prepared:
    written, kept = zip(*parts)
    return Prepared(sum(written), sum(kept))


def _prepare_picture(name: str, source: Path, out: Path, scales: tuple[int, ...]) -> Prepared:
    hr = read_image(source)
    if min(hr.shape[:2]) < max(scales, default=1):
        raise DataError(f"{source}: {size_text(hr)} is too small for x{max(scales)}; leave it out")
    return _total(
        [_keep_or_write_hr(source, hr, out / "HR" / f"{name}.png")]
        + [_keep_or_write_lr(hr, _lr_file(out, name, scale), scale) for scale in scales]
    )


def _keep_or_write_hr(source: Path, hr: Picture, path: Path) -> Prepared:
    if (source.parent.resolve(), source.stem) == (path.parent.resolve(), path.stem):
        return Prepared(0, 1)
    if not path.exists():
        write_png(path, hr)
        return Prepared(1, 0)
    if not np.array_equal(read_image(path), hr):
        raise DataError(f"{path}: not the picture in {source}; remove it, or choose another folder")
    return Prepared(0, 1)


def _keep_or_write_lr(hr: Picture, path: Path, scale: int) -> Prepared:
    hr = crop_to_multiple(hr, scale)
    if not path.exists():
        write_png(path, imresize(hr, 1 / scale))
        return Prepared(1, 0)
    lr = read_image(path)
    if (lr.shape[0] * scale, lr.shape[1] * scale) != hr.shape[:2]:
        raise DataError(
            f"{path}: LR is {size_text(lr)}, HR is {size_text(hr)}: not a x{scale} pair;"
            " remove it, and rerun `hitsr prepare`"
        )
    return Prepared(0, 1)


def _lr_folder(folder: Path, scale: int) -> Path:
    return folder / "LR_bicubic" / f"X{scale}"


def _lr_file(folder: Path, name: str, scale: int) -> Path:
    return _lr_folder(folder, scale) / f"{name}x{scale}.png"


# Credits from the documentation of scikit-image and matplotlib.
_PHOTOGRAPHS = (
    Photograph(
        "data/astronaut.png",
        "88431cd9653ccd539741b555fb0a46b61558b301d4110412b5bc28b5e3ea6cb5",
        "test",
        "NASA Great Images; public domain",
    ),
    Photograph(
        "data/brick.png",
        "7966caf324f6ba843118d98f7a07746d22f6a343430add0233eca5f6eaaa8fcf",
        "train",
        "CC0Textures, Bricks25; CC0",
    ),
    Photograph(
        "data/camera.png",
        "b0793d2adda0fa6ae899c03989482bff9a42d3d5690fc7e3648f2795d730c23a",
        "train",
        "Lav Varshney; CC0",
    ),
    Photograph(
        "data/chelsea.png",
        "596aa1e7cb875eb79f437e310381d26b338a81c2da23439704a73c4651e8c4bb",
        "test",
        "Stefan van der Walt; CC0",
    ),
    Photograph(
        "data/coffee.png",
        "cc02f8ca188b167c775a7101b5d767d1e71792cf762c33d6fa15a4599b5a8de7",
        "test",
        "Rachel Michetti, courtesy of Pikolo Espresso Bar; CC0",
    ),
    Photograph(
        "data/coins.png",
        "f8d773fc9cfa6f4d8e5942dc34d0a0788fcaed2a4fefbbed0aef5398d7ef4cba",
        "train",
        "Brooklyn Museum Collection; no known copyright restrictions",
    ),
    Photograph(
        "mpl-data/sample_data/grace_hopper.jpg",
        "a8ca6d734765703b09728ab47fe59f473d93ae3967fc24c7c0288c3c7adb7130",
        "train",
        "US Navy; public domain",
        package="matplotlib",
    ),
    Photograph(
        "data/grass.png",
        "b6b6022426b38936c43a4ac09635cd78af074e90f42ffa8227ac8b7452d39f89",
        "train",
        "linolafett, DeviantArt; CC0",
    ),
    Photograph(
        "data/gravel.png",
        "c48615b451bf1e606fbd72c0aa9f8cc0f068ab7111ef7d93bb9b0f2586440c12",
        "train",
        "CC0Textures, Gravel04; CC0",
    ),
    Photograph(
        "data/motorcycle_left.png",
        "db18e9c4157617403c3537a6ba355dfeafe9a7eabb6b9b94cb33f6525dd49179",
        "train",
        "Middlebury stereo benchmark 2014, Scharstein et al.; scikit-image names no licence",
    ),
    Photograph(
        "data/motorcycle_right.png",
        "5fc913ae870e42a4b662314bc904d1786bcad8e2f0b9b67dba5a229406357797",
        "train",
        "Middlebury stereo benchmark 2014, Scharstein et al.; scikit-image names no licence",
    ),
    Photograph(
        "data/rocket.jpg",
        "c2dd0de7c538df8d111e479619b129464d0269d0ae5fd18ca91d33a7fdfea95c",
        "train",
        "SpaceX; public domain",
    ),
)
