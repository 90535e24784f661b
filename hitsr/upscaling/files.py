"""Upscale a user's picture files; grey, alpha, 16 bits and colour profile are preserved.

Grey goes through the network as three equal channels, and the mean of the output channels is the
result. Alpha is upscaled separately, by Pillow's bicubic, so that opaque areas stay exactly opaque.
Colour where alpha is zero is first replaced by the nearest visible one: it is arbitrary, often
black, and the network would mix it into visible edges.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import distance_transform_edt
from torch import Tensor, nn

from hitsr.base.errors import DataError, HitsrError
from hitsr.base.files import write_bytes
from hitsr.base.progress import Progress
from hitsr.data.images import Samples
from hitsr.runtime.tensors import check_finite
from hitsr.upscaling.inference import DEFAULTS, UpscaleOptions, check_tile, upscale_samples
from hitsr.upscaling.tasks import UpscaleTask
from hitsr.upscaling.user_pictures import FileFormat, UserPicture, check_holds, decode, encode


class Outcome(NamedTuple):
    """The result of one task."""

    task: UpscaleTask
    state: Literal["written", "kept", "failed"]  # kept: the output existed before
    reason: str = ""  # why it failed


def upscale_files(
    model: nn.Module,
    tasks: Sequence[UpscaleTask],
    options: UpscaleOptions = DEFAULTS,
    *,
    overwrite: bool = False,
    quiet: bool = False,
) -> list[Outcome]:
    """Upscale each picture into its file, written atomically; after a failure the others go on.

    Existing outputs are kept unless `overwrite`. Raises SpecError if tiles are too small for the
    network.
    """
    check_tile(model, options)
    outcomes = []
    with Progress("upscale", len(tasks), "picture", quiet) as progress:
        for task in tasks:
            progress.note(task.source.name)
            outcomes.append(_upscale_file(model, task, options, overwrite, quiet))
            progress.advance()
    return outcomes


def _upscale_file(
    model: nn.Module, task: UpscaleTask, options: UpscaleOptions, overwrite: bool, quiet: bool
) -> Outcome:
    if task.target.exists() and not overwrite:
        return Outcome(task, "kept")
    try:
        source = task.source.read_bytes()
        data = upscale_bytes(model, source, str(task.source), task.format, options, quiet=quiet)
        write_bytes(task.target, data)
    except (HitsrError, OSError) as error:
        return Outcome(task, "failed", str(error))
    return Outcome(task, "written")


def upscale_bytes(
    model: nn.Module,
    data: bytes,
    where: str,
    file_format: FileFormat | None = None,
    options: UpscaleOptions = DEFAULTS,
    *,
    quiet: bool = False,
) -> bytes:
    """Upscale a picture file given as bytes, into `file_format` or else the format of the input.

    Raises DataError, which names `where`, if the picture cannot be read, if the format cannot hold
    it, or if memory does not suffice. Raises WeightsError if the output is not finite.
    """
    picture = decode(data, where)
    chosen = file_format or picture.format
    check_holds(picture, chosen, where)  # before the slow part
    try:
        upscaled = upscale_picture(model, picture, options, quiet=quiet)
    except DataError as error:
        raise DataError(f"{where}: {error}") from error
    return encode(upscaled, chosen, where)


def upscale_picture(
    model: nn.Module,
    picture: UserPicture,
    options: UpscaleOptions = DEFAULTS,
    *,
    quiet: bool = False,
) -> UserPicture:
    """Upscale colour with the network and alpha by bicubic; keep profile and bit depth.

    Raises DataError if memory does not suffice, as `hitsr.upscale` does.
    """
    grey, dtype = picture.colour.ndim == 2, picture.colour.dtype

    def to_samples(batch: Tensor) -> Samples:
        check_finite(batch)
        floats = batch[0].numpy()
        return _rounded(floats.mean(0) if grey else floats.transpose(1, 2, 0), dtype)

    visible = picture.colour if picture.alpha is None else _filled(picture.colour, picture.alpha)
    colour = upscale_samples(model, visible, to_samples, options, quiet=quiet)
    alpha = None if picture.alpha is None else _resized(picture.alpha, colour.shape[:2])
    return picture._replace(colour=colour, alpha=alpha)


def _filled(colour: Samples, alpha: Samples) -> Samples:
    """The colour with hidden pixels, those of alpha zero, replaced by the nearest visible ones."""
    hidden = alpha == 0
    if hidden.all() or not hidden.any():
        return colour
    rows, columns = distance_transform_edt(hidden, return_distances=False, return_indices=True)
    filled = colour.copy()
    filled[hidden] = colour[rows[hidden], columns[hidden]]
    return filled


def _resized(samples: Samples, size: tuple[int, ...]) -> Samples:
    """Resize one plane, (h, w) -> `size`, by Pillow's bicubic."""
    largest = np.iinfo(samples.dtype).max
    plane = Image.fromarray(samples.astype(np.float32))
    resized = plane.resize((size[1], size[0]), Image.Resampling.BICUBIC)
    return _rounded(np.asarray(resized) / largest, samples.dtype)


def _rounded(values: NDArray[np.floating], dtype: np.dtype[np.uint8 | np.uint16]) -> Samples:
    """[0, 1] -> integers over the full range of `dtype`, clamped."""
    scaled = values.astype(np.float64).clip(0, 1) * np.iinfo(dtype).max
    return cast(Samples, np.rint(scaled).astype(dtype))
