import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from hitsr.models.fused.cpu import strips
from hitsr.models.fused.cpu.strips import Strip, by_strips
from hitsr.models.windows import extend, merge, roll, split

_BYTES = 8  # of a pixel of two channels
SIZES = [(1, 5, 7), (2, 12, 4), (3, 4, 4), (1, 33, 3), (2, 16, 16)]


@pytest.fixture(params=[1, 40, 100, 10**6])
def _tokens(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Strips of a row, of some, and of all rows."""
    monkeypatch.setattr(strips, "at_once", lambda: request.param * _BYTES)


@pytest.mark.usefixtures("_tokens")
@pytest.mark.parametrize("size", SIZES)
def test_a_convolution_by_strips_is_that_of_the_picture(size: tuple[int, int, int]):
    torch.manual_seed(0)
    x, weight = torch.randn(*size, 2), torch.randn(3, 2, 5, 5)

    def convolved(x: Tensor) -> Tensor:
        return F.conv2d(x.permute(0, 3, 1, 2), weight, padding=2).permute(0, 2, 3, 1)

    with torch.inference_mode():
        found = by_strips(lambda x, strip: strip.without_halo(convolved(x)), x, halo=2)
    torch.testing.assert_close(found, convolved(x))


@pytest.mark.usefixtures("_tokens")
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("shift", [0, 2])
def test_what_is_residual_is_added_row_by_row(size: tuple[int, int, int], shift: int):
    torch.manual_seed(0)
    b, h, w = size
    x = torch.randn(b, 4 * h, w, 2)
    given = x.clone()
    with torch.inference_mode():
        found = by_strips(lambda x, _: 3 * x, x, multiple=4, shift=shift, residual=True)
    torch.testing.assert_close(found, 4 * x)
    assert torch.equal(x, given)


def _mean_of_windows(x: Tensor, side: int) -> Tensor:
    windows = split(x, side)
    return merge(windows.mean(1, keepdim=True).expand_as(windows), side, *x.shape[1:3])


@pytest.mark.usefixtures("_tokens")
@pytest.mark.parametrize("size", SIZES)
def test_rows_are_reflected_to_whole_windows(size: tuple[int, int, int]):
    torch.manual_seed(0)
    b, h, w = size
    x = torch.randn(b, h, 4 * w, 2)
    with torch.inference_mode():
        found = by_strips(
            lambda x, strip: strip.without_padding(_mean_of_windows(strip.without_halo(x), 4)),
            x,
            multiple=4,
            halo=1,
        )
    torch.testing.assert_close(found, _mean_of_windows(extend(x, 4), 4)[:, :h])


@pytest.mark.usefixtures("_tokens")
@pytest.mark.parametrize("size", SIZES)
def test_shifted_rows_come_back_to_their_places(size: tuple[int, int, int]):
    torch.manual_seed(0)
    b, h, w = size
    x = torch.randn(b, 4 * h, 4 * w, 2)
    ends = []

    def mean(x: Tensor, strip: Strip) -> Tensor:
        ends.append(strip.at_bottom)
        return _mean_of_windows(x, 4)

    with torch.inference_mode():
        found = by_strips(mean, x, multiple=4, shift=2)
    expected = roll(_mean_of_windows(roll(x, -2, (1,)), 4), 2, (1,))
    torch.testing.assert_close(found, expected)
    assert ends[-1]
    assert sum(ends) <= b


def test_gradients_go_through_one_piece(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(strips, "at_once", lambda: 1)
    calls = []

    def doubled(x: Tensor, _: Strip) -> Tensor:
        calls.append(x.shape[1])
        return 2 * x

    x = torch.randn(1, 8, 2, 1, requires_grad=True)
    by_strips(doubled, x, multiple=2).sum().backward()
    assert calls == [8]
    assert (x.grad == 2).all()
