"""Local attribution maps (LAM): which LR pixels the detail in an SR window depends on.

LAM (Gu and Dong, CVPR 2021) integrates the gradient of the window's detail along a path of pictures
from blurred to sharp. The steps of the path are independent of each other. They run in batches as
large as memory allows, and gradients are computed for the pictures only, not for the parameters.

Shapes: n pictures or sigmas on the path, b pictures, c channels, h height, w width.
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
from hitsr.data.images import described
from hitsr.measure import attribution_maps as maps
from hitsr.records import AttributionSettings
from hitsr.runtime.tensors import evaluating, home_of

Window = tuple[int, int, int]  # x, y, side, in HR pixels
Array = NDArray[np.float64]

PUBLISHED = AttributionSettings()
REFINED_ERROR = 0.01  # largest completeness error of a refined path
# Blur kernels that spread less than this share of a pixel (1/20 of an 8-bit level) count as the
# identity, and the steps between them are merged into one. This saves 9 of the 50 steps that the
# field uses, and changes measured maps by 1e-7. Merging one step more would change them by 9e-6 for
# networks with piecewise linear activations.
_IDENTITY_SPREAD = 2e-4
_MAX_REFINEMENTS = 7
# Two steps of 64x64 pixels. Larger batches leave the cache: in one of 8, a step takes 10 % longer.
_CPU_BYTES = 640 * 2**20


@dataclass(frozen=True)
class Attribution:
    """The contribution of each LR sample to the detail in a window of the SR picture."""

    channels: Array  # (3, h, w), signed contributions
    change: float  # of the objective between the blurred and the sharp picture
    settings: AttributionSettings  # as used: refining changes `steps` and `quadrature`

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
    until the completeness error is below 1 %. `memory_bytes` limits the tensors that one batch of
    steps saves for the backward pass: by default 640 MiB, on CUDA half of the free memory.
    `progress` advances `len(BlurPath(...))` times, once per step before any doubling.

    Follows LAM_Demo (X-Lowlevel-Vision) with one difference. Where two neighbouring pixels are
    equal, the gradient of the magnitude is 0 here; LAM_Demo's is NaN and discards the whole
    gradient of that pixel.

    Raises ValueError for another shape, range or dtype, for a window outside the SR picture and for
    a model of several devices or types, DataError if blurring does not change the window or the
    refined path does not converge, and WeightsError if the gradients are not finite.
    """
    _check(model, lr, window)
    settings = settings.model_copy(update={"quadrature": "midpoint"}) if refine else settings
    for _ in range(_MAX_REFINEMENTS):
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
    """The detail in a window, i.e. the sum of gradient magnitudes: (b, c, h, w) -> (b,).

    As in LAM_Demo, the gradient is the forward differences to the next pixels down and right;
    pixels in the last row and column of the picture have none and are left out.
    """
    x, y, side = window
    part = sr[..., y : y + side + 1, x : x + side + 1]
    pixels = part[..., :-1, :-1]
    slopes = torch.stack((part[..., 1:, :-1] - pixels, part[..., :-1, 1:] - pixels))
    detail: Tensor = torch.linalg.vector_norm(slopes, dim=0).sum((1, 2, 3))
    return detail


class BlurPath:
    """The path of integration: pictures from blurred to sharp, with sigma falling linearly.

    `edges` are the sigmas between steps, `nodes` those at which gradients are taken: the sharper
    end of each step ("right", as in LAM_Demo) or its middle ("midpoint").
    """

    def __init__(self, picture: Array, settings: AttributionSettings) -> None:
        self.picture, self.kernel = picture, settings.kernel  # (c, h, w)
        sigmas = np.linspace(settings.sigma, 0, settings.steps + 1)
        spread = 1 - _weights(sigmas, self.kernel).max(1) ** 2  # weight outside the centre pixel
        self.edges = np.append(sigmas[spread > _IDENTITY_SPREAD], 0.0)
        middles = (self.edges[1:] + self.edges[:-1]) / 2
        self.nodes = self.edges[1:] if settings.quadrature == "right" else middles

    def __len__(self) -> int:
        """The number of steps."""
        return len(self.nodes)

    def steps(self, start: int, stop: int) -> tuple[Array, Array]:
        """For n steps, pictures at the nodes and changes over the steps: 2 x (n, c, h, w)."""
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
    """Normalised Gaussian weights along one axis, one row per sigma: (n, kernel)."""
    reach = kernel // 2
    # LAM_Demo adds 1e-5, with which sigma 0 gives the identity.
    offsets = np.arange(-reach, reach + 1)
    weights: Array = np.exp(-(offsets**2) / (2 * (sigmas[:, None] + 1e-5) ** 2))
    weights /= weights.sum(1, keepdims=True)
    return weights


