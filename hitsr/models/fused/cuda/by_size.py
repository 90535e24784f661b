"""Keep indices that depend on the size of pictures alone, since every block needs them.

A CUDA graph that reads them keeps them alive; nothing is kept that a capture only seems to compute.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor

from hitsr.runtime.graphs import hold, is_capturing

_MOST_KEPT = 32  # those of tokens take 8 bytes a pixel
_T = TypeVar("_T")

_kept: dict[tuple[Callable[..., Any], tuple[Any, ...]], Any] = {}


def kept(make: Callable[..., _T], like: Tensor, *sizes: Any) -> _T:
    """`make(*sizes, like.device)`, a tensor or a tuple of tensors and others, for features `like`.

    It is kept, or computed anew; also anew for features without values, such as fake tensors.
    """
    sizes = (*sizes, like.device)
    if type(like) is not Tensor:
        return make(*sizes)
    key = (make, sizes)
    if key not in _kept:
        with torch.inference_mode(False), torch.no_grad():
            made = make(*sizes)
        if is_capturing():
            return made
        _kept[key] = made
        for oldest in list(_kept)[:-_MOST_KEPT]:
            del _kept[oldest]
    found: _T = _kept[key]
    hold(found, lambda: True)
    return found
