"""Score SR pictures in files against HR pictures in files; needs neither a network nor torch."""

import hashlib
import math
import re
import sys
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Literal

from hitsr.base.errors import DataError, did_you_mean, in_one_line
from hitsr.data.images import (
    Picture,
    crop_to_multiple,
    decode_image,
    list_pictures,
    read_bytes,
    size_text,
)
from hitsr.data.workers import on_all_cores
from hitsr.measure.metrics import Channel, is_grey, psnr, signature, ssim
from hitsr.records import ChannelScore, PictureScore

_SCALE = re.compile(r"[xX]([2348])(?!\d)")  # in names of files: "_x2_SwinIR"
Pattern = tuple[str, str]  # what stands before and after an HR picture's name, in those of SR
Score = Callable[[Picture, Picture], float]  # (sr, hr), both without border -> value


def signatures(lr: str) -> dict[str, str]:
    """Signatures of all PSNR and SSIM scores, for LR pictures made as `lr` says."""
    return {
        "psnr": signature("psnr", lr=lr),
        "ssim": signature("ssim", lr=lr),
        "psnr_rgb": signature("psnr", "rgb", lr=lr),
        "ssim_rgb": signature("ssim", "rgb", lr=lr),
        "psnr_grey": signature("psnr", "grey", lr=lr),
        "ssim_grey": signature("ssim", "grey", lr=lr),
    }


def score_folders(
    sr: Path,
    hr: Path | dict[str, Path],
    scale: int,
    others: Mapping[str, Score] | None = None,
    *,
    quiet: bool = False,
) -> tuple[PictureScore, ...]:
    """Score every SR picture on luma and RGB, `scale` pixels cut off each side, on all cores.

    If an HR picture is grey, its grey samples are scored too; everywhere else grey stands for three
    equal channels. `others` are more metrics, by name: where one fails, the picture's score says
    why. `hr` is a folder, or its pictures by name.

    Pictures are matched by file name: `<name>.*` in `hr` with `<name>.*` or `<name>x<scale>.*` in
    `sr`; or else all names in `sr` share what stands before and after <name>, such as `_SwinIR`,
    which stderr then shows unless `quiet`. HR is cropped on the right and bottom to a multiple of
    the scale. Raises DataError if a picture matches none or several; and one that names all that
    cannot be read, have another size than the cropped HR, or are too small to score.
    """
    hr_pictures = hr if isinstance(hr, dict) else list_pictures(hr)
    matched = _matched(list_pictures(sr), hr_pictures, scale, sr, quiet)
    score = partial(_score, scale=scale, others=others or {})
    return tuple(on_all_cores(f"quality {sr.name}", score, matched, quiet=quiet))


def _matched(
    sr: dict[str, Path], hr: dict[str, Path], scale: int, folder: Path, quiet: bool
) -> list[tuple[str, Path, Path]]:
    """(name, SR path, HR path) of every HR picture; DataError if an SR picture is left over."""
    # `ax2` is the SR of `a`, unless there is an HR picture with the name `ax2`.
    stems = {
        name: [s for s in (name, f"{name}x{scale}") if s in sr and (s == name or s not in hr)]
        for name in hr
    }
    if not all(stems.values()):
        counts = _patterns(sr, hr)
        if pattern := _shared_pattern(counts, hr, scale, folder):
            before, after = pattern
            stems = {name: [f"{before}{name}{after}"] for name in hr}
            if not quiet:
                print(f"{folder}: pictures are named {before}NAME{after}", file=sys.stderr)
        elif not any(stems.values()):
            _check_complete(counts, sr, hr, folder)
    unused = dict(sr)
    for name, found in stems.items():
        if len(found) > 1:
            raise DataError(f"{folder}: both {found[0]} and {found[1]} match {name}; keep one")
        if not found:
            suffixed = f"{name}x{scale}"
            raise DataError(
                f"{folder}: no SR picture for {hr[name]}; it must be named {name} or {suffixed}, "
                f"or as all others, such as {name}_NETWORK; {did_you_mean(suffixed, sr)}"
            )
        unused.pop(found[0])
    for stem, path in unused.items():
        raise DataError(f"{path}: no HR picture matches it; {did_you_mean(stem, hr)}")
    return [(name, sr[found[0]], hr[name]) for name, found in stems.items()]


def _patterns(sr: Collection[str], hr: Collection[str]) -> Counter[Pattern]:
    """The patterns in names of SR pictures, and how many HR pictures each fits."""
    return Counter(
        (before, after)
        for name in hr
        for stem in sr
        for before, after in _around(name, stem)
        if _stands_apart(before, name, after, len(hr) > 1)
    )


