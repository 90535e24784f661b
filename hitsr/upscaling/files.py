"""Upscale a user's picture files; what they hold beside 8-bit RGB is preserved.

Grey goes through the network as three equal channels, and the mean of the output channels is the
result. Alpha is upscaled separately, by Pillow's bicubic, so that opaque areas stay exactly opaque.
Colour where alpha is zero is first replaced by the nearest visible one: it is arbitrary, often
black, and the network would mix it into visible edges.
"""

import stat
from collections.abc import Sequence
from pathlib import Path
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
from hitsr.models.backbone import SuperResolver
from hitsr.runtime.tensors import check_finite
from hitsr.upscaling.inference import DEFAULTS, UpscaleOptions, check_tile, upscale_samples
from hitsr.upscaling.tasks import UpscaleTask, check_suffix, shown
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
            progress.note(shown(Path(task.source.name)))
            outcomes.append(_upscale_file(model, task, options, overwrite, quiet))
            progress.advance()
    return outcomes


def _upscale_file(
    model: nn.Module, task: UpscaleTask, options: UpscaleOptions, overwrite: bool, quiet: bool
) -> Outcome:
    try:
        if _is_kept(task.target, overwrite):
            return Outcome(task, "kept")
        where = shown(task.source)
        data = upscale_bytes(model, _read(task.source), where, task.format, options, quiet=quiet)
        write_bytes(task.target, data)
    except HitsrError as error:
        return Outcome(task, "failed", str(error))
    except OSError as error:
        problem = f"cannot be written: {error.strerror or error}"
        return Outcome(task, "failed", f"{shown(task.target)}: {problem}")
    except MemoryError:
        return Outcome(task, "failed", f"{shown(task.source)}: needs more memory than there is")
    return Outcome(task, "written")


def _is_kept(target: Path, overwrite: bool) -> bool:
    """Whether an output exists that must not be replaced; DataError if it is a folder."""
    if target.is_dir():
        raise DataError(f"{shown(target)}: is a folder, not a picture; choose another --out")
    return target.exists() and not overwrite


def _read(path: Path) -> bytes:
    """The bytes of a picture file; DataError for what cannot be read, or not to its end."""
    try:
        kind = path.stat().st_mode
        if stat.S_ISDIR(kind):
            raise DataError(f"{shown(path)}: is a folder without a picture, or cannot be read")
        if not stat.S_ISREG(kind):
            raise DataError(f"{shown(path)}: is a device or pipe; save it as a file")
        check_suffix(path)
        return path.read_bytes()
    except OSError as error:
        problem = f"cannot be read: {error.strerror}"
        raise DataError(f"{shown(path)}: {problem}; check the path") from error


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
    scale = model.scale if isinstance(model, SuperResolver) else 1
    check_holds(picture, chosen, where, scale)  # before the slow part
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
    """Upscale colour with the network and alpha by bicubic; keep all else.

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
