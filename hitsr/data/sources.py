"""Picture sets: folders of HR and LR pairs, and how `hitsr prepare` completes them.

A prepared folder has the layout of HiT-SR's data sets, `HR/<name>.png` at full size and
`LR_bicubic/X2/<name>x2.png`, or another usual one. LR pictures that are missing are made from the
HR cropped to a multiple of the scale; those that are given are used as they are.
"""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

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
from hitsr.data.origins import LrOrigin, Origins, origins_file, read_origins, write_origins
from hitsr.data.workers import on_all_cores
from hitsr.plan.picture_sets import holds_pictures, hr_folder, lr_folder, made_lr_folder
from hitsr.records import Origin

# What names of files end in, after the name of the picture and before the suffix. Ours are first;
# then DIV2K's (m: mild, d: difficult), RCAN's, RealSR's and SelfExSR's.
_HR_ENDINGS = ("", "_SRF_{scale}_HR", "_HR_x{scale}", "_HR")
_LR_ENDINGS = (
    *("x{scale}", "", "_x{scale}", "X{scale}", "x{scale}m", "x{scale}d"),
    *("_LRBI_x{scale}", "_LR_x{scale}", "_SRF_{scale}_LR", "_LR{scale}", "_LR"),
)


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
    origins: tuple[Origins, ...]  # of the LR pictures at each scale


@dataclass(frozen=True)
class LrPictures:
    """The LR pictures of a set at one scale, of which some may be missing."""

    folder: Path  # where they are, or will be made
    ending: str  # of file names, after the name of the picture: "x2", "_LRBI_x2"
    files: Mapping[str, Path]  # name of the picture -> file
    strays: Mapping[str, Path]  # other pictures in the folder: name without suffix -> file

    def path(self, name: str) -> Path:
        return self.files.get(name, self.folder / f"{name}{self.ending}.png")


def find_pictures(folder: Path, scale: int) -> tuple[dict[str, Path], LrPictures]:
    """HR pictures of a set by name, and its LR pictures, in any layout of `plan.picture_sets`.

    Raises DataError if the HR folder is missing, ambiguous or without pictures, or the LR folder
    ambiguous.
    """
    hr = hr_folder(folder, scale) or folder / "HR"
    listed = list_pictures(hr)
    is_mixed = hr == lr_folder(folder, scale)
    found = []
    for ending in _HR_ENDINGS:
        ends = ending.format(scale=scale)
        named = {s.removesuffix(ends): path for s, path in listed.items() if s.endswith(ends)}
        # All names have the ending; in a folder of HR and LR pictures, those of the HR.
        if named and (ends if is_mixed else len(named) == len(listed)):
            found.append((named, find_lr(folder, scale, named)))
    hr_pictures, lr = max(found, key=lambda each: len(each[1].files))
    return hr_pictures, replace(lr, strays={}) if is_mixed else lr


def find_lr(folder: Path, scale: int, names: Collection[str]) -> LrPictures:
    """LR pictures of the HR pictures with these names; their ending is that of most matches.

    Besides the usual endings it may be any that the LR of every HR picture has.
    """
    lr = lr_folder(folder, scale)
    listed = list_pictures(lr) if lr else {}
    endings = [ending.format(scale=scale) for ending in _LR_ENDINGS]
    first = min(names)
    others = [stem.removeprefix(first) for stem in listed if stem.startswith(first)]
    is_mixed = lr == hr_folder(folder, scale)  # then HR pictures are listed, too
    endings += [
        ending
        for ending in others
        # cat_wild.png may be the LR of cat.png, but cats.png is another picture.
        if re.match(r"[\W_]|x\d", ending, re.IGNORECASE)
        and not is_mixed
        and all(f"{name}{ending}" in listed for name in names)
    ]
    ending = max(endings, key=lambda ending: sum(f"{name}{ending}" in listed for name in names))
    stems = {f"{name}{ending}": name for name in names}
    files = {name: listed[stem] for stem, name in stems.items() if stem in listed}
    strays = {stem: path for stem, path in listed.items() if stem not in stems}
    return LrPictures(lr or made_lr_folder(folder, scale), ending, files, strays)


def pairs(folder: Path, scale: int) -> list[Pair]:
    """The pairs of a prepared folder at one scale, sorted by name.

    Raises DataError if a folder is missing, an HR picture has no LR, or an LR picture no HR.
    """
    hr, lr = find_pictures(folder, scale)
    if not lr.files and not lr.strays:
        list_pictures(lr.folder)  # which says that there is no such folder, or nothing in it
    _check_strays(hr, lr, lr.strays)
    missing = [name for name in hr if name not in lr.files]
    if missing:
        share = f"({len(missing)} of {len(hr)} are)"
        raise DataError(f"{lr.path(missing[0])}: missing {share}; {PREPARE_AGAIN}")
    return [Pair(name, lr.files[name], path) for name, path in hr.items()]


