"""Local attribution maps (LAM): which LR pixels the detail in an SR window depends on.

LAM (Gu and Dong, CVPR 2021) integrates the gradient of the window's detail along a path of pictures
from blurred to sharp. The steps of a path are independent of each other, and so are the windows:
both run in batches as large as memory allows.

Shapes: c channels, h height, w width.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from hitsr.base.errors import DataError, HitsrError, WeightsError
from hitsr.base.progress import Progress
from hitsr.data.images import described
from hitsr.measure import attribution_maps as maps
from hitsr.measure.attribution_batches import Batches, Integral, Window
from hitsr.measure.attribution_path import Array, BlurPath
from hitsr.records import AttributionSettings
from hitsr.runtime.tensors import home_of

PUBLISHED = AttributionSettings()
REFINED_ERROR = 0.01  # largest completeness error of a refined path
_MAX_REFINEMENTS = 7


@dataclass(frozen=True)
class Attribution:
    """The contribution of each LR sample to the detail in a window of the SR picture."""

    channels: Array  # (3, h, w), signed contributions
    change: float  # of the objective between the blurred and the sharp picture
    settings: AttributionSettings  # as used: refining changes `steps` and `quadrature`
    batch: int  # the most steps, of all windows, that went through the network with one of these

    @property
    def map(self) -> Array:
        """Importance of each LR pixel, |sum over channels|: (h, w), scaled to a maximum of 1."""
        importance: Array = np.abs(self.channels.sum(0))
        importance /= importance.max()
        return importance

    @property
    def completeness_error(self) -> float:
        """|sum of contributions - change of the objective| / |change|; 0 for an exact integral."""
        return float(abs(self.channels.sum() - self.change) / abs(self.change))

    @property
    def diffusion_index(self) -> float:
        """(1 - Gini) x 100: 100 if all pixels matter equally, 100 / (h w) if only one matters."""
        return maps.diffusion_index(self.map)

    @property
    def information_area(self) -> float:
        """Share of the picture that holds 90 % of the map's kernel density, in (0, 1]."""
        return maps.information_area(self.map)


def local_attribution(
    model: nn.Module,
    lr: Tensor,
    window: Window,
    *,
    settings: AttributionSettings = PUBLISHED,
    refine: bool = False,
    memory_bytes: int | None = None,
    progress: Progress | None = None,
) -> Attribution:
    """The local attribution map of one window; the default settings are those of the paper.

    `lr` is (1, 3, h, w) in [0, 1], on any device; `window` is (x, y, side) in HR pixels. The model
    runs in eval mode and in full float32 (float64 if its parameters are); afterwards its mode is as
    before.

    With `refine`, gradients are taken at the midpoints of steps, and the number of steps doubles
    until the completeness error is below 1 %. `memory_bytes` limits what one batch of steps needs:
    by default 640 MiB of tensors saved for the backward pass, on CUDA half of the free memory.
    `progress` advances `len(BlurPath(...))` times, once per step before any doubling.

    Follows LAM_Demo (X-Lowlevel-Vision) with one difference. Where two neighbouring pixels are
    equal, the gradient of the magnitude is 0 here; LAM_Demo's is NaN and discards the whole
    gradient of that pixel.

    Raises ValueError for another shape, range or dtype, for a window outside the SR picture and for
    a model of several devices or types, DataError if blurring does not change the window, if the
    refined path does not converge or if memory does not suffice for one step, and WeightsError if
    the gradients are not finite.
    """
    (found,) = local_attributions(
        model,
        [(lr, window)],
        settings=settings,
        refine=refine,
        memory_bytes=memory_bytes,
        progress=progress,
    )
    if isinstance(found, DataError):
        raise found
    return found


def local_attributions(
    model: nn.Module,
    windows: Iterable[tuple[Tensor, Window]],
    *,
    settings: AttributionSettings = PUBLISHED,
    refine: bool = False,
    memory_bytes: int | None = None,
    progress: Progress | None = None,
) -> Iterator[Attribution | DataError]:
    """The maps of many windows, each a picture and a place in it, in their order.

    All arguments are those of `local_attribution`. Windows that follow each other in pictures of
    one size share batches, if a batch holds the steps of several. A map depends on the batches no
    more than floats round. A window without a map gives its DataError, and the others go on; other
    errors are raised when the windows before have been given.
    """
    if refine:
        settings = settings.model_copy(update={"quadrature": "midpoint"})
    batches, queue = Batches(model, memory_bytes), deque[_Work]()
    upcoming = (_Work(model, *each, settings, progress) for each in windows)
    following = next(upcoming, None)
    while queue or following is not None:
        while following is not None and _fits(following, queue, batches):
            queue.append(following)
            following = next(upcoming, None)
        _advance(batches, [work for work in queue if work.found is None], refine)
        while queue and (found := queue[0].found) is not None:
            if not isinstance(found, Attribution | DataError):
                raise found
            yield found
            queue.popleft()


