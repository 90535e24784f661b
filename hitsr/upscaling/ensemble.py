"""Self-ensemble: the mean of what a network makes of the eight symmetries of a picture (EDSR)."""

from collections.abc import Callable

import torch
from torch import Tensor


def over_symmetries(forward: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """Turned and mirrored pictures go through `forward` and back, one at a time: (b, c, h, w).

    The result turns and mirrors with the picture, up to the order of additions.
    """

    def mean(lr: Tensor) -> Tensor:
        total: Tensor | None = None
        for turns in range(4):
            for mirrored in (False, True):
                hr = _back(forward(_there(lr, turns, mirrored)), turns, mirrored)
                total = hr if total is None else total + hr
        assert total is not None
        return total / 8

    return mean


def _there(x: Tensor, turns: int, mirrored: bool) -> Tensor:
    turned = torch.rot90(x, turns, (2, 3))
    return turned.flip(3) if mirrored else turned


def _back(x: Tensor, turns: int, mirrored: bool) -> Tensor:
    return torch.rot90(x.flip(3) if mirrored else x, -turns, (2, 3))
