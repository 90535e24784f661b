from collections.abc import Callable
from functools import partial

import pytest
import torch

WIDTH = 12  # of the fixture `transposed`


@pytest.mark.parametrize("context", [False, True])
@pytest.mark.parametrize(("dtype", "within"), [(torch.float32, 1e-5), (torch.float64, 1e-10)])
@pytest.mark.parametrize(("window", "shift"), [(1, 0), (2, 1), (4, 0), (8, 4)])
def test_fused_is_the_paper(
    window, shift, dtype, within, context: bool, transposed: Callable, outputs_agree: Callable
):
    make = partial(transposed, window=window, shift=shift, context=context, dtype=dtype)
    sizes = [(2, rows * window, columns * window, WIDTH) for rows, columns in [(1, 1), (3, 2)]]
    outputs_agree(make, [torch.randn(size, dtype=dtype) for size in sizes], within)


@pytest.mark.parametrize(("window", "shift"), [(2, 1), (4, 0)])
def test_gradients_are_the_papers(window, shift, transposed: Callable, gradients_agree: Callable):
    make = partial(transposed, window=window, shift=shift)
    gradients_agree(make, torch.randn(1, 2 * window, 2 * window, WIDTH, dtype=torch.float64))
