"""Score finished pictures against what they should be; no network is needed, nor torch."""

import math
import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from hitsr.base.errors import DataError, did_you_mean
from hitsr.base.progress import Progress
from hitsr.data.images import Picture, crop_to_multiple, list_pictures, read_image
from hitsr.measure.metrics import Channel, is_grey, psnr, signature, ssim
from hitsr.records import ChannelScore, PictureScore

Score = Callable[[Picture, Picture], float]  # (sr, hr), both cropped -> value


def signatures(lr: str) -> dict[str, str]:
    """How PSNR and SSIM are taken here, of pictures upscaled from such an LR."""
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
    hr: Path,
    scale: int,
    others: Mapping[str, Score] | None = None,
    *,
    quiet: bool = False,
) -> tuple[PictureScore, ...]:
    """Score every SR picture on luma and RGB, `scale` pixels cut off each side, on all cores.

    A grey HR picture is scored as grey too. `others` are more metrics, by name.

    `hr` holds `<name>.*`, `sr` holds `<name>.*` or `<name>x<scale>.*`; HR is cropped on the right
    and bottom to a multiple of the scale. Raises DataError where a picture has no partner or more
    than one, cannot be read, is not of the size that the scale explains, or is too small to score.
    """
    matched = _match(list_pictures(sr), list_pictures(hr), scale, sr)
    score = partial(_score, scale=scale, others=others or {})
    with (
        Progress(f"quality {sr.name}", len(matched), "picture", quiet) as progress,
        ThreadPoolExecutor(os.cpu_count()) as workers,
    ):
        scores = []
        for scored in workers.map(score, matched):
            scores.append(scored)
            progress.advance()
    return tuple(scores)


def _match(
    sr: dict[str, Path], hr: dict[str, Path], scale: int, folder: Path
) -> list[tuple[str, Path, Path]]:
    """(name, SR path, HR path) of every HR picture; each SR picture is used once."""
    unused = dict(sr)
    matched = []
    for name, hr_path in hr.items():
        # `ax2` is the SR of `a`, unless an HR picture has that very name.
        suffixed = f"{name}x{scale}"
        stems = [
            stem for stem in (name, suffixed) if stem in sr and (stem == name or stem not in hr)
        ]
        if len(stems) > 1:
            raise DataError(f"{folder}: both {stems[0]} and {stems[1]} are {name}; keep one")
        if not stems:
            raise DataError(
                f"{folder}: no SR picture for {hr_path}; want {name} or {suffixed}, "
                f"{did_you_mean(suffixed, sr)}"
            )
        matched.append((name, unused.pop(stems[0]), hr_path))
    for stem, path in unused.items():
        raise DataError(f"{path}: no HR picture goes with it; {did_you_mean(stem, hr)}")
    return matched


def _score(
    matched: tuple[str, Path, Path], scale: int, others: Mapping[str, Score]
) -> PictureScore:
    name, sr_path, hr_path = matched
    sr, whole = read_image(sr_path), read_image(hr_path)
    hr = crop_to_multiple(whole, scale)
    if sr.shape != hr.shape:
        raise DataError(
            f"{sr_path}: SR is {_size(sr)}, HR is {_size(whole)}: a x{scale} SR of it would be "
            f"{_size(hr)}; was it made at another scale?"
        )
    inside = slice(scale, -scale), slice(scale, -scale)
    try:
        return PictureScore(
            name=name,
            **dict(_on_channel(sr, hr, scale, "y")),
            rgb=_on_channel(sr, hr, scale, "rgb"),
            grey=_on_channel(sr, hr, scale, "grey") if is_grey(hr) else None,
            others={metric: score(sr[inside], hr[inside]) for metric, score in others.items()},
        )
    except (ValueError, DataError) as error:
        raise DataError(f"{sr_path}: cannot be scored: {error}") from None


def _on_channel(sr: Picture, hr: Picture, border: int, channel: Channel) -> ChannelScore:
    psnr_db = psnr(sr, hr, border, channel)
    return ChannelScore(
        psnr_db=psnr_db if math.isfinite(psnr_db) else None, ssim=ssim(sr, hr, border, channel)
    )


def _size(image: Picture) -> str:
    return f"{image.shape[1]}x{image.shape[0]}"
