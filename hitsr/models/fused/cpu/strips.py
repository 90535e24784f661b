"""Apply a function to a few rows of a picture at a time, so that features stay in a CPU's cache.

A strip is a run of rows over the full width. The halo of a strip are rows above and below that its
result depends on. The padding are rows reflected beyond the picture's bottom to fill windows.

Shapes: b batch, h height, w width, c channels.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from hitsr.models.fused.backend import backend_of
from hitsr.models.windows import extend, reflected, roll
from hitsr.runtime.caches import at_once


class Strip(NamedTuple):
    """Which of the rows that a function is given are halo or padding."""

    above: int = 0  # rows of halo above
    below: int = 0  # rows of halo below
    real_rows: int | None = None  # rows that are neither halo nor padding; None: all
    at_bottom: bool = True  # whether the strip ends where the picture ends

    def without_halo(self, x_bhwc: Tensor) -> Tensor:
        """Real rows and padding."""
        return x_bhwc[:, self.above : x_bhwc.shape[1] - self.below]

    def without_padding(self, x_bhwc: Tensor) -> Tensor:
        """Real rows, of features whose halo is removed already."""
        return x_bhwc[:, : self.real_rows]


StripFunction = Callable[[Tensor, Strip], Tensor]


def by_strips(
    function: StripFunction,
    x_bhwc: Tensor,
    *,
    multiple: int = 1,
    halo: int = 0,
    shift: int = 0,
    residual: bool = False,
) -> Tensor:
    """Apply `function` strip by strip: (b, h, w, c) -> (b, h, w, c').

    A strip is a multiple of `multiple` rows high, such as whole windows. `function` gets it with up
    to `halo` more rows on either side and returns it without them. Rows of one multiple and its
    halo must determine the result for that multiple.
    `shift` rolls the rows up before and down after, cyclically; h must then be a multiple of
    `multiple`. Without a shift, the bottom is padded by reflection to whole multiples.
    `residual` adds x itself to the result.
    With gradients, or on another backend than "cpu", the whole picture is one strip: autograd keeps
    all features anyway.
    """
    b, h, w, c = x_bhwc.shape
    whole = torch.is_grad_enabled() or backend_of(x_bhwc) != "cpu"
    tokens = 0 if whole else at_once() // (c * x_bhwc.element_size())
    rows = max(multiple, max(tokens // w, 16 * halo) // multiple * multiple)
    if whole or b * h <= rows:
        result = _in_one_strip(function, x_bhwc, multiple, shift)
        return x_bhwc + result if residual else result
    pictures = x_bhwc.split(max(1, rows // h))
    results = [_in_strips(function, x, rows, multiple, halo, shift, residual) for x in pictures]
    return results[0] if len(results) == 1 else torch.cat(results)


def _in_one_strip(function: StripFunction, x_bhwc: Tensor, multiple: int, shift: int) -> Tensor:
    rolled = roll(extend(x_bhwc, multiple, (1,)), -shift, (1,))
    return roll(function(rolled, Strip(real_rows=x_bhwc.shape[1])), shift, (1,))


def _in_strips(
    function: StripFunction,
    x_bhwc: Tensor,
    rows: int,
    multiple: int,
    halo: int,
    shift: int,
    residual: bool,
) -> Tensor:
    """`by_strips` with strips of `rows` rows."""
    h = x_bhwc.shape[1]
    padded = -(-h // multiple) * multiple
    # Row i of the shifted, padded picture is row source[i] of x.
    source = (torch.arange(h) + shift) % h
    source = torch.cat([source, reflected(h, padded - h, source.device)])
    out: Tensor | None = None
    for top in range(0, h, rows):
        bottom = min(top + rows, padded)
        first, last = max(top - halo, 0), min(bottom + halo, padded)
        real_rows = min(bottom, h) - top
        strip = Strip(top - first, last - bottom, real_rows, bottom == padded)
        result = function(_read(x_bhwc, source[first:last]), strip)
        if out is None:
            out = result.new_empty(*x_bhwc.shape[:3], result.shape[-1])
        _write(out, source[top : top + real_rows], result, x_bhwc if residual else None)
    assert out is not None
    return out


def _read(x_bhwc: Tensor, rows: Tensor) -> Tensor:
    """Rows of x by their numbers; a view where they are consecutive."""
    first, last = int(rows[0]), int(rows[-1])
    if last - first + 1 == len(rows):
        return x_bhwc[:, first : last + 1]
    return x_bhwc.index_select(1, rows)


def _write(out_bhwc: Tensor, rows: Tensor, result_bhwc: Tensor, x_bhwc: Tensor | None) -> None:
    """Write a strip's result, plus x if given, to rows of `out`, in one pass over memory."""
    first, last = int(rows[0]), int(rows[-1])
    if last - first + 1 != len(rows):
        if x_bhwc is not None:
            result_bhwc = result_bhwc + x_bhwc.index_select(1, rows)
        out_bhwc.index_copy_(1, rows, result_bhwc)
    elif x_bhwc is None:
        out_bhwc[:, first : last + 1] = result_bhwc
    else:
        place = slice(first, last + 1)
        torch.add(x_bhwc[:, place], result_bhwc, out=out_bhwc[:, place])
