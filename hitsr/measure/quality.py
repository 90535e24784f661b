"""Score finished pictures against what they should be; no network is needed, nor torch."""

import math
from pathlib import Path

from hitsr.data.images import Picture, crop_to_multiple, list_pictures, read_image
from hitsr.errors import DataError, did_you_mean
from hitsr.metrics import psnr, signature, ssim
from hitsr.progress import Progress
from hitsr.records import PictureScore

SIGNATURES = {"psnr": signature("psnr"), "ssim": signature("ssim")}


def score_folders(
    sr: Path, hr: Path, scale: int, *, quiet: bool = False
) -> tuple[PictureScore, ...]:
    """PSNR and SSIM on luma of every SR picture, `scale` pixels cut off each side.

    `hr` holds `<name>.*`, `sr` holds `<name>.*` or `<name>x<scale>.*`; HR is cropped on the right
    and bottom to a multiple of the scale. Raises DataError where a picture has no partner or more
    than one, cannot be read, is not of the size that the scale explains, or is too small to score.
    """
    matched = _match(list_pictures(sr), list_pictures(hr), scale, sr)
    with Progress(f"quality {sr.name}", len(matched), "picture", quiet) as progress:
        scores = []
        for name, sr_path, hr_path in matched:
            scores.append(_score(name, sr_path, hr_path, scale))
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


def _score(name: str, sr_path: Path, hr_path: Path, scale: int) -> PictureScore:
    sr, whole = read_image(sr_path), read_image(hr_path)
    hr = crop_to_multiple(whole, scale)
    if sr.shape != hr.shape:
        raise DataError(
            f"{sr_path}: SR is {_size(sr)}, HR is {_size(whole)}: a x{scale} SR of it would be "
            f"{_size(hr)}; was it made at another scale?"
        )
    try:
        psnr_db = psnr(sr, hr, border=scale)
        similarity = ssim(sr, hr, border=scale)
    except ValueError as error:
        raise DataError(f"{sr_path}: cannot be scored: {error}") from None
    return PictureScore(
        name=name, psnr_db=psnr_db if math.isfinite(psnr_db) else None, ssim=similarity
    )


def _size(image: Picture) -> str:
    return f"{image.shape[1]}x{image.shape[0]}"
