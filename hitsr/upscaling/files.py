"""Upscale users' pictures with a network, keeping grey grey, alpha alpha, and 16 bits 16 bits.

The network works on floats: grey as three equal channels, whose mean is the result. Alpha is
upscaled apart, by Pillow's bicubic: what is opaque stays exactly opaque.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from hitsr.base.errors import DataError, HitsrError, WeightsError
from hitsr.base.files import write_bytes
from hitsr.base.progress import Progress
from hitsr.data.images import Samples
from hitsr.upscaling.inference import BY_DEFAULT, Manner, check, enlarge
from hitsr.upscaling.user_files import Job
from hitsr.upscaling.user_pictures import Form, UserPicture, check_holds, decode, encode


class Outcome(NamedTuple):
    """What became of one picture."""

    job: Job
    state: Literal["written", "kept", "failed"]  # kept: the output was there before
    reason: str = ""  # of a failure


def upscale_files(
    model: nn.Module,
    jobs: Sequence[Job],
    manner: Manner = BY_DEFAULT,
    *,
    overwrite: bool = False,
    quiet: bool = False,
) -> list[Outcome]:
    """Upscale each picture into its file, whole or not at all; one that fails stops no other.

    Outputs that exist are kept unless `overwrite`. Raises SpecError for tiles too small for the
    network.
    """
    check(model, manner)
    outcomes = []
    with Progress("upscale", len(jobs), "picture", quiet) as progress:
        for job in jobs:
            progress.note(job.source.name)
            outcomes.append(_upscale_file(model, job, manner, overwrite, quiet))
            progress.advance()
    return outcomes


def _upscale_file(
    model: nn.Module, job: Job, manner: Manner, overwrite: bool, quiet: bool
) -> Outcome:
    if job.target.exists() and not overwrite:
        return Outcome(job, "kept")
    try:
        source = job.source.read_bytes()
        data = upscale_bytes(model, source, str(job.source), job.form, manner, quiet=quiet)
        write_bytes(job.target, data)
    except (HitsrError, OSError) as error:
        return Outcome(job, "failed", str(error))
    return Outcome(job, "written")


def upscale_bytes(
    model: nn.Module,
    data: bytes,
    where: str,
    form: Form | None = None,
    manner: Manner = BY_DEFAULT,
    *,
    quiet: bool = False,
) -> bytes:
    """A picture file's bytes, upscaled, in its own format or `form`.

    Raises DataError that names `where` for what cannot be read, held or kept, and WeightsError
    for an output that is not finite.
    """
    picture = decode(data, where)
    chosen = form or picture.form
    check_holds(picture, chosen, where)  # before the long part
    try:
        upscaled = upscale_picture(model, picture, manner, quiet=quiet)
    except DataError as error:
        raise DataError(f"{where}: {error}") from error
    return encode(upscaled, chosen, where)


def upscale_picture(
    model: nn.Module, picture: UserPicture, manner: Manner = BY_DEFAULT, *, quiet: bool = False
) -> UserPicture:
    """Upscale colour by the network, alpha by bicubic; profile and depth stay.

    Raises DataError if memory does not suffice, as `inference.upscale`.
    """
    grey, dtype = picture.colour.ndim == 2, picture.colour.dtype

    def to_samples(batch: Tensor) -> Samples:
        return _samples(batch[0].numpy(), grey, dtype)

    colour = enlarge(model, picture.colour, to_samples, manner, quiet=quiet)
    alpha = None if picture.alpha is None else _resized(picture.alpha, colour.shape[:2])
    return picture._replace(colour=colour, alpha=alpha)


def _samples(
    floats: NDArray[np.float32], grey: bool, dtype: np.dtype[np.uint8 | np.uint16]
) -> Samples:
    """(3, h, w) -> (h, w, 3), or (h, w) of their mean; rounded to `dtype`."""
    if not np.isfinite(floats).all():
        raise WeightsError("the network's output is not finite: its weights diverged; train again")
    return _rounded(floats.mean(0) if grey else floats.transpose(1, 2, 0), dtype)


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
