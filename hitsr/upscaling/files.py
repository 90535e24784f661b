"""Upscale a user's picture files; what they hold beside 8-bit RGB is preserved.

Grey goes through the network as three equal channels, and the mean of the output channels is the
result. Alpha is upscaled separately, by Pillow's bicubic, so that opaque areas stay exactly opaque.
Colour where alpha is zero is first replaced by the nearest visible one: it is arbitrary, often
black, and the network would mix it into visible edges.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, NamedTuple, TypeVar, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import distance_transform_edt
from torch import Tensor, nn

from hitsr.base.errors import DataError, HitsrError
from hitsr.base.files import write_bytes
from hitsr.base.progress import Progress
from hitsr.data.images import Samples, read_bytes
from hitsr.models.backbone import SuperResolver
from hitsr.runtime.tensors import check_finite
from hitsr.upscaling.in_order import in_order
from hitsr.upscaling.inference import (
    DEFAULTS,
    ToSamples,
    UpscaleOptions,
    check_tile,
    upscale_samples,
)
from hitsr.upscaling.many import most_waiting, pictures_at_once, upscale_alike
from hitsr.upscaling.tasks import UpscaleTask, check_suffix, shown
from hitsr.upscaling.user_pictures import FileFormat, UserPicture, check_holds, decode, encode

Result = TypeVar("Result")
_Colour = Samples | HitsrError | None  # upscaled, or why not; None for what is not upscaled


class Outcome(NamedTuple):
    """The result of one task."""

    task: UpscaleTask
    state: Literal["written", "kept", "failed"]  # kept: the output existed before
    reason: str = ""  # why it failed


class _Source(NamedTuple):
    """A decoded picture, and what is to become of it."""

    picture: UserPicture
    visible: Samples  # the colour that goes through the network
    format: FileFormat  # to be written
    where: str  # named in errors

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.visible.shape[0], self.visible.shape[1]


def upscale_files(
    model: nn.Module,
    tasks: Sequence[UpscaleTask],
    options: UpscaleOptions = DEFAULTS,
    *,
    overwrite: bool = False,
    quiet: bool = False,
) -> list[Outcome]:
    """Upscale each picture into its file, written atomically; after a failure the others go on.

    Existing outputs are kept unless `overwrite`. Pictures are read and written while the network
    works. On CUDA, pictures of one size that follow each other go through it together. Raises
    SpecError if tiles are too small for the network.
    """
    check_tile(model, options)
    outcomes = []
    with Progress("upscale", len(tasks), "picture", quiet) as progress:

        def read(task: UpscaleTask) -> tuple[UpscaleTask, _Source | Outcome]:
            return task, _attempted(task, lambda: _read(model, task, overwrite))

        def upscale(group: list[tuple[UpscaleTask, _Source | Outcome]]) -> Sequence[_Colour]:
            progress.note(shown(Path(group[0][0].source.name)))
            sources = [source for _, source in group if isinstance(source, _Source)]
            return _colours(model, sources, options, quiet) if sources else [None]

        for outcome in in_order(
            tasks,
            read,
            lambda each: each[1].size if isinstance(each[1], _Source) else None,
            upscale,
            lambda each, colour: _finish(*each, colour),
            at_once=pictures_at_once(model, options),
            waiting=most_waiting(model),
        ):
            outcomes.append(outcome)
            progress.advance()
    return outcomes


def _attempted(task: UpscaleTask, work: Callable[[], Result]) -> Result | Outcome:
    """What `work` returns, or the failure of the task."""
    try:
        return work()
    except HitsrError as error:
        return Outcome(task, "failed", str(error))
    except OSError as error:
        problem = f"cannot be written: {error.strerror or error}"
        return Outcome(task, "failed", f"{shown(task.target)}: {problem}")
    except MemoryError:
        return Outcome(task, "failed", f"{shown(task.source)}: needs more memory than there is")


def _read(model: nn.Module, task: UpscaleTask, overwrite: bool) -> _Source | Outcome:
    if _is_kept(task.target, overwrite):
        return Outcome(task, "kept")
    return _source(model, _bytes_of(task.source), shown(task.source), task.format)


def _is_kept(target: Path, overwrite: bool) -> bool:
    """Whether an output exists that must not be replaced; DataError if it is a folder."""
    if target.is_dir():
        raise DataError(f"{shown(target)}: is a folder, not a picture; choose another --out")
    return target.exists() and not overwrite


def _bytes_of(path: Path) -> bytes:
    """The bytes of a picture file; DataError for what cannot be read, or not to its end."""
    if path.is_dir():
        raise DataError(f"{shown(path)}: is a folder without a picture, or cannot be read")
    check_suffix(path)
    return read_bytes(path, shown(path))


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
    source = _source(model, data, where, file_format)
    (colour,) = _colours(model, [source], options, quiet)
    if isinstance(colour, HitsrError):
        raise colour
    return _encoded(source, colour)


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
    visible = _visible(picture)
    colour = upscale_samples(model, visible, _conversion(picture), options, quiet=quiet)
    return _completed(picture, colour)


def _source(model: nn.Module, data: bytes, where: str, file_format: FileFormat | None) -> _Source:
    """Decode a picture and check, before the slow part, that its format can hold the result."""
    picture = decode(data, where)
    chosen = file_format or picture.format
    check_holds(picture, chosen, where, model.scale if isinstance(model, SuperResolver) else 1)
    return _Source(picture, _visible(picture), chosen, where)


def _colours(
    model: nn.Module, sources: Sequence[_Source], options: UpscaleOptions, quiet: bool
) -> list[Samples | HitsrError]:
    """The upscaled colour of pictures of one size, or why there is none."""
    conversions = [_conversion(source.picture) for source in sources]
    visible = [source.visible for source in sources]
    found = upscale_alike(model, visible, conversions, options, quiet=quiet)
    return [
        DataError(f"{source.where}: {colour}") if isinstance(colour, DataError) else colour
        for source, colour in zip(sources, found, strict=True)
    ]


def _finish(task: UpscaleTask, source: _Source | Outcome, colour: _Colour) -> Outcome:
    """Encode and write a picture, unless it is kept or has failed."""
    if isinstance(source, Outcome):
        return source

    def write() -> Outcome:
        if isinstance(colour, HitsrError):
            raise colour
        assert colour is not None
        write_bytes(task.target, _encoded(source, colour))
        return Outcome(task, "written")

    return _attempted(task, write)


def _encoded(source: _Source, colour: Samples) -> bytes:
    return encode(_completed(source.picture, colour), source.format, source.where)


def _completed(picture: UserPicture, colour: Samples) -> UserPicture:
    """The picture with its upscaled colour, and alpha to match."""
    alpha = None if picture.alpha is None else _resized(picture.alpha, colour.shape[:2])
    return picture._replace(colour=colour, alpha=alpha)


def _conversion(picture: UserPicture) -> ToSamples:
    """How a network's output becomes samples like those of the picture."""
    grey, dtype = picture.colour.ndim == 2, picture.colour.dtype

    def to_samples(batch: Tensor) -> Samples:
        check_finite(batch)
        floats = batch[0].numpy()
        return _rounded(floats.mean(0) if grey else floats.transpose(1, 2, 0), dtype)

    return to_samples


def _visible(picture: UserPicture) -> Samples:
    return picture.colour if picture.alpha is None else _filled(picture.colour, picture.alpha)


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