def _blur(weights: Array, side: int) -> Array:
    """Blurring along an axis of `side` pixels as matrices: (n, kernel) -> (n, side, side)."""
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
    """Sum gradient x change of the picture over all steps of the path."""
    device, dtype = home_of(model)
    path = BlurPath(lr[0].detach().cpu().double().numpy(), settings)

    def load(pictures: Array) -> Tensor:
        return torch.from_numpy(pictures).to(dtype).to(device)

    with _input_gradients(model):
        change = _change(model, load(path.at(path.edges[[0, -1]])), window)
        channels = np.zeros_like(path.picture)
        batch = done = 0
        while done < len(path):
            # The first batch is a single step: it shows how much memory a step needs.
            nodes, changes = path.steps(done, done + max(batch, 1))
            with _saved_storages() as saved:
                gradients = _gradients(model, load(nodes), window)
            channels += (gradients.cpu().double().numpy() * changes).sum(0)
            done += len(nodes)
            batch = batch or _batch_size(saved, memory_bytes, device)
            _advance(progress, len(nodes))
    if not np.isfinite(channels).all():
        raise WeightsError("the network's gradients are not finite: its weights diverged")
    if change == 0 or not channels.sum(0).any():
        raise DataError(
            f"window {window}: blurring the picture changes nothing in it; choose one with detail"
        )
    return Attribution(channels, change, settings)


def _change(model: nn.Module, ends: Tensor, window: Window) -> float:
    """The objective at the end of the path minus that at its start."""
    with torch.no_grad():
        sr = model(ends)
        height, width = sr.shape[-2:]
        x, y, side = window
        if x + side > width or y + side > height:
            raise ValueError(f"window {window}: reaches outside the SR picture, {width}x{height}")
        start, end = objective(sr.cpu().double(), window).tolist()
    return float(end - start)


def _gradients(model: nn.Module, pictures: Tensor, window: Window) -> Tensor:
    """The gradient of each picture's objective: (n, c, h, w) -> (n, c, h, w)."""
    pictures.requires_grad_()
    total = objective(model(pictures), window).sum()
    (gradients,) = torch.autograd.grad(total, pictures)
    return gradients


def _batch_size(saved: dict[int, int], memory_bytes: int | None, device: torch.device) -> int:
    """How many steps fit in memory, given the storages that one step saved."""
    if memory_bytes is None:
        on_cuda = device.type == "cuda"
        memory_bytes = torch.cuda.mem_get_info(device)[0] // 2 if on_cuda else _CPU_BYTES
    return max(1, memory_bytes // max(1, sum(saved.values())))


@contextmanager
def _saved_storages() -> Iterator[dict[int, int]]:
    """Address -> bytes of the storages that the block saves for its backward pass.

    This includes weights, which overestimates the need of a step a little.
    """
    saved: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        saved[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        yield saved


@contextmanager
def _input_gradients(model: nn.Module) -> Iterator[None]:
    """Inside the block: eval mode, no TF32, and gradients for inputs but not for parameters."""
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    precisions: tuple[Any, ...] = (
        torch.backends.cudnn.conv,  # type: ignore[attr-defined]
        torch.backends.cuda.matmul,
    )
    before = [each.fp32_precision for each in precisions]
    with evaluating(model), torch.inference_mode(False), torch.enable_grad():
        try:
            for parameter in trainable:
                parameter.requires_grad_(False)
            for each in precisions:
                each.fp32_precision = "ieee"
            yield
        finally:
            for parameter in trainable:
                parameter.requires_grad_(True)
            for each, precision in zip(precisions, before, strict=True):
                each.fp32_precision = precision


def _advance(progress: Progress | None, steps: int) -> None:
    if progress is not None:
        for _ in range(steps):
            progress.advance()


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
