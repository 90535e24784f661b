"""Self-ensemble (EDSR): average a network's outputs for the eight symmetries of a picture."""

from collections.abc import Callable

import torch
from torch import Tensor


def self_ensembled(forward: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """A function that averages `forward` over rotated and mirrored inputs: (b, c, h, w).

    Each output is rotated and mirrored back before averaging. The inputs go through `forward` one
    after the other, which limits memory. Rotating or mirroring the input does the same to the
    result, up to rounding.
    """

    def mean(lr: Tensor) -> Tensor:
        total: Tensor | None = None
        for turns in range(4):
            for mirrored in (False, True):
                hr = _undo(forward(_transform(lr, turns, mirrored)), turns, mirrored)
                total = hr if total is None else total + hr
        assert total is not None
        return total / 8

    return mean


def _transform(x: Tensor, turns: int, mirrored: bool) -> Tensor:
    """Rotate by quarter turns, then mirror left to right."""
    rotated = torch.rot90(x, turns, (2, 3))
    return rotated.flip(3) if mirrored else rotated


def _undo(x: Tensor, turns: int, mirrored: bool) -> Tensor:
    """The inverse of `_transform`."""
    return torch.rot90(x.flip(3) if mirrored else x, -turns, (2, 3))
