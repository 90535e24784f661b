"""Compute attribution maps for windows of LR picture files, and write them to files."""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from io import BytesIO
from itertools import repeat
from pathlib import Path
from typing import NamedTuple

import numpy as np
from torch import nn

from hitsr.base.errors import DataError
from hitsr.base.files import sha256, write_bytes
from hitsr.base.progress import Progress
from hitsr.data.images import Picture, read_image, write_png
from hitsr.data.workers import on_all_cores, results
from hitsr.measure.attribution import Attribution, local_attributions
from hitsr.measure.attribution_batches import Window
from hitsr.measure.attribution_maps import busiest_window, crop_around
from hitsr.measure.attribution_path import BlurPath
from hitsr.measure.attribution_pictures import overlay
from hitsr.records import AttributionSettings, LeftOut, RefinedAttribution, WindowAttribution
from hitsr.runtime.tensors import to_batch

_MOST_WAITING = 16  # maps to be written


class WindowTask(NamedTuple):
    """A window of an LR picture to compute an attribution map for."""

    name: str
    lr: Path
    window: Window | None = None  # None: the busiest window of `side` pixels
    side: int = 16  # of the busiest window, in HR pixels
    crop: int = 0  # side of the LR picture cut out around the window; 0: the whole picture


def attribute(
    model: nn.Module,
    tasks: Sequence[WindowTask],
    scale: int,
    out: Path,
    settings: AttributionSettings,
    *,
    refine: bool = False,
    memory_bytes: int | None = None,
    quiet: bool = False,
) -> tuple[tuple[WindowAttribution, ...], tuple[LeftOut, ...]]:
    """Compute each map and write it as `out`/<name>.<x>-<y>-<side>.npy and .png.

    With `refine`, each map is computed a second time along the refined path, and its indices are
    recorded too. A picture that has no map, because it is flat or smaller than the window, and a
    path that cannot be refined are left out, each with its reason. Maps are written while the next
    ones are computed. Raises DataError if a picture cannot be read or no map is left, and as
    `local_attributions` does; the maps before the error are written.
    """

    places = on_all_cores(f"place {out.name}", lambda task: _place(task, scale), tasks, quiet=quiet)
    windows = [place for place in places if isinstance(place, _Place)]

    def maps(refine: bool, progress: Progress | None) -> Iterator[Attribution | DataError]:
        return local_attributions(
            model,
            ((to_batch(place.lr), place.window) for place in windows),
            settings=settings,
            refine=refine,
            memory_bytes=memory_bytes,
            progress=progress,
        )

    written: list[WindowAttribution] = []
    left_out: list[LeftOut] = []
    writing: deque[Future[WindowAttribution]] = deque()
    total = len(tasks) * len(BlurPath(np.zeros((1, 1, 1)), settings))
    with (
        Progress(f"lam {out.name}", total, "gradient", quiet) as progress,
        ThreadPoolExecutor(1) as writer,
    ):
        plain, refined = maps(False, progress), maps(True, None) if refine else repeat(None)
        for place in places:
            if isinstance(place, LeftOut):
                left_out.append(place)
                continue
            first, second = next(plain), next(refined)
            name = place.task.name
            if isinstance(first, DataError):
                left_out.append(LeftOut(picture=name, reason=str(first)))
                continue
            if isinstance(second, DataError):
                left_out.append(LeftOut(picture=name, reason=f"only its refined map: {second}"))
                second = None
            writing.append(writer.submit(_save, place, scale, first, second, out))
            written += results(writing, most=_MOST_WAITING)
        written += results(writing, most=0)
    if not written:
        one = left_out[0]
        more = f", and so for {len(left_out) - 1} more" if len(left_out) > 1 else ""
        raise DataError(f"no picture has a map: {one.picture}: {one.reason}{more}")
    return tuple(written), tuple(left_out)


class _Place(NamedTuple):
    """The LR picture, or the part of it, that a window is mapped in."""

    task: WindowTask
    lr: Picture
    window: Window  # in the part
    corner: tuple[int, int]  # x, y of the part in the whole LR picture


def _place(task: WindowTask, scale: int) -> _Place | LeftOut:
    """Read the picture and choose the window; LeftOut if it does not lie within the SR picture."""
    lr = read_image(task.lr)
    try:
        window = task.window or busiest_window(lr, scale, task.side)
    except DataError as error:
        return LeftOut(picture=task.name, reason=str(error))
    height, width = (length * scale for length in lr.shape[:2])
    if window[0] + window[2] > width or window[1] + window[2] > height:
        reason = f"window {window}: reaches outside the SR picture, {width}x{height}"
        return LeftOut(picture=task.name, reason=reason)
    if not task.crop:
        return _Place(task, lr, window, (0, 0))
    part, inside = crop_around(lr, window, scale, task.crop)
    corner = (window[0] - inside[0]) // scale, (window[1] - inside[1]) // scale
    return _Place(task, part.copy(), inside, corner)  # a copy, or the whole would stay in memory


def _save(
    place: _Place,
    scale: int,
    attribution: Attribution,
    refined: Attribution | None,
    out: Path,
) -> WindowAttribution:
    task, lr, window, corner = place
    name = f"{task.name}.{'-'.join(map(str, window))}"
    buffer = BytesIO()
    np.save(buffer, attribution.channels.astype(np.float32))
    write_bytes(out / f"{name}.npy", buffer.getvalue())
    write_png(out / f"{name}.png", overlay(lr, attribution.map, window, scale))
    return WindowAttribution(
        picture=task.name,
        lr_sha256=sha256(task.lr),
        lr_size=(lr.shape[1], lr.shape[0]),
        window=window,
        corner=corner,
        diffusion_index=attribution.diffusion_index,
        information_area=attribution.information_area,
        completeness_error=attribution.completeness_error,
        batch=attribution.batch,
        refined=None if refined is None else _refined(refined),
        channels=f"{name}.npy",
        overlay=f"{name}.png",
        channels_sha256=sha256(out / f"{name}.npy"),
        overlay_sha256=sha256(out / f"{name}.png"),
    )


def _refined(attribution: Attribution) -> RefinedAttribution:
    return RefinedAttribution(
        steps=attribution.settings.steps,
        diffusion_index=attribution.diffusion_index,
        completeness_error=attribution.completeness_error,
    )
