"""Where the pictures of a set are: the folders that the field's codes and data sets use.

Ours are `HR` and `LR_bicubic/X2`, as in HiT-SR's code; docs/picture-sets.md lists the others.
"""

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from hitsr.base.errors import DataError

EXTENSIONS = ("png", "jpg", "jpeg", "bmp", "webp", "tif", "tiff")
# Of Pillow's, for files of any name: some others start programs, as EPS does Ghostscript.
DECODERS = ("PNG", "JPEG", "BMP", "WEBP", "TIFF")
# Of a file. No WebP, BMP or plain TIFF can be larger; a file may be without taking any disk.
MOST_BYTES = 2**32

# Names of folders with full-size pictures; a set's first of these is used. BasicSR's GTmod12 comes
# before `original`, since its LR pictures were made from GTmod12.
_HR_NAMES = (r"HR", r"GTmod\d+", r"GT", r"original", r"(.+_)?HR_sub|.+_HR")
# X2, x2, 2x, LRx2, LR_x2, LRbicx2
_SCALED = r"(LR)?[-_]?(bicubic|bic|BI)?[-_]?(x{scale}|{scale}x)"
_SUB = "(_sub)?"  # BasicSR's sub-images: DIV2K_train_HR_sub, DIV2K_train_LR_bicubic/X2_sub


def is_picture(name: str) -> bool:
    """Whether a file of this name is taken for a picture; hidden files are not."""
    return not name.startswith(".") and os.path.splitext(name)[1][1:].lower() in EXTENSIONS


def hr_folder(folder: Path, scale: int) -> Path | None:
    """The folder of a set's HR pictures; None if there is none.

    Some sets have a folder for each scale: `HR/x2`, or SelfExSR's `image_SRF_2`, which holds LR
    pictures too. Raises DataError if several folders could be meant.
    """
    for pattern in _HR_NAMES:
        found = list(_subfolders(folder, pattern))
        if len(found) > 1:
            raise DataError(
                f"{folder}: full-size pictures in {_names(found)}: keep one folder, "
                "or make a link with the name HR to the one you want"
            )
        for each in found:
            inner = [each, *_of_scale(each, _SCALED.format(scale=scale), folder.name)]
            return next(filter(holds_pictures, inner), each)
    return next(_mixed(folder, scale), None)


def has_hr_pictures(folder: Path, scales: Iterable[int]) -> bool:
    """Whether a set is there; also if its folders are ambiguous, which `hitsr prepare` tells."""
    try:
        return any(hr_folder(folder, scale) for scale in scales)
    except DataError:
        return True


def lr_folder(folder: Path, scale: int) -> Path | None:
    """The folder of a set's LR pictures at one scale; None if there is none.

    Raises DataError if several folders could be meant.
    """
    prefix, suffix = _kinship(hr_folder(folder, scale))
    scaled = _SCALED.format(scale=scale) + suffix
    found = [*_subfolders(folder, prefix + scaled), *_mixed(folder, scale)]
    for parent in _subfolders(folder, prefix + r"(LQ|LR((?!x\d(_sub)?$)[\w-])*)"):
        inner = list(_of_scale(parent, scaled, folder.name))
        found += inner or [parent]
    found = [each for each in {*found, made_lr_folder(folder, scale)} if holds_pictures(each)]
    if len(found) > 1:
        raise DataError(f"{folder}: LR pictures for x{scale} in {_names(found)}: keep one folder")
    return found[0] if found else None


def made_lr_folder(folder: Path, scale: int) -> Path:
    """The folder of the LR pictures that `hitsr prepare` makes."""
    return folder / "LR_bicubic" / f"X{scale}"


def _kinship(hr: Path | None) -> tuple[str, str]:
    """Patterns of what LR folders' names begin and end with, by the name of the HR folder.

    DIV2K_train_LR_bicubic belongs to DIV2K_train_HR, and X2_sub in it to DIV2K_train_HR_sub; also
    if HR is a link to these. Others may have any LR.
    """
    if hr is None:
        return "", _SUB
    names = re.fullmatch("(.+_)?HR(_sub)?", hr.resolve().name, re.IGNORECASE)
    if names is None or names[0].upper() == "HR":
        return "", _SUB
    prefix = re.escape(names[1] or "")
    return (f"({prefix})?" if hr.is_symlink() else prefix), names[2] or ""


def _of_scale(parent: Path, scaled: str, dataset: str) -> Iterator[Path]:
    """Subfolders for one scale, by their pattern: `x2`, and RCAN's `Set5/x2`."""
    for place in (parent, parent / dataset):
        yield from _subfolders(place, scaled)


def _mixed(folder: Path, scale: int) -> Iterator[Path]:
    """SelfExSR's folders, in which names end in _SRF_2_HR and _SRF_2_LR."""
    ending = re.compile(rf"_SRF_{scale}_HR\.\w+$")
    for place in (folder / f"image_SRF_{scale}", folder):
        if place.is_dir() and any(ending.search(name) for name in os.listdir(place)):
            yield place
            return


def _subfolders(folder: Path, pattern: str) -> Iterator[Path]:
    """Folders directly in a folder whose whole name matches, in upper or lower case."""
    if folder.is_dir():
        with os.scandir(folder) as entries:
            # Path's own is_dir, as an entry's raises for a link that leads to itself.
            names = sorted(entry.name for entry in entries if Path(entry).is_dir())
        yield from (folder / n for n in names if re.fullmatch(pattern, n, re.IGNORECASE))


def holds_pictures(folder: Path) -> bool:
    """Whether there is such a folder with a picture directly in it."""
    if not folder.is_dir():
        return False
    with os.scandir(folder) as entries:
        return any(is_picture(entry.name) for entry in entries)


def _names(folders: list[Path]) -> str:
    return " and ".join(sorted(map(str, folders)))
