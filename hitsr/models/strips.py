"""Features a few rows at a time, where that keeps them in a CPU's cache and out of its memory."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from hitsr.models.windows import extend, reflected, roll

_TOKENS = 4096  # of one strip, or more: 1 MB of 60 channels


class Strip(NamedTuple):
    """Which rows are at hand, beside those that a result is wanted for."""

    above: int = 0  # rows of the halo, before
    below: int = 0  # and after
    kept: int | None = None  # of the rows between, those that the picture has; None: all
    at_bottom: bool = True  # of the picture

    def inner(self, x_bhwc: Tensor) -> Tensor:
        """Without the halo."""
        return x_bhwc[:, self.above : x_bhwc.shape[1] - self.below]

    def own(self, x_bhwc: Tensor) -> Tensor:
        """The rows that a result is wanted for, of those without a halo."""
        return x_bhwc[:, : self.kept]


StripFunction = Callable[[Tensor, Strip], Tensor]


def in_cache(x: Tensor) -> bool:
    """Whether to mind the cache: on a CPU, in plain floats, and where nothing is compiled."""
    return (
        x.device.type == "cpu"
        and x.dtype in (torch.float32, torch.float64)
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
    )


def by_strips(
    function: StripFunction,
    x_bhwc: Tensor,
    *,
    multiple: int = 1,
    halo: int = 0,
    shift: int = 0,
    residual: bool = False,
) -> Tensor:
    """`function` of features, by strips of whole multiples of rows: (b, h, w, c) -> (b, h, w, c').

    With `residual`, the features themselves are added to it.

    Rows are reflected at the bottom to a whole multiple, or, of a picture that has whole multiples,
    moved up by `shift`, cyclically, and the results back down. The result of a row depends on no
    other picture, and on no row but those of its multiple and `halo` ones to either side, which
    `function` is given and leaves out.
    In one piece where gradients are wanted, which keep everything anyway.
    """
    b, h, w, _ = x_bhwc.shape
    whole = torch.is_grad_enabled() or not in_cache(x_bhwc)
    rows = 0 if whole else max(multiple, max(_TOKENS // w, 16 * halo) // multiple * multiple)
    if whole or b * h <= rows:
        done = _in_one(function, x_bhwc, multiple, shift)
        return x_bhwc + done if residual else done
    parts = x_bhwc.split(max(1, rows // h))
    results = [
        _of_pictures(function, part, rows, multiple, halo, shift, residual) for part in parts
    ]
    return results[0] if len(results) == 1 else torch.cat(results)


def _in_one(function: StripFunction, x_bhwc: Tensor, multiple: int, shift: int) -> Tensor:
    laid = roll(extend(x_bhwc, multiple, (1,)), -shift, (1,))
    return roll(function(laid, Strip(kept=x_bhwc.shape[1])), shift, (1,))


def _of_pictures(
    function: StripFunction,
    x_bhwc: Tensor,
    rows: int,
    multiple: int,
    halo: int,
    shift: int,
    residual: bool,
) -> Tensor:
    h = x_bhwc.shape[1]
    whole = -(-h // multiple) * multiple
    source = (torch.arange(h) + shift) % h
    source = torch.cat([source, reflected(h, whole - h, source.device)])
    out: Tensor | None = None
    for top in range(0, h, rows):
        bottom = min(top + rows, whole)
        first, last = max(top - halo, 0), min(bottom + halo, whole)
        kept = min(bottom, h) - top
        strip = Strip(top - first, last - bottom, kept, bottom == whole)
        done = function(_take(x_bhwc, source[first:last]), strip)
        if out is None:
            out = done.new_empty(*x_bhwc.shape[:3], done.shape[-1])
        _put(out, source[top : top + kept], done, x_bhwc if residual else None)
    assert out is not None
    return out


def _take(x_bhwc: Tensor, rows: Tensor) -> Tensor:
    """Those rows; as a view where one follows the other."""
    first, last = int(rows[0]), int(rows[-1])
    if last - first + 1 == len(rows):
        return x_bhwc[:, first : last + 1]
    return x_bhwc.index_select(1, rows)


def _put(out_bhwc: Tensor, rows: Tensor, done_bhwc: Tensor, beside_bhwc: Tensor | None) -> None:
    """Write those rows: what was done, and the same rows `beside` it, in one pass over memory."""
    first, last = int(rows[0]), int(rows[-1])
    if last - first + 1 != len(rows):
        if beside_bhwc is not None:
            done_bhwc = done_bhwc + beside_bhwc.index_select(1, rows)
        out_bhwc.index_copy_(1, rows, done_bhwc)
    elif beside_bhwc is None:
        out_bhwc[:, first : last + 1] = done_bhwc
    else:
        place = slice(first, last + 1)
        torch.add(beside_bhwc[:, place], done_bhwc, out=out_bhwc[:, place])
