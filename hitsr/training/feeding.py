"""Bring batches to the device: on a GPU, each is copied while the step before computes.

A copy that nothing waits for needs page-locked memory. Patches are cut into such memory as bytes,
which are a quarter of floats, and the GPU divides them by 255. A few buffers take turns; none is
cut into again before its copy is done.

Shapes: b patches of a batch, p side of a patch in pixels.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor

from hitsr.data.loader import PREFETCHED, prefetched
from hitsr.data.patches import Patches

Batch: TypeAlias = tuple[Tensor, Tensor]  # LR and HR, (b, 3, p, p) float32 in [0, 1]


@contextmanager
def fed(patches: Patches, steps: Iterable[int], device: torch.device) -> Iterator[Iterator[Batch]]:
    """Yield an iterator over the batches of `steps` on the device; `steps` rise by one.

    Batches are bit for bit `patches.at(step)` on every device. Their threads end with the block.
    """
    if device.type == "cuda":
        copies = _Copies(device)
        with prefetched(_cutter(patches, copies), steps) as cut:
            yield _ahead(copies, cut)
    else:
        with prefetched(patches.at, steps) as batches:
            yield (_moved(batch, device) for batch in batches)


class _Buffer(NamedTuple):
    """Page-locked memory for the samples of a batch, (b, p, p, 3) uint8 each."""

    lr: Tensor
    hr: Tensor
    copied: Any  # event after their last copy to the device


class _Copies:
    """Copies of samples on a stream of their own."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._stream = torch.cuda.Stream(device)
        # A tensor: torch multiplies by the reciprocal of a number, which rounds otherwise.
        self._largest = torch.tensor(255.0, device=device)

    def buffer(self, shapes: Iterable[tuple[int, ...]]) -> _Buffer:
        """New memory for samples of these shapes."""
        lr, hr = (torch.empty(shape, dtype=torch.uint8, pin_memory=True) for shape in shapes)
        return _Buffer(lr, hr, torch.cuda.Event())

    def start(self, buffer: _Buffer) -> tuple[Tensor, Tensor]:
        """Begin to copy; only `finished` may read the result."""
        with torch.cuda.stream(self._stream):
            lr, hr = (each.to(self.device, non_blocking=True) for each in (buffer.lr, buffer.hr))
            buffer.copied.record(self._stream)
        return lr, hr

    def finished(self, buffer: _Buffer, samples: tuple[Tensor, Tensor]) -> Batch:
        """The batch of copied samples; work that is queued from now on waits for their copy."""
        stream = torch.cuda.current_stream(self.device)
        stream.wait_event(buffer.copied)
        for each in samples:
            each.record_stream(stream)  # its memory is not used again before this stream's work
        lr, hr = (as_batch(each, self._largest) for each in samples)
        return lr, hr


def _cutter(patches: Patches, copies: _Copies) -> Callable[[int], _Buffer]:
    """A function that cuts the batch of a step into a buffer; buffers take turns.

    While the loader cuts PREFETCHED batches, one is copied, and one has been.
    """
    buffers = [copies.buffer(patches.shapes) for _ in range(PREFETCHED + 2)]

    def cut(step: int) -> _Buffer:
        buffer = buffers[step % len(buffers)]
        patches.cut(step, buffer.lr.numpy(), buffer.hr.numpy())
        return buffer

    return cut


def _ahead(copies: _Copies, cut: Iterator[_Buffer]) -> Iterator[Batch]:
    """Yield each batch once the copy of the next has been started."""
    before: tuple[_Buffer, tuple[Tensor, Tensor]] | None = None
    for buffer in cut:
        started = copies.start(buffer)
        if before is not None:
            yield copies.finished(*before)
            # The loader cuts into this buffer next.
            before[0].copied.synchronize()
        before = buffer, started
    if before is not None:
        yield copies.finished(*before)


def as_batch(samples: Tensor, largest: Tensor) -> Tensor:
    """(b, p, p, 3) uint8 -> (b, 3, p, p) float32, contiguous, divided by `largest`: 255."""
    planes = samples.permute(0, 3, 1, 2)
    out = torch.empty(planes.shape, dtype=torch.float32, device=samples.device)
    return torch.div(planes, largest, out=out)


def _moved(batch: tuple[Any, Any], device: torch.device) -> Batch:
    lr, hr = (torch.from_numpy(each).to(device) for each in batch)
    return lr, hr