def _check_strays(hr: Mapping[str, Path], lr: LrPictures, strays: Collection[str]) -> None:
    """Raise DataError if some pictures in the folder of a set's LR pictures belong to no HR."""
    for stem in strays:
        path, place = lr.strays[stem], next(iter(hr.values())).parent
        if stem in hr:
            name = lr.path(stem).name
            if stem in lr.files:
                raise DataError(f"{path}: {name} is the LR of {hr[stem]} too; keep one")
            raise DataError(f"{path}: here the LR of {hr[stem]} is to be called {name}; rename it")
        missing = [name for name in hr if name not in lr.files]
        hint = did_you_mean(stem, [f"{name}{lr.ending}" for name in missing or hr])
        raise DataError(f"{path}: no picture in {place} belongs to it; {hint} (else delete it)")


def read_pair(pair: Pair, scale: int) -> tuple[Picture, Picture]:
    """Read LR (h, w, 3) and HR cropped to (h*scale, w*scale, 3), both uint8.

    Raises DataError if the HR, cropped to a multiple of the scale, is not `scale` times the LR.
    """
    lr, hr = read_image(pair.lr), read_image(pair.hr)
    height, width = check_sizes(pair, lr.shape, hr.shape, scale)
    return lr, hr[:height, :width]


def check_sizes(
    pair: Pair,
    lr: tuple[int, ...],
    hr: tuple[int, ...],
    scale: int,
    remedy: str = "rerun `hitsr prepare`",
) -> tuple[int, int]:
    """The (height, width) to crop HR to, given both shapes; raises as `read_pair` does."""
    height, width = (side - side % scale for side in hr[:2])
    if (height, width) != (lr[0] * scale, lr[1] * scale):
        raise DataError(
            f"{pair.lr}: LR is {lr[1]}x{lr[0]}, HR is {hr[1]}x{hr[0]}: not a x{scale} pair;"
            f" {remedy}"
        )
    return height, width


def prepare(
    hr_sources: Mapping[str, Path],
    out: Path,
    scales: tuple[int, ...],
    say: Callable[[str], None],
    lr_sources: Mapping[str, Path] | None = None,
) -> Prepared:
    """Write HR pictures and their downscaled LR pictures into the folder `out`, on all cores.

    `hr_sources` maps names to files; a source that lies in the HR folder of `out` is used where it
    is. `lr_sources` are given LR pictures of the (then only) scale. `say` is called with a line of
    text for what a user should know of the set.

    Existing files are checked and kept, so that an interrupted run can continue. An LR picture that
    is the bicubic of a former HR picture is made anew, and is deleted if its HR is gone. Raises
    DataError, which names all bad pictures, if a file in `out` is another picture than its source,
    if an LR was edited, belongs to a former HR or has another size, if LR are missing where the
    others are not bicubic, and if a picture cannot be read or is smaller than a scale.
    """
    if not hr_sources:
        raise DataError(f"{out}: no pictures to prepare; name a folder that holds some")
    if any(scale < 2 for scale in scales):
        raise ValueError(f"scales must be 2 or more, got {scales}")
    hr, written = _placed(hr_sources, hr_folder(out, min(scales)) or out / "HR", "", max(scales))
    origins = []
    for scale in scales:
        if lr_sources:
            folder = lr_folder(out, scale) or out / "LR" / f"X{scale}"
            written += _placed(lr_sources, folder, f"x{scale}", 1)[1]
        made, of_scale = _complete_lr(out, scale, hr, say)
        written += made
        origins.append(of_scale)
    return Prepared(written, len(hr) * (1 + len(scales)) - written, tuple(origins))


def _placed(
    sources: Mapping[str, Path], folder: Path, ending: str, least: int
) -> tuple[dict[str, Path], int]:
    """Copy pictures into a folder; their files by name, and how many were written.

    Raises DataError for a picture with a side below `least`, and if another one is there.
    """
    there = list_pictures(folder) if holds_pictures(folder) else {}

    def place(name: str) -> tuple[Path, bool]:
        source = sources[name]
        if source.parent.resolve() == folder.resolve():
            return source, False
        picture = read_image(source)
        _check_side(source, picture, least)
        path = there.get(f"{name}{ending}", folder / f"{name}{ending}.png")
        if not path.exists():
            write_png(path, picture)
            return path, True
        if not np.array_equal(read_image(path), picture):
            remedy = "remove it, or choose another folder"
            raise DataError(f"{path}: not the picture in {source}; {remedy}")
        return path, False

    placed = on_all_cores(f"read {folder.name}", place, sources)
    return dict(zip(sources, (path for path, _ in placed))), sum(new for _, new in placed)