class _Work:
    """A window whose path is being integrated, and refined if it is too coarse."""

    def __init__(
        self,
        model: nn.Module,
        lr: Tensor,
        window: Window,
        settings: AttributionSettings,
        progress: Progress | None,
    ) -> None:
        _check(model, lr, window)
        self.settings, self.refinements = settings, 0
        picture = lr[0].detach().cpu().double().numpy()
        self.integral = Integral(window, BlurPath(picture, settings), progress=progress)
        self.found: Attribution | HitsrError | None = None  # None: not finished

    def refine(self) -> None:
        """Begin anew with twice as many steps."""
        self.refinements += 1
        self.settings = self.settings.model_copy(update={"steps": 2 * self.settings.steps})
        path = BlurPath(self.integral.path.picture, self.settings)
        self.integral = Integral(self.integral.window, path, self.integral.change)


def _fits(following: _Work, queue: deque[_Work], batches: Batches) -> bool:
    """Whether a window's whole path fits into the next batch, behind what is left of the others.

    Paths are not divided between batches without need: a kill loses the windows of one batch.
    """
    integrals = [work.integral for work in queue if work.found is None]
    left = sum(each.left for each in integrals)
    alike = all(each.size == following.integral.size for each in integrals)
    return not left or (
        alike and left + following.integral.left <= batches.most(following.integral.size)
    )


def _advance(batches: Batches, works: list[_Work], refine: bool) -> None:
    """Send the next batch of unfinished windows through the network; conclude what it finished."""
    try:
        batches.advance([work.integral for work in works])
    except DataError as error:
        works[0].found = error
    for work in works:
        if work.found is None and not work.integral.left:
            _conclude(work, refine)


def _conclude(work: _Work, refine: bool) -> None:
    """Set what was found for a window whose path is integrated, or refine the path."""
    integral = work.integral
    assert integral.change is not None
    if not np.isfinite(integral.channels).all():
        work.found = WeightsError("the network's gradients are not finite: its weights diverged")
        return
    if integral.change == 0 or not integral.channels.sum(0).any():
        work.found = DataError(
            f"window {integral.window}: blurring the picture changes nothing in it; choose one "
            "with detail"
        )
        return
    found = Attribution(integral.channels, integral.change, work.settings, integral.batch)
    if not refine or found.completeness_error < REFINED_ERROR:
        work.found = found
    elif work.refinements + 1 < _MAX_REFINEMENTS:
        work.refine()
    else:
        work.found = DataError(
            f"window {integral.window}: completeness error is still "
            f"{found.completeness_error:.1%} at {work.settings.steps} steps; choose a window with "
            "more detail"
        )


def _check(model: nn.Module, lr: Tensor, window: Window) -> None:
    """Raise ValueError for arguments that `local_attribution` does not take."""
    if (
        not isinstance(lr, Tensor)
        or lr.shape[:2] != (1, 3)
        or lr.ndim != 4
        or not lr.numel()
        or not lr.is_floating_point()
    ):
        raise ValueError(
            "lr must be one picture as a tensor, (1, 3, h, w) RGB, floats in [0, 1], not empty; "
            f"got {described(lr)}"
        )
    if not (lr.min() >= 0 and lr.max() <= 1):
        raise ValueError(f"samples must be in [0, 1], got {lr.min():.3g} to {lr.max():.3g}")
    if len(window) != 3 or not all(isinstance(each, int | np.integer) for each in window):
        raise ValueError(f"window {window}: must be three whole numbers, x, y and side")
    x, y, side = window
    if x < 0 or y < 0 or side < 1:
        raise ValueError(f"window {window}: x and y must be 0 or more, and the side 1 or more")
    _, dtype = home_of(model)
    if dtype not in (torch.float32, torch.float64):
        raise ValueError(f"parameters are {dtype}, too coarse to integrate; use model.float()")
