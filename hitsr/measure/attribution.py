"""Local attribution maps: what in the LR picture a window of the SR picture owes its detail to.

LAM (Gu and Dong, CVPR 2021) integrates the gradient of the window's detail along a path from the
blurred to the sharp picture. Steps of the path do not depend on each other: they run in batches,
as large as the memory allows, with gradients for pictures and none for parameters.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hitsr.base.errors import DataError, WeightsError
from hitsr.base.progress import Progress
from hitsr.measure import attribution_maps as maps
from hitsr.records import AttributionSettings
from hitsr.runtime.tensors import evaluating

Window = tuple[int, int, int]  # x, y, side; in HR pixels
Array = NDArray[np.float64]

PUBLISHED = AttributionSettings()
REFINED_ERROR = 0.01
# Kernels that spill less than this are the identity: the steps among them share one gradient. It is
# 1/20 of an 8-bit level and saves 9 of the field's 50 steps; measured maps change by 1e-7. One more
# step would be 9e-6 for the networks whose features have kinks.
_SHARP = 2e-4
_DOUBLINGS = 7
# Two steps of 64x64 pixels. Larger batches leave the cache: 8 take 10 % longer per step than 2.
_CPU_BYTES = 640 * 2**20


@dataclass(frozen=True)
class Attribution:
    """What each LR sample adds to a window's detail, and how far the sum is from the whole."""

    channels: Array  # (3, h, w), signed
    change: float  # of the objective, from the blurred to the sharp picture
    settings: AttributionSettings  # that gave it; `steps` and `quadrature` differ once refined

    @property
    def map(self) -> Array:
        """Importance of each LR pixel: (h, w) in [0, 1], the largest is 1."""
        importance: Array = np.abs(self.channels.sum(0))
        importance /= importance.max()
        return importance

    @property
    def completeness_error(self) -> float:
        """|sum of attributions - change of the objective| / |change|; 0 for an exact integral."""
        return float(abs(self.channels.sum() - self.change) / abs(self.change))

    @property
    def diffusion_index(self) -> float:
        """(1 - Gini) x 100: 100 if all pixels matter alike, 100 / (h w) if one alone does."""
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
    """Local attribution map of one window, with the field's settings unless told otherwise.

    `lr` is (1, 3, h, w) in [0, 1], on any device; `window` is (x, y, side) in HR pixels. The model
    runs in eval mode and full float32 (float64 if its parameters are), and is left as it was.
    `refine` takes midpoints instead, and doubles the steps until the completeness error is below
    1 %. `memory_bytes` bounds what the steps of one batch keep for their gradients: by default
    640 MiB, on CUDA half of what is free. `progress` advances once per gradient of the first round,
    `len(BlurPath(...))` of them.

    Follows LAM_Demo (X-Lowlevel-Vision), but where two neighbours are equal the magnitude's slope
    is 0, where LAM_Demo makes it NaN and then drops the whole gradient of that pixel.

    Raises ValueError for another shape, range, dtype or a window outside the SR picture, DataError
    where the blur changes nothing or the refined path does not converge, WeightsError where the
    network is not finite.
    """
    _check(model, lr, window)
    settings = settings.model_copy(update={"quadrature": "midpoint"}) if refine else settings
    for _ in range(_DOUBLINGS):
        found = _integrate(model, lr, window, settings, memory_bytes, progress)
        if not refine or found.completeness_error < REFINED_ERROR:
            return found
        settings = settings.model_copy(update={"steps": 2 * settings.steps})
        progress = None
    raise DataError(
        f"window {window}: completeness error is still {found.completeness_error:.1%} at "
        f"{found.settings.steps} steps; choose a window with more detail"
    )


def objective(sr: Tensor, window: Window) -> Tensor:
    """Detail within a window: the sum of gradient magnitudes, (b, c, h, w) -> (b,).

    Forward differences, as LAM_Demo takes them: from each pixel to the next one down and right,
    where there is one.
    """
    x, y, side = window
    part = sr[..., y : y + side + 1, x : x + side + 1]
    here = part[..., :-1, :-1]
    steps = torch.stack((part[..., 1:, :-1] - here, part[..., :-1, 1:] - here))
    detail: Tensor = torch.linalg.vector_norm(steps, dim=0).sum((1, 2, 3))
    return detail


class BlurPath:
    """Pictures from the blurred to the sharp, and the steps between them.

    sigma falls linearly. The right rule takes the gradient at a step's sharper end (LAM_Demo), the
    midpoint rule in its middle.
    """

    def __init__(self, picture: Array, settings: AttributionSettings) -> None:
        self.picture, self.kernel = picture, settings.kernel  # (c, h, w)
        sigmas = np.linspace(settings.sigma, 0, settings.steps + 1)
        spilled = 1 - _weights(sigmas, self.kernel).max(1) ** 2
        self.edges = np.append(sigmas[spilled > _SHARP], 0.0)
        middles = (self.edges[1:] + self.edges[:-1]) / 2
        self.nodes = self.edges[1:] if settings.quadrature == "right" else middles

    def __len__(self) -> int:
        return len(self.nodes)

    def steps(self, start: int, stop: int) -> tuple[Array, Array]:
        """Where steps take their gradients, and how the picture changes: 2 x (n, c, h, w)."""
        stop = min(stop, len(self))
        changes = np.diff(self.at(self.edges[start : stop + 1]), axis=0)
        return self.at(self.nodes[start:stop]), changes

    def at(self, sigmas: Array) -> Array:
        """The picture blurred by each sigma, mirrored at its borders: (n, c, h, w)."""
        weights = _weights(sigmas, self.kernel)
        down, right = (_blur(weights, side) for side in self.picture.shape[-2:])
        blurred: Array = down[:, None] @ self.picture @ right[:, None].swapaxes(-1, -2)
        return blurred


