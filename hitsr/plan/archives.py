"""Published sets of pictures: the archives that hold them, and where each picture is put.

A set gets HiT-SR's layout: `DIV2K/HR/0001.png`, `DIV2K/LR_bicubic/X2/0001x2.png`.
"""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from hitsr.plan.picture_sets import made_lr_folder


class Pictures(NamedTuple):
    """Pictures that belong together, at full size and downscaled, all of them PNG files."""

    names: str  # regular expression
    number: int
    hr: tuple[str, str]  # name of an archive in sources.csv, and end of a folder's path in it
    lr: tuple[str, str]  # likewise; {scale} stands for the scale


class PublishedSet(NamedTuple):
    """A set as configs name it."""

    name: str
    pictures: tuple[Pictures, ...]
    trains: bool = False  # training reads it, from packs


class Part(NamedTuple):
    """The files of one folder in an archive, and the folder that they are put into."""

    archive: str
    inside: str  # end of the folder's path in the archive
    folder: Path  # within the folder of all sets
    names: str  # regular expression of pictures' names
    ending: str  # of file names, after the name of the picture
    number: int

    def target(self, member: str) -> Path | None:
        """The file, within the folder of all sets, that a member of the archive becomes."""
        inside, file = re.escape(self.inside), f"{self.names}{self.ending}\\.png"
        found = re.fullmatch(f"(?:.*/)?{inside}/({file})", member)
        return self.folder / found[1] if found else None

    def name_of(self, file: str) -> str | None:
        """The name of the picture that a file's name belongs to; None if it is no such file."""
        found = re.fullmatch(f"({self.names}){self.ending}\\.png", file)
        return found[1] if found else None

    def present(self, root: Path) -> set[str]:
        """Names of the pictures that are there."""
        return set(filter(None, map(self.name_of, files_in(root / self.folder))))

    def is_complete(self, root: Path) -> bool:
        return len(self.present(root)) == self.number


def files_in(folder: Path) -> list[str]:
    """Names of what is in a folder, which may be missing."""
    return [path.name for path in folder.iterdir()] if folder.is_dir() else []


def _div2k(split: str, number: int) -> Pictures:
    bicubic = f"DIV2K_{split}_LR_bicubic"
    hr = f"DIV2K_{split}_HR"
    return Pictures(r"\d{4}", number, (hr, hr), (f"{bicubic}_X{{scale}}", f"{bicubic}/X{{scale}}"))


def _benchmark(name: str, number: int) -> PublishedSet:
    hr, lr = f"{name}/HR", f"{name}/LR_bicubic/X{{scale}}"
    # Hidden files are left by macOS.
    return PublishedSet(
        name, (Pictures(r"[^/.][^/]*?", number, ("benchmark", hr), ("benchmark", lr)),)
    )


_FLICKR2K = Pictures(
    r"\d{6}", 2650, ("Flickr2K", "Flickr2K_HR"), ("Flickr2K", "Flickr2K_LR_bicubic/X{scale}")
)

DATASETS: dict[str, tuple[PublishedSet, ...]] = {
    "div2k": (
        PublishedSet("DIV2K", (_div2k("train", 800),), trains=True),
        PublishedSet("DIV2K_valid", (_div2k("valid", 100),)),
    ),
    "df2k": (PublishedSet("DF2K", (_div2k("train", 800), _FLICKR2K), trains=True),),
    "benchmark": (
        _benchmark("Set5", 5),
        _benchmark("Set14", 14),
        _benchmark("B100", 100),
        _benchmark("Urban100", 100),
    ),
}


def parts_of(published: PublishedSet, scales: Iterable[int]) -> list[tuple[Part, ...]]:
    """The HR part and, after it, the LR part of each scale, of each kind of pictures in a set."""
    folder = Path(published.name)
    found = []
    for names, number, (archive, inside), lr in published.pictures:
        parts = [Part(archive, inside, folder / "HR", names, "", number)]
        for scale in scales:
            archive, inside = (text.format(scale=scale) for text in lr)
            place = made_lr_folder(folder, scale)
            parts.append(Part(archive, inside, place, names, f"x{scale}", number))
        found.append(tuple(parts))
    return found


def dataset_of(name: str) -> str | None:
    """The dataset that brings a set of this name; None if there is none."""
    brings = (key for key, sets in DATASETS.items() if any(each.name == name for each in sets))
    return next(brings, None)
