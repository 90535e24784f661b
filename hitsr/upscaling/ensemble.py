"""Self-ensemble (EDSR): average a network's outputs for the eight symmetries of a picture."""

from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor

from hitsr.upscaling.in_order import AtOnce

Forward = Callable[[Tensor], Tensor]  # (b, 3, h, w) -> (b, 3, h*scale, w*scale)

_TURNS = (0, 1, 2, 3)  # quarter turns of the symmetries
_UPRIGHT_FIRST = (0, 2, 1, 3)  # so that those of one shape follow each other


def self_ensembled(forward: Forward, at_once: AtOnce = lambda _: 1) -> Forward:
    """A function that averages `forward` over rotated and mirrored inputs: (b, c, h, w).

    Each output is rotated and mirrored back before averaging. `at_once` limits how many pictures go
    through `forward` together; one after the other needs the least memory. Rotating or mirroring
    the input does the same to the result, up to rounding.
    """

    def mean(lr: Tensor) -> Tensor:
        together = at_once((lr.shape[2], lr.shape[3])) > len(lr)
        turns = _UPRIGHT_FIRST if together else _TURNS
        symmetries = [(turn, mirrored) for turn in turns for mirrored in (False, True)]
        inputs = (_transform(lr, *symmetry) for symmetry in symmetries)
        outputs = in_batches(forward, inputs, at_once)
        total: Tensor | None = None
        for symmetry, hr in zip(symmetries, outputs, strict=True):
            undone = _undo(hr, *symmetry)
            total = undone if total is None else total + undone
        assert total is not None
        return total / 8

    return mean


def in_batches(forward: Forward, inputs: Iterable[Tensor], at_once: AtOnce) -> Iterator[Tensor]:
    """`forward` of each input, in their order: (b, c, h, w).

    Inputs of one shape that follow each other go through together, as far as `at_once` allows.
    """
    waiting: list[Tensor] = []
    for each in inputs:
        if waiting and each.shape != waiting[0].shape:
            yield from _together(forward, waiting)
            waiting = []
        waiting.append(each)
        if (len(waiting) + 1) * len(each) > at_once((each.shape[2], each.shape[3])):
            yield from _together(forward, waiting)
            waiting = []
    if waiting:
        yield from _together(forward, waiting)


def _together(forward: Forward, inputs: list[Tensor]) -> Iterator[Tensor]:
    if len(inputs) == 1:
        yield forward(inputs[0])
    else:
        yield from forward(torch.cat(inputs)).split(len(inputs[0]))


def _transform(x: Tensor, turns: int, mirrored: bool) -> Tensor:
    """Rotate by quarter turns, then mirror left to right."""
    rotated = torch.rot90(x, turns, (2, 3))
    return rotated.flip(3) if mirrored else rotated


def _undo(x: Tensor, turns: int, mirrored: bool) -> Tensor:
    """The inverse of `_transform`."""
    return torch.rot90(x.flip(3) if mirrored else x, -turns, (2, 3))