def _shared_pattern(
    counts: Counter[Pattern], hr: Collection[str], scale: int, folder: Path
) -> Pattern | None:
    """The pattern that fits all HR pictures; None if there is none.

    DataError if there are several, or if it names another scale.
    """
    fitting = [pattern for pattern, count in counts.items() if count == len(hr)]
    if len(fitting) > 1:
        first = next(iter(hr))
        names = " and ".join(f"{before}{first}{after}" for before, after in fitting[:2])
        raise DataError(
            f"{folder}: {names} both match {first}; keep the SR pictures of one network"
        )
    if not fitting:
        return None
    before, after = fitting[0]
    scales = {int(digit) for digit in _SCALE.findall(f"{before} {after}")}
    if scales and scale not in scales:
        raise DataError(
            f"{folder}: pictures are named {before}NAME{after}, but the scale is {scale}; correct "
            "--scale, or name another folder"
        )
    return fitting[0]


def _check_complete(
    counts: Counter[Pattern], sr: Collection[str], hr: Mapping[str, Path], folder: Path
) -> None:
    """Raise DataError, which names what is missing, if a pattern fits some HR pictures."""
    for (before, after), count in counts.most_common():
        missing = [name for name in hr if f"{before}{name}{after}" not in sr]
        if all(_stands_apart(before, name, after, False) for name in hr if name not in missing):
            raise DataError(
                f"{folder}: no SR picture for {hr[missing[0]]}; it must be named "
                f"{before}{missing[0]}{after}, as {count} of {len(hr)} are"
            )


def _around(name: str, stem: str) -> Iterator[Pattern]:
    """What stands before and after each occurrence of a name in a longer one."""
    start = stem.find(name)
    while start >= 0:
        yield stem[:start], stem[start + len(name) :]
        start = stem.find(name, start + 1)


def _stands_apart(before: str, name: str, after: str, is_set: bool) -> bool:
    """Whether `name` is a part of its own: `10` is not the SR of `1`, nor `woman` that of `man`.

    Letters may touch the names of a whole set, since what they all share is no coincidence.
    """
    if re.search(r"\d$", before) and name[0].isdecimal():
        return False
    if re.match(r"\d", after) and name[-1].isdecimal():
        return False
    return is_set or bool(re.search(r"(^|[\W_])$", before) and re.match(r"[\W_]|[xX]\d|$", after))


def _score(
    matched: tuple[str, Path, Path], scale: int, others: Mapping[str, Score]
) -> PictureScore:
    name, sr_path, hr_path = matched
    (sr, sr_sha256), (whole, hr_sha256) = map(_read, (sr_path, hr_path))
    hr = crop_to_multiple(whole, scale)
    if sr.shape != hr.shape:
        raise DataError(
            f"{sr_path}: SR is {size_text(sr)}, HR is {size_text(whole)}: a x{scale} SR of it "
            f"would be {size_text(hr)}; score it at its own scale, and against the HR picture, "
            "cropped or not, that its LR was made from"
        )
    sides: dict[Literal["sr", "hr"], Picture] = {"sr": sr, "hr": hr}
    one_channel = tuple(side for side, picture in sides.items() if is_grey(picture))
    inside = slice(scale, -scale), slice(scale, -scale)
    values, unavailable = _others(sr[inside], hr[inside], others)
    try:
        return PictureScore(
            name=name,
            **dict(_score_channel(sr, hr, scale, "y")),
            rgb=_score_channel(sr, hr, scale, "rgb"),
            grey=_score_channel(sr, hr, scale, "grey") if "hr" in one_channel else None,
            one_channel=one_channel,
            others=values,
            unavailable=unavailable,
            sr_sha256=sr_sha256,
            hr_sha256=hr_sha256,
        )
    except (ValueError, DataError) as error:
        raise DataError(
            f"{sr_path}: cannot be scored: {error}; leave the picture out of both folders"
        ) from None


def _read(path: Path) -> tuple[Picture, str]:
    """A picture, (h, w, 3) uint8, and the SHA-256 of the file that it was read from."""
    data = read_bytes(path)
    return decode_image(data, path), hashlib.sha256(data).hexdigest()


def _others(
    sr: Picture, hr: Picture, others: Mapping[str, Score]
) -> tuple[dict[str, float], dict[str, str]]:
    """The values of metrics, and the reasons of those that fail."""
    values, unavailable = {}, {}
    for metric, score in others.items():
        try:
            values[metric] = score(sr, hr)
        except Exception as error:  # whatever foreign code raises: too small a picture, no memory
            unavailable[metric] = in_one_line(error)
    return values, unavailable


def _score_channel(sr: Picture, hr: Picture, border: int, channel: Channel) -> ChannelScore:
    """PSNR and SSIM; an infinite PSNR becomes None, because JSON has no infinity."""
    psnr_db = psnr(sr, hr, border, channel)
    return ChannelScore(
        psnr_db=psnr_db if math.isfinite(psnr_db) else None, ssim=ssim(sr, hr, border, channel)
    )