def _complete_lr(
    out: Path, scale: int, hr: Mapping[str, Path], say: Callable[[str], None]
) -> tuple[int, Origins]:
    """Check the LR pictures of a set, and make those that are missing; how many were written."""
    lr = find_lr(out, scale, hr)
    known = read_origins(lr.folder).files
    # In `out` may be more pairs than those that are prepared now.
    hr_there, lr_there = find_pictures(out, scale)
    strays = {stem: path for stem, path in lr_there.strays.items() if stem in lr.strays}
    for stem, path in list(strays.items()):
        old = known.get(path.name)
        if old and old.origin != "given" and old.lr_sha256 == sha256(path):
            path.unlink()
            say(f"{path}: removed, since its HR picture is gone")
            del strays[stem]
    _check_strays(hr_there, lr_there, strays)

    def settle(name: str) -> tuple[Path, LrOrigin]:
        path = lr.files[name]
        return _settled(hr[name], path, known.get(path.name), scale)

    def make(name: str) -> tuple[Path, LrOrigin]:
        return _made(hr[name], lr.path(name), scale)

    settled = on_all_cores(f"check {out.name} x{scale}", settle, lr.files)
    given = [path.name for path, each in settled if each.origin == "given"]
    missing = [name for name in hr if name not in lr.files]
    if given and missing:
        raise DataError(
            f"{lr.folder}: no LR for {_listed(missing)}, and the others are not bicubic, as "
            "`hitsr prepare` would make it; add these, or remove their HR pictures"
        )
    made = on_all_cores(f"make {out.name} x{scale}", make, missing)
    anew = [
        path.name
        for path, each in settled
        if each.origin == "made" and each != known.get(path.name)
    ]
    if anew:
        say(f"{lr.folder}: made anew, since the HR pictures changed: {_listed(anew)}")
    if given:
        say(
            f"{lr.folder}: used as given: {len(given)} of {len(hr)} LR pictures, which are not the "
            f"bicubic of their HR pictures: {_listed(given)}"
        )
    origins = Origins(files={path.name: each for path, each in (*settled, *made)})
    try:
        write_origins(lr.folder, origins)
    except OSError as error:
        # A set that is complete may lie in a folder that only others can write.
        say(f"{error.filename}: {error.strerror}; replaced HR pictures will not be noticed")
    return len(made) + len(anew), origins


def _settled(hr: Path, lr: Path, known: LrOrigin | None, scale: int) -> tuple[Path, LrOrigin]:
    """An existing LR picture, made anew if it is the bicubic of a former HR; and its origin."""
    hashes = sha256(hr), sha256(lr)
    if known and (known.hr_sha256, known.lr_sha256) == hashes:
        return lr, known
    whole = read_image(hr)
    try:
        given = read_image(lr)
    except DataError as error:
        raise DataError(f"{error}, or remove it to have it made") from error
    cropped = crop_to_multiple(whole, scale)
    was_bicubic, is_same = known and known.origin != "given", known and known.lr_sha256 == hashes[1]
    if was_bicubic and is_same:
        return _made(hr, lr, scale)
    remedy = f"remove it to have it made, or move LR of another scale out of {lr.parent}"
    check_sizes(Pair(lr.stem, lr, hr), given.shape, cropped.shape, scale, remedy)
    if np.array_equal(given, imresize(cropped, 1 / scale)):
        return lr, _origin(hashes, whole, given, "equal")
    file = origins_file(lr.parent)
    if was_bicubic:
        raise DataError(
            f"{lr}: was edited since `hitsr prepare` made or checked it; remove it to have it made "
            f"anew, or delete {file} to use it as it is"
        )
    if is_same:
        raise DataError(
            f"{lr}: belongs to the HR picture before {hr} was replaced; replace it too, or delete "
            f"{file} if they are a pair"
        )
    return lr, _origin(hashes, whole, given, "given")


def _made(hr: Path, lr: Path, scale: int) -> tuple[Path, LrOrigin]:
    """Make an LR picture as a PNG file, which replaces one of another format."""
    picture = read_image(hr)
    _check_side(hr, picture, scale)
    path = lr.with_name(f"{lr.stem}.png")
    small = imresize(crop_to_multiple(picture, scale), 1 / scale)
    write_png(path, small)
    if path != lr:
        lr.unlink(missing_ok=True)
    return path, _origin((sha256(hr), sha256(path)), picture, small, "made")


def _origin(hashes: tuple[str, str], hr: Picture, lr: Picture, origin: Origin) -> LrOrigin:
    return LrOrigin(
        hr_sha256=hashes[0],
        lr_sha256=hashes[1],
        hr_size=(hr.shape[1], hr.shape[0]),
        lr_size=(lr.shape[1], lr.shape[0]),
        origin=origin,
    )


def _check_side(path: Path, picture: Picture, least: int) -> None:
    if min(picture.shape[:2]) < least:
        raise DataError(f"{path}: {size_text(picture)} is too small for x{least}; leave it out")


def _listed(names: Sequence[str]) -> str:
    """ "a, b, c and 5 more"."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more
