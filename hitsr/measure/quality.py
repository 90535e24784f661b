"""Score SR pictures in files against HR pictures in files; needs neither a network nor torch."""

import hashlib
import math
import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from hitsr.base.errors import DataError, did_you_mean
from hitsr.base.progress import Progress
from hitsr.data.images import (
    Picture,
    crop_to_multiple,
    decode_image,
    list_pictures,
    read_bytes,
    size_text,
)
from hitsr.measure.metrics import Channel, is_grey, psnr, signature, ssim
from hitsr.records import ChannelScore, PictureScore

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

    If an HR picture is grey, its grey samples are scored too. `others` are more metrics, by name.
    `hr` is a folder, or its pictures by name.

    Pictures are matched by file name: `<name>.*` in `hr` with `<name>.*` or `<name>x<scale>.*` in
    `sr`. HR is cropped on the right and bottom to a multiple of the scale. Raises DataError if a
    picture matches none or several, cannot be read, has another size than the cropped HR, or is too
    small to score.
    """
    hr_pictures = hr if isinstance(hr, dict) else list_pictures(hr)
    matched = _matched(list_pictures(sr), hr_pictures, scale, sr)
    score = partial(_score, scale=scale, others=others or {})
    with (
        Progress(f"quality {sr.name}", len(matched), "picture", quiet) as progress,
        ThreadPoolExecutor(os.cpu_count()) as workers,
    ):
        scores = []
        for picture_score in workers.map(score, matched):
            scores.append(picture_score)
            progress.advance()
    return tuple(scores)


def _matched(
    sr: dict[str, Path], hr: dict[str, Path], scale: int, folder: Path
) -> list[tuple[str, Path, Path]]:
    """(name, SR path, HR path) of every HR picture; DataError if an SR picture is left over."""
    unused = dict(sr)
    matched = []
    for name, hr_path in hr.items():
        # `ax2` is the SR of `a`, unless there is an HR picture with the name `ax2`.
        suffixed = f"{name}x{scale}"
        stems = [
            stem for stem in (name, suffixed) if stem in sr and (stem == name or stem not in hr)
        ]
        if len(stems) > 1:
            raise DataError(f"{folder}: both {stems[0]} and {stems[1]} match {name}; keep one")
        if not stems:
            raise DataError(
                f"{folder}: no SR picture for {hr_path}; want {name} or {suffixed}, "
                f"{did_you_mean(suffixed, sr)}"
            )
        matched.append((name, unused.pop(stems[0]), hr_path))
    for stem, path in unused.items():
        raise DataError(f"{path}: no HR picture matches it; {did_you_mean(stem, hr)}")
    return matched


def _score(
    matched: tuple[str, Path, Path], scale: int, others: Mapping[str, Score]
) -> PictureScore:
    name, sr_path, hr_path = matched
    (sr, sr_sha256), (whole, hr_sha256) = map(_read, (sr_path, hr_path))
    hr = crop_to_multiple(whole, scale)
    if sr.shape != hr.shape:
        raise DataError(
            f"{sr_path}: SR is {size_text(sr)}, HR is {size_text(whole)}: a x{scale} SR of it "
            f"would be {size_text(hr)}; was it made at another scale?"
        )
    inside = slice(scale, -scale), slice(scale, -scale)
    try:
        return PictureScore(
            name=name,
            **dict(_score_channel(sr, hr, scale, "y")),
            rgb=_score_channel(sr, hr, scale, "rgb"),
            grey=_score_channel(sr, hr, scale, "grey") if is_grey(hr) else None,
            others={metric: score(sr[inside], hr[inside]) for metric, score in others.items()},
            sr_sha256=sr_sha256,
            hr_sha256=hr_sha256,
        )
    except (ValueError, DataError) as error:
        raise DataError(f"{sr_path}: cannot be scored: {error}") from None


def _read(path: Path) -> tuple[Picture, str]:
    """A picture, (h, w, 3) uint8, and the SHA-256 of the file that it was read from."""
    data = read_bytes(path)
    return decode_image(data, path), hashlib.sha256(data).hexdigest()


def _score_channel(sr: Picture, hr: Picture, border: int, channel: Channel) -> ChannelScore:
    """PSNR and SSIM; an infinite PSNR becomes None, because JSON has no infinity."""
    psnr_db = psnr(sr, hr, border, channel)
    return ChannelScore(
        psnr_db=psnr_db if math.isfinite(psnr_db) else None, ssim=ssim(sr, hr, border, channel)
    )