def _weights(sigmas: Array, kernel: int) -> Array:
    """Normalised Gaussian weights of one axis: (n, kernel)."""
    reach = kernel // 2
    # LAM_Demo's 1e-5 makes sigma 0 the identity.
    offsets = np.arange(-reach, reach + 1)
    weights: Array = np.exp(-(offsets**2) / (2 * (sigmas[:, None] + 1e-5) ** 2))
    weights /= weights.sum(1, keepdims=True)
    return weights


def _blur(weights: Array, side: int) -> Array:
    """Blurring along an axis as a matrix, whatever its length: (n, kernel) -> (n, side, side)."""
    kernel = weights.shape[1]
    mirrored = np.pad(np.arange(side), kernel // 2, mode="reflect")
    sources = np.lib.stride_tricks.sliding_window_view(mirrored, kernel)  # (side, kernel)
    matrices: Array = np.einsum("nk,iks->nis", weights, np.eye(side)[sources])
    return matrices


def _integrate(
    model: nn.Module,
    lr: Tensor,
    window: Window,
    settings: AttributionSettings,
    memory_bytes: int | None,
    progress: Progress | None,
) -> Attribution:
    parameter = next(model.parameters(), lr)
    path = BlurPath(lr[0].detach().cpu().double().numpy(), settings)

    def load(pictures: Array) -> Tensor:
        return torch.from_numpy(pictures).to(parameter.dtype).to(parameter.device)

    with _attributing(model):
        change = _change(model, load(path.at(path.edges[[0, -1]])), window)
        channels = np.zeros_like(path.picture)
        batch = done = 0
        while done < len(path):
            # The first step alone tells what a step keeps.
            nodes, changes = path.steps(done, done + max(batch, 1))
            with _keeping() as kept:
                gradients = _gradients(model, load(nodes), window)
            channels += (gradients.cpu().double().numpy() * changes).sum(0)
            done += len(nodes)
            batch = batch or _batch(kept, memory_bytes, parameter.device)
            _advance(progress, len(nodes))
    if not np.isfinite(channels).all():
        raise WeightsError("the network's gradients are not finite: its weights diverged")
    if change == 0 or not channels.sum(0).any():
        raise DataError(
            f"window {window}: blurring the picture changes nothing in it; choose one with detail"
        )
    return Attribution(channels, change, settings)


def _change(model: nn.Module, ends: Tensor, window: Window) -> float:
    """Objective at the end of the path less that at its start."""
    with torch.no_grad():
        sr = model(ends)
        height, width = sr.shape[-2:]
        x, y, side = window
        if x + side > width or y + side > height:
            raise ValueError(f"window {window}: reaches outside the SR picture, {width}x{height}")
        start, end = objective(sr.cpu().double(), window).tolist()
    return float(end - start)


def _gradients(model: nn.Module, pictures: Tensor, window: Window) -> Tensor:
    """Gradient of each picture's objective: (n, c, h, w), same shape."""
    pictures.requires_grad_()
    total = objective(model(pictures), window).sum()
    (gradients,) = torch.autograd.grad(total, pictures)
    return gradients


def _batch(kept: dict[int, int], memory_bytes: int | None, device: torch.device) -> int:
    """How many steps fit, each keeping as much as the first one did."""
    if memory_bytes is None:
        on_cuda = device.type == "cuda"
        memory_bytes = torch.cuda.mem_get_info(device)[0] // 2 if on_cuda else _CPU_BYTES
    return max(1, memory_bytes // max(1, sum(kept.values())))


@contextmanager
def _keeping() -> Iterator[dict[int, int]]:
    """Bytes of each storage that operators inside the block keep for their gradients, by address.

    Weights are among them: a little too much, never too little.
    """
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        yield kept


@contextmanager
def _attributing(model: nn.Module) -> Iterator[None]:
    """Gradients for pictures and none for parameters, in eval mode and without TF32."""
    asking = [parameter for parameter in model.parameters() if parameter.requires_grad]
    precisions: tuple[Any, ...] = (
        torch.backends.cudnn.conv,  # type: ignore[attr-defined]
        torch.backends.cuda.matmul,
    )
    before = [each.fp32_precision for each in precisions]
    with evaluating(model), torch.inference_mode(False), torch.enable_grad():
        try:
            for parameter in asking:
                parameter.requires_grad_(False)
            for each in precisions:
                each.fp32_precision = "ieee"
            yield
        finally:
            for parameter in asking:
                parameter.requires_grad_(True)
            for each, precision in zip(precisions, before, strict=True):
                each.fp32_precision = precision


def _advance(progress: Progress | None, steps: int) -> None:
    if progress is not None:
        for _ in range(steps):
            progress.advance()


def _check(model: nn.Module, lr: Tensor, window: Window) -> None:
    x, y, side = window
    if lr.ndim != 4 or lr.shape[0] != 1 or not lr.is_floating_point():
        raise ValueError(f"want one picture (1, 3, h, w) of floats, got {tuple(lr.shape)}")
    if not (lr.min() >= 0 and lr.max() <= 1):
        raise ValueError(f"samples must be in [0, 1], got {lr.min():.3g} to {lr.max():.3g}")
    if x < 0 or y < 0 or side < 1:
        raise ValueError(f"window {window}: want (x, y, side), x and y from 0, side from 1")
    dtype = next(model.parameters(), lr).dtype
    if dtype not in (torch.float32, torch.float64):
        raise ValueError(f"parameters are {dtype}, too coarse to integrate; use model.float()")
