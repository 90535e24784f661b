from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch

WIDTH = 12  # of the fixture `correlation`
CASES = [(2, 4), (4, 4), (4, 2), (6, 2), (8, 2), (8, 1)]
SPATIAL, CHANNEL = {"branches": ["spatial"]}, {"branches": ["channel"]}
VARIANTS: list[dict[str, Any]] = [
    SPATIAL,
    CHANNEL,
    {"softmax": True},
    {"softmax": True, "position": "none"},
    {**SPATIAL, "softmax": True},
    {"position": "table"},
    {"position": "none"},
    {**SPATIAL, "position": "none"},
    {"features": "linear"},
    {"features": "conv"},
    {"heads": 3},
]


@pytest.mark.parametrize(("dtype", "within"), [(torch.float32, 1e-5), (torch.float64, 1e-10)])
@pytest.mark.parametrize(("window", "base"), CASES)
def test_fused_is_the_paper(
    window, base, dtype, within, correlation: Callable, outputs_agree: Callable
):
    make = partial(correlation, window=window, base=base, dtype=dtype)
    sizes = [(2, rows * window, columns * window, WIDTH) for rows, columns in [(1, 1), (1, 3)]]
    outputs_agree(make, [torch.randn(size, dtype=dtype) for size in sizes], within)


@pytest.mark.parametrize(("dtype", "within"), [(torch.float32, 1e-5), (torch.float64, 1e-10)])
@pytest.mark.parametrize(("window", "base"), [(2, 4), (8, 2)])
@pytest.mark.parametrize("changes", VARIANTS, ids=str)
def test_fused_is_the_paper_in_every_variant(
    changes, window, base, dtype, within, correlation: Callable, outputs_agree: Callable
):
    make = partial(
        correlation,
        window=window,
        base=base,
        changes=changes,
        shift=window // 2,
        context=True,
        dtype=dtype,
    )
    outputs_agree(make, [torch.randn(2, 2 * window, 4 * window, WIDTH, dtype=dtype)], within)


@pytest.mark.parametrize(
    ("window", "base", "changes"),
    [*((*case, {}) for case in CASES), *((4, 2, changes) for changes in VARIANTS)],
    ids=str,
)
def test_gradients_are_the_papers(
    window, base, changes, correlation: Callable, gradients_agree: Callable
):
    make = partial(correlation, window=window, base=base, changes=changes, shift=window // 2)
    gradients_agree(make, torch.randn(1, 2 * window, 2 * window, WIDTH, dtype=torch.float64))


def test_gradients_are_those_of_finite_differences(correlation: Callable):
    x = torch.randn(1, 2, 2, WIDTH, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(correlation("fused", 2, 1), (x,))


def test_a_batch_is_its_pictures_one_by_one(correlation: Callable):
    fused = correlation("fused", 4, 2)
    x = torch.randn(3, 8, 4, WIDTH, dtype=torch.float64)
    torch.testing.assert_close(fused(x), torch.cat([fused(picture[None]) for picture in x]))
