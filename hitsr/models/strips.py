"""Features a few rows at a time, where that keeps them in a CPU's cache and out of its memory."""

from collections.abc import Callable

import torch
from torch import Tensor

_TOKENS = 4096  # of one strip: 1 MB of 60 channels


def in_cache(x: Tensor) -> bool:
    """Whether to mind the cache: on a CPU, in plain float arithmetic, and not traced or compiled."""
    return (
        x.device.type == "cpu"
        and x.dtype in (torch.float32, torch.float64)
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
    )


def by_strips(
    function: Callable[[Tensor, bool], Tensor],
    x_bhwc: Tensor,
    *,
    multiple: int = 1,
    halo: int = 0,
) -> Tensor:
    """`function` of features, in strips of `multiple` rows or more: (b, h, w, c) -> (b, h, w, c').

    It is told whether its strip reaches the picture's bottom.
    A row of the result must depend on no row beyond its strip but `halo` ones to either side, and
    on no other picture. In one piece where gradients are wanted, which keep everything anyway.
    """
    b, h, w, _ = x_bhwc.shape
    least = max(_TOKENS // w, 16 * halo)
    rows = max(multiple, least // multiple * multiple)
    if torch.is_grad_enabled() or b * h <= rows or not in_cache(x_bhwc):
        return function(x_bhwc, True)
    pictures = max(1, rows // h)
    out: Tensor | None = None
    for first in range(0, b, pictures):
        some = x_bhwc[first : first + pictures]
        for top in range(0, h, rows):
            bottom, above = min(top + rows, h), min(halo, top)
            strip = function(some[:, top - above : bottom + halo], bottom == h)
            strip = strip[:, above : above + bottom - top]
            if out is None:
                out = strip.new_empty(b, h, w, strip.shape[-1])
            out[first : first + pictures, top:bottom] = strip
    assert out is not None
    return out
