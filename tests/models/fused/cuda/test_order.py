import pytest
import torch

from hitsr.models.fused.cuda.order import Layout, cell_by_cell, order_of
from hitsr.models.windows import regions, roll, split

CPU = torch.device("cpu")
LAYOUTS = [
    Layout(2, 12, 8, 4, 2, 1),
    Layout(1, 8, 8, 8, 4, 2),
    Layout(3, 8, 16, 4, 0, 2),
    Layout(1, 9, 12, 3, 1, 1),
    Layout(2, 4, 4, 4, 2, 1),
]


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
@pytest.mark.parametrize("channels", [1, 3, 4, 60])
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_pictures_come_back(layout: Layout, channels: int, dtype: torch.dtype):
    order = order_of(layout, CPU)
    x = torch.randn(*layout[:3], channels).to(dtype)
    assert torch.equal(order.by_picture(order.by_window(x)), x)


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
def test_windows_are_those_of_split_kind_by_kind(layout: Layout):
    b, h, w, side, shift, fold = layout
    order = order_of(layout, CPU)
    x = torch.randn(b, h, w, 4)
    found = order.by_window(x).view(-1, side**2, 4)
    expected = split(roll(x, -shift), side)[:, cell_by_cell(side, fold, CPU)]
    assert sorted(found.sum((1, 2)).tolist()) == pytest.approx(
        sorted(expected.sum((1, 2)).tolist()), abs=1e-4
    )
    assert sum(order.kinds) == len(expected)
    if not shift:
        assert torch.equal(found, expected)
        return
    # Regions are numbered in the picture rolled already.
    parts = roll(regions(h, w, side, shift, CPU), shift).expand(b, -1, -1, -1)
    inside, right, bottom, corner = (
        {len(set(window.tolist())) for window in kind}
        for kind in order.by_window(parts).view(-1, side**2).split(list(order.kinds))
    )
    assert inside <= {1}
    assert right | bottom <= {2}
    assert corner == {4}


@pytest.mark.parametrize("fold", [1, 2, 4])
def test_tokens_of_a_cell_follow_each_other(fold: int):
    tokens = cell_by_cell(8, fold, CPU)
    cells = tokens // 8 // fold * 8 + tokens % 8 // fold
    assert all(len(set(cell.tolist())) == 1 for cell in cells.split(fold**2))
    assert sorted(tokens.tolist()) == list(range(64))


def test_gradients_are_gathers_too():
    layout = Layout(2, 6, 4, 2, 1, 1)
    order = order_of(layout, CPU)
    x = torch.randn(*layout[:3], 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(order.by_window, (x,))
    weight = torch.randn(48, 3, dtype=torch.float64)
    (order.by_window(x) * weight).sum().backward()
    assert torch.equal(x.grad, order.by_picture(weight))


def test_rows_that_begin_anywhere_are_moved():
    layout = Layout(1, 4, 4, 2, 1, 1)
    order, memory = order_of(layout, CPU), torch.randn(100).half()
    x = memory[3:67].view(1, 4, 4, 4)  # at no multiple of 4 bytes
    assert torch.equal(order.by_picture(order.by_window(x)), x)
