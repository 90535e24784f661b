from collections.abc import Callable
from functools import partial

import pytest
import torch

from hitsr.models.fused import attention as fused_attention

WIDTH, HEADS = 16, 2  # of the fixture `attention`
CASES = [(4, 0, 1), (4, 2, 1), (4, 0, 2), (4, 2, 2), (8, 4, 2), (3, 1, 1), (2, 1, 1)]
GRIDS = [(1, 1), (1, 3), (3, 2)]  # rows and columns of windows


@pytest.fixture(params=["tiles", "scaled_dot_product_attention", "large windows"])
def _way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Small windows on a CPU in every way that the fused formulation has."""
    if request.param == "large windows":
        monkeypatch.setattr("hitsr.specs.network.MOST_LAID_OUT", 0)
        monkeypatch.setattr("hitsr.models.fused.large_windows._MOST_AT_ONCE", 2 * HEADS * 4**3)
    if request.param == "scaled_dot_product_attention":
        monkeypatch.setattr(fused_attention, "backend_of", lambda _: "torch")


@pytest.mark.parametrize(("dtype", "within"), [(torch.float32, 1e-5), (torch.float64, 1e-10)])
@pytest.mark.parametrize(("window", "shift", "fold"), CASES)
def test_fused_is_the_paper(
    window, shift, fold, dtype, within, attention: Callable, outputs_agree: Callable
):
    make = partial(attention, window=window, shift=shift, fold=fold, dtype=dtype)
    sizes = [(2, rows * window, columns * window, WIDTH) for rows, columns in GRIDS]
    outputs_agree(make, [torch.randn(size, dtype=dtype) for size in sizes], within)


@pytest.mark.usefixtures("_way")
@pytest.mark.parametrize("positions", [False, True])
@pytest.mark.parametrize(("window", "shift", "fold"), CASES)
def test_gradients_are_the_papers_in_every_way(
    window, shift, fold, positions: bool, attention: Callable, gradients_agree: Callable
):
    make = partial(attention, window=window, shift=shift, fold=fold, positions=positions)
    for rows, columns in GRIDS:
        x = torch.randn(2, rows * window, columns * window, WIDTH, dtype=torch.float64)
        gradients_agree(make, x)


@pytest.mark.usefixtures("_way")
def test_outputs_are_the_papers_in_every_way(attention: Callable, outputs_agree: Callable):
    x = torch.randn(2, 8, 12, WIDTH, dtype=torch.float64)
    outputs_agree(partial(attention, window=4, shift=2, fold=1, context=True), [x], 1e-10)


def test_gradients_are_those_of_finite_differences(attention: Callable):
    x = torch.randn(1, 4, 2, WIDTH, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(attention("fused", 2, 1, 1), (x,))


def test_a_batch_is_its_pictures_one_by_one(attention: Callable):
    fused = attention("fused", 4, 2, 1)
    x = torch.randn(3, 8, 4, WIDTH, dtype=torch.float64)
    torch.testing.assert_close(fused(x), torch.cat([fused(picture[None]) for picture in x]))


def test_what_is_cached_serves_every_size_and_does_not_grow(attention: Callable):
    paper, fused = (attention(form, 4, 2, 1).eval() for form in ("paper", "fused"))
    kept = []
    with torch.no_grad():
        for rows, columns in [(2, 3), (3, 2), (2, 3), (1, 6)]:  # six windows each
            x = torch.randn(1, 4 * rows, 4 * columns, WIDTH, dtype=torch.float64)
            torch.testing.assert_close(fused(x), paper(x))
            kept.append([value.numel() for _, value in fused.cache._kept.values()])
    assert kept == kept[:1] * 4
