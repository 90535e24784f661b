"""Integrate gradients along the paths of several windows at once, in batches that memory allows.

Gradients are computed for the pictures only, not for the parameters.

Shapes: n pictures on a path, b pictures, c channels, h height, w width.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from hitsr.base.errors import DataError
from hitsr.base.progress import Progress
from hitsr.measure.attribution_path import Array, BlurPath
from hitsr.runtime.free_memory import free_bytes, is_out_of_memory
from hitsr.runtime.memory import watching
from hitsr.runtime.precision import computing
from hitsr.runtime.tensors import evaluating, home_of

Window = tuple[int, int, int]  # x, y, side, in HR pixels

# Two steps of 64x64 pixels. Larger batches leave the cache: in one of 8, a step takes 10 % longer.
_CPU_BYTES = 640 * 2**20
# SR pictures, their gradients and copies of them: what a network that saves little needs.
_OUTPUTS = 4


class Integral:
    """The sum of gradient x change of the picture over the path of one window, while it grows."""

    def __init__(
        self,
        window: Window,
        path: BlurPath,
        change: float | None = None,
        progress: Progress | None = None,
    ) -> None:
        self.window, self.path = window, path
        self.change = change  # of the objective from the path's start to its end; None: not known
        self.channels = np.zeros_like(path.picture)  # (c, h, w)
        self.done = 0  # steps
        self.batch = 0  # the most steps, of all windows, that went with one of these
        self._progress = progress

    @property
    def size(self) -> tuple[int, ...]:
        """Height and width of the picture."""
        return self.path.picture.shape[1:]

    @property
    def left(self) -> int:
        """How many steps are still to be added."""
        return len(self.path) - self.done

    def add(self, gradients: Array, changes: Array, batch: int) -> None:
        """Add the next n steps, which went through the network in a batch: 2 x (n, c, h, w)."""
        self.channels += (gradients * changes).sum(0)
        self.done += len(gradients)
        self.batch = max(self.batch, batch)
        if self._progress is not None:
            for _ in gradients:
                self._progress.advance()


class Batches:
    """Sends the next steps of integrals through a network, as many at once as memory allows.

    The first batch for a size of pictures is one step, which shows how much memory a step needs.
    """

    def __init__(self, model: nn.Module, memory_bytes: int | None) -> None:
        self._model, self._memory_bytes = model, memory_bytes
        self._device, self._dtype = home_of(model)
        self._most: dict[tuple[int, ...], int] = {}

    def most(self, size: tuple[int, ...]) -> int:
        """How many steps of pictures of a size go through the network at once."""
        return self._most.get(size, 1)

    def advance(self, integrals: Sequence[Integral]) -> None:
        """Add the next batch of steps, in the order of the integrals, whose pictures have one size.

        If memory runs out, batches of this size are halved, with a message on stderr. Raises
        DataError if memory does not suffice for one step of the first integral.
        """
        while True:
            pieces = _pieces(integrals, self.most(integrals[0].size))
            try:
                with _input_gradients(self._model):
                    return self._add(pieces)
            except (MemoryError, RuntimeError) as error:
                if not is_out_of_memory(error):
                    raise
            # Outside `except`, where the traceback would keep the failed attempt's tensors alive.
            self._shrink(integrals[0], sum(piece.steps for piece in pieces))

    def _add(self, pieces: list["_Piece"]) -> None:
        integrals = [piece.integral for piece in pieces]
        self._add_changes([each for each in integrals if each.change is None])
        made = [each.path.steps(each.done, each.done + steps) for each, steps in pieces]
        pictures = self._load(np.concatenate([nodes for nodes, _ in made]))
        size = integrals[0].size
        if size in self._most:
            gradients, _ = _gradients(self._model, pictures, pieces)
        else:
            with _need(self._device) as need:
                gradients, output_bytes = _gradients(self._model, pictures, pieces)
                needed = max(need(), _OUTPUTS * output_bytes)
            given = self._memory_bytes
            budget = _budget(self._device) if given is None else given
            self._most[size] = max(1, budget // max(1, needed))
        parts = gradients.cpu().double().split([steps for _, steps in pieces])
        for each, part, (_, changes) in zip(integrals, parts, made, strict=True):
            each.add(part.numpy(), changes, batch=len(gradients))

    def _add_changes(self, integrals: list[Integral]) -> None:
        """Compute the objective at both ends of paths; no gradients, so this needs less memory."""
        if not integrals:
            return
        ends = np.concatenate([each.path.at(each.path.edges[[0, -1]]) for each in integrals])
        with torch.no_grad():
            sr = self._model(self._load(ends))
        for each, pair in zip(integrals, sr.split(2), strict=True):
            each.change = _change(pair, each.window)

    def _load(self, pictures: Array) -> Tensor:
        return torch.from_numpy(pictures).to(self._dtype).to(self._device)

    def _shrink(self, first: Integral, steps: int) -> None:
        """Halve the batches of a size, after memory ran out in one of `steps` steps."""
        height, width = first.size
        if steps == 1:
            raise DataError(
                f"window {first.window}: one gradient of {width}x{height} LR pixels needs more "
                "memory than there is; cut a smaller part out around it, or use the CPU"
            )
        self._most[first.size] = steps // 2
        if self._device.type == "cuda":
            torch.cuda.empty_cache()
        print(f"out of memory; continuing in batches of {steps // 2} steps", file=sys.stderr)


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


class _Piece(NamedTuple):
    """The next steps of an integral that take part in a batch."""

    integral: Integral
    steps: int


def _pieces(integrals: Sequence[Integral], most: int) -> list[_Piece]:
    """The next steps of integrals in their order, `most` of them at most."""
    pieces = []
    for each in integrals:
        steps = min(each.left, most)
        most -= steps
        if steps:
            pieces.append(_Piece(each, steps))
    return pieces


def _change(sr: Tensor, window: Window) -> float:
    """The objective at the end of a path less that at its start, given both SR: (2, c, h, w)."""
    height, width = sr.shape[-2:]
    x, y, side = window
    if x + side > width or y + side > height:
        raise ValueError(f"window {window}: reaches outside the SR picture, {width}x{height}")
    start, end = objective(sr.cpu().double(), window).tolist()
    return float(end - start)


def _gradients(model: nn.Module, pictures: Tensor, pieces: list[_Piece]) -> tuple[Tensor, int]:
    """The gradient of the objective of each picture's window, and the bytes of all SR pictures.

    (n, c, h, w) -> (n, c, h, w)
    """
    pictures.requires_grad_()
    sr = model(pictures)
    details = [
        objective(part, integral.window).sum()
        for part, (integral, _) in zip(
            sr.split([steps for _, steps in pieces]), pieces, strict=True
        )
    ]
    (gradients,) = torch.autograd.grad(torch.stack(details).sum(), pictures)
    return gradients, sr.nbytes


def _budget(device: torch.device) -> int:
    """Bytes that a batch may need, unless a limit is given."""
    return free_bytes(device) // 2 if device.type == "cuda" else _CPU_BYTES


@contextmanager
def _need(device: torch.device) -> Iterator[Callable[[], int]]:
    """A function that tells how many bytes the block needed.

    On CUDA that is what the allocator handed out at most. Elsewhere it is the storages saved for
    the backward pass: this is the same on every machine, and so are the batches made of it.
    Weights among them overestimate the need of a step a little.
    """
    if device.type == "cuda":
        with watching(device) as memory:
            yield lambda: memory.peak_bytes
        return
    saved: dict[int, int] = {}  # address -> bytes

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        saved[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        yield lambda: sum(saved.values())


@contextmanager
def _input_gradients(model: nn.Module) -> Iterator[None]:
    """Inside the block: eval mode, no TF32, and gradients for inputs but not for parameters."""
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    with (
        evaluating(model),
        torch.inference_mode(False),
        torch.enable_grad(),
        computing("float32", home_of(model)[0]),
    ):
        try:
            for parameter in trainable:
                parameter.requires_grad_(False)
            yield
        finally:
            for parameter in trainable:
                parameter.requires_grad_(True)
