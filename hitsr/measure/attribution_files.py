"""Compute attribution maps for windows of LR picture files, and write them to files."""

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
from torch import nn

from hitsr.base.errors import DataError
from hitsr.base.files import sha256, write_bytes
from hitsr.base.progress import Progress
from hitsr.data.images import Picture, read_image, write_png
from hitsr.measure.attribution import Attribution, BlurPath, Window, local_attribution
from hitsr.measure.attribution_maps import busiest_window, crop_around
from hitsr.measure.attribution_pictures import overlay
from hitsr.records import AttributionSettings, LeftOut, RefinedAttribution, WindowAttribution
from hitsr.runtime.tensors import to_batch


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
    path that cannot be refined are left out, each with its reason. Raises DataError if no map is
    left, and as `local_attribution` does; the maps before the error are written.
    """
    found: list[WindowAttribution] = []
    left_out: list[LeftOut] = []
    total = len(tasks) * len(BlurPath(np.zeros((1, 1, 1)), settings))
    with Progress(f"lam {out.name}", total, "gradient", quiet) as progress:
        for task in tasks:
            whole = read_image(task.lr)
            try:
                lr, window, corner = _placed(task, whole, scale)
                batch = to_batch(lr)
                attribution = local_attribution(
                    model,
                    batch,
                    window,
                    settings=settings,
                    memory_bytes=memory_bytes,
                    progress=progress,
                )
            except DataError as error:
                left_out.append(LeftOut(picture=task.name, reason=str(error)))
                continue
            refined = None
            if refine:
                try:
                    refined = local_attribution(
                        model,
                        batch,
                        window,
                        settings=settings,
                        refine=True,
                        memory_bytes=memory_bytes,
                    )
                except DataError as error:
                    reason = f"only its refined map: {error}"
                    left_out.append(LeftOut(picture=task.name, reason=reason))
            found.append(_save(task, lr, window, corner, scale, attribution, refined, out))
    if not found:
        first = left_out[0]
        more = f", and so for {len(left_out) - 1} more" if len(left_out) > 1 else ""
        raise DataError(f"no picture has a map: {first.picture}: {first.reason}{more}")
    return tuple(found), tuple(left_out)


def _placed(task: WindowTask, lr: Picture, scale: int) -> tuple[Picture, Window, tuple[int, int]]:
    """The (cropped) LR picture, the window in it, and the crop's (x, y) in the whole picture.

    DataError if the window does not lie within the SR picture.
    """
    window = task.window or busiest_window(lr, scale, task.side)
    height, width = (length * scale for length in lr.shape[:2])
    if window[0] + window[2] > width or window[1] + window[2] > height:
        raise DataError(f"window {window}: reaches outside the SR picture, {width}x{height}")
    if not task.crop:
        return lr, window, (0, 0)
    cropped, inside = crop_around(lr, window, scale, task.crop)
    return cropped, inside, ((window[0] - inside[0]) // scale, (window[1] - inside[1]) // scale)


def _save(
    task: WindowTask,
    lr: Picture,
    window: Window,
    corner: tuple[int, int],
    scale: int,
    attribution: Attribution,
    refined: Attribution | None,
    out: Path,
) -> WindowAttribution:
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
