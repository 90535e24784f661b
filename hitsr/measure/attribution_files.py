"""From LR pictures in files to attribution maps in files, window by window."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from torch import nn

from hitsr.base.files import replacing, sha256
from hitsr.base.progress import Progress
from hitsr.data.images import Picture, read_image, write_png
from hitsr.measure.attribution import Attribution, BlurPath, Window, local_attribution
from hitsr.measure.attribution_maps import busiest_window, crop_around
from hitsr.measure.attribution_pictures import overlay
from hitsr.records import AttributionSettings, RefinedAttribution, WindowAttribution
from hitsr.runtime.tensors import to_batch


class Place(NamedTuple):
    """One window of one LR picture; without a window, the busiest of `side` HR pixels.

    Around the busiest, `crop` LR pixels each way are kept; 0 keeps all.
    """

    name: str
    lr: Path
    window: Window | None = None
    side: int = 16
    crop: int = 0


def attribute(
    model: nn.Module,
    places: Sequence[Place],
    scale: int,
    out: Path,
    settings: AttributionSettings,
    *,
    refine: bool = False,
    memory_bytes: int | None = None,
    quiet: bool = False,
) -> tuple[WindowAttribution, ...]:
    """Map every place into `out`/<name>.<x>-<y>-<side>.npy and .png.

    With `refine`, each is mapped a second time along the refined path, of which the numbers are
    kept. Raises as `local_attribution` does, with the maps before it written.
    """
    found = []
    total = len(places) * len(BlurPath(np.zeros((1, 1, 1)), settings))
    with Progress(f"lam {out.name}", total, "gradient", quiet) as progress:
        for place in places:
            lr, window, corner = _cut(place, scale)
            batch = to_batch(lr)
            mapped = local_attribution(
                model,
                batch,
                window,
                settings=settings,
                memory_bytes=memory_bytes,
                progress=progress,
            )
            finer = (
                local_attribution(
                    model, batch, window, settings=settings, refine=True, memory_bytes=memory_bytes
                )
                if refine
                else None
            )
            found.append(_keep(place, lr, window, corner, scale, mapped, finer, out))
    return tuple(found)


def _cut(place: Place, scale: int) -> tuple[Picture, Window, tuple[int, int]]:
    """The LR picture to attribute, the window within it, and the (x, y) it was cut from."""
    lr = read_image(place.lr)
    window = place.window or busiest_window(lr, scale, place.side)
    if not place.crop:
        return lr, window, (0, 0)
    cut, within = crop_around(lr, window, scale, place.crop)
    return cut, within, ((window[0] - within[0]) // scale, (window[1] - within[1]) // scale)


def _keep(
    place: Place,
    lr: Picture,
    window: Window,
    corner: tuple[int, int],
    scale: int,
    mapped: Attribution,
    finer: Attribution | None,
    out: Path,
) -> WindowAttribution:
    name = f"{place.name}.{'-'.join(map(str, window))}"
    with replacing(out / f"{name}.npy") as temporary:
        np.save(temporary, mapped.channels.astype(np.float32))
    write_png(out / f"{name}.png", overlay(lr, mapped.map, window, scale))
    return WindowAttribution(
        picture=place.name,
        lr_sha256=sha256(place.lr),
        lr_size=(lr.shape[1], lr.shape[0]),
        window=window,
        corner=corner,
        diffusion_index=mapped.diffusion_index,
        information_area=mapped.information_area,
        completeness_error=mapped.completeness_error,
        refined=None if finer is None else _refined(finer),
        channels=f"{name}.npy",
        overlay=f"{name}.png",
    )


def _refined(finer: Attribution) -> RefinedAttribution:
    return RefinedAttribution(
        steps=finer.settings.steps,
        diffusion_index=finer.diffusion_index,
        completeness_error=finer.completeness_error,
    )
