"""Upscale users' pictures with a network, keeping grey grey, alpha alpha, and 16 bits 16 bits.

The network works on floats: grey as three equal channels, whose mean is the result. Alpha is
upscaled apart, by Pillow's bicubic: what is opaque stays exactly opaque.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple, cast

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from hitsr.data.user_files import Job
from hitsr.data.user_pictures import Form, Samples, UserPicture, check_holds, decode, encode
from hitsr.errors import DataError, HitsrError, WeightsError
from hitsr.files import write_bytes
from hitsr.inference import evaluating
from hitsr.progress import Progress


class Outcome(NamedTuple):
    """What became of one picture."""

    job: Job
    state: Literal["written", "kept", "failed"]  # kept: the output was there before
    reason: str = ""  # of a failure


def upscale_files(
    model: nn.Module, jobs: Sequence[Job], *, overwrite: bool = False, quiet: bool = False
) -> list[Outcome]:
    """Upscale each picture into its file, whole or not at all; one that fails stops no other.

    Outputs that exist are kept unless `overwrite`.
    """
    outcomes = []
    with Progress("upscale", len(jobs), "picture", quiet) as progress:
        for job in jobs:
            progress.note(job.source.name)
            outcomes.append(_upscale_file(model, job, overwrite))
            progress.advance()
    return outcomes


def _upscale_file(model: nn.Module, job: Job, overwrite: bool) -> Outcome:
    if job.target.exists() and not overwrite:
        return Outcome(job, "kept")
    try:
        data = upscale_bytes(model, job.source.read_bytes(), str(job.source), job.form)
        write_bytes(job.target, data)
    except (HitsrError, OSError) as error:
        return Outcome(job, "failed", str(error))
    return Outcome(job, "written")


def upscale_bytes(model: nn.Module, data: bytes, where: str, form: Form | None = None) -> bytes:
    """A picture file's bytes, upscaled, in its own format or `form`.

    Raises DataError that names `where` for what cannot be read, held or kept, and WeightsError
    for an output that is not finite.
    """
    picture = decode(data, where)
    chosen = form or picture.form
    check_holds(picture, chosen, where)  # before the long part
    try:
        upscaled = upscale_picture(model, picture)
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "memory" not in str(error):
            raise
        height, width = picture.colour.shape[:2]
        raise DataError(f"{where}: {width}x{height} needs more memory than there is; cut it") from (
            error
        )
    return encode(upscaled, chosen, where)


def upscale_picture(model: nn.Module, picture: UserPicture) -> UserPicture:
    """Upscale colour by the network, alpha by bicubic; profile and depth stay."""
    colour = _colour(model, picture.colour)
    alpha = None if picture.alpha is None else _resized(picture.alpha, colour.shape[:2])
    return picture._replace(colour=colour, alpha=alpha)


def _colour(model: nn.Module, samples: Samples) -> Samples:
    """(h, w) or (h, w, 3) -> the same, larger; rounded to the type it came in."""
    grey, largest = samples.ndim == 2, np.iinfo(samples.dtype).max
    floats = samples.astype(np.float32) / largest
    rgb = np.repeat(floats[None], 3, 0) if grey else floats.transpose(2, 0, 1)
    device = next(model.parameters()).device
    with evaluating(model), torch.inference_mode():
        batch = torch.from_numpy(np.ascontiguousarray(rgb))[None].to(device)
        upscaled: NDArray[np.float32] = model(batch)[0].float().cpu().numpy()
    if not np.isfinite(upscaled).all():
        raise WeightsError("the network's output is not finite: its weights diverged; train again")
    values = upscaled.mean(0) if grey else upscaled.transpose(1, 2, 0)
    return _rounded(values, samples.dtype)


def _resized(samples: Samples, size: tuple[int, ...]) -> Samples:
    """(h, w) -> `size`, bicubic."""
    largest = np.iinfo(samples.dtype).max
    plane = Image.fromarray(samples.astype(np.float32))
    resized = plane.resize((size[1], size[0]), Image.Resampling.BICUBIC)
    return _rounded(np.asarray(resized) / largest, samples.dtype)


def _rounded(values: NDArray[np.floating], dtype: np.dtype[np.uint8 | np.uint16]) -> Samples:
    """[0, 1] -> the integers of `dtype`, clamped."""
    scaled = values.astype(np.float64).clip(0, 1) * np.iinfo(dtype).max
    return cast(Samples, np.rint(scaled).astype(dtype))
