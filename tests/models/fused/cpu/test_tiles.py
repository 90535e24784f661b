import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from hitsr.models.fused.cpu import tiles
from hitsr.models.fused.cpu.tiles import Grid, attend_in_tiles

HEADS, WIDTH, SIDE = 2, 8, 4


def _by_hand(
    qkv: Tensor, bias: Tensor | None, masks: Tensor | None, grid: Grid, fold: int
) -> Tensor:
    """Window by window and head by head, as the textbook has it: (c, n t)."""
    tokens, narrow = SIDE**2, WIDTH // fold**2
    order = torch.arange(tokens).view(SIDE // fold, fold, SIDE // fold, fold)
    cells = order.permute(1, 3, 0, 2).reshape(fold**2, -1)  # tokens of each place in a cell
    out = []
    for picture, row, column in torch.cartesian_prod(*map(torch.arange, grid[:3])).tolist():
        number = (picture * grid.rows + row) * grid.columns + column
        window = qkv[:, number * tokens : (number + 1) * tokens]
        q, k, v = window.split((WIDTH, narrow, narrow))
        k, v = (torch.cat([x[:, place] for place in cells]) for x in (k, v))
        heads = []
        for head in range(HEADS):
            part = slice(head * WIDTH // HEADS, (head + 1) * WIDTH // HEADS)
            scores = k[part].t() @ q[part] / (WIDTH // HEADS) ** 0.5
            if bias is not None:
                scores = scores + bias[head]
            if masks is not None and column == grid.columns - 1:
                scores = scores + masks[0]
            if masks is not None and grid.at_bottom and row == grid.rows - 1:
                scores = scores + masks[1]
            heads.append(v[part] @ scores.softmax(0))
        out.append(torch.cat(heads))
    return torch.cat(out, 1)


@pytest.mark.parametrize("grid", [Grid(3, 2, 2), Grid(1, 3, 2, at_bottom=False), Grid(2, 1, 1)])
@pytest.mark.parametrize("fold", [1, 2])
@pytest.mark.parametrize(("biased", "masked"), [(True, True), (True, False), (False, True)])
@pytest.mark.parametrize("scores", [1, 600, 2**18])
def test_tiles_are_attention_and_its_gradients(
    grid: Grid, fold: int, biased: bool, masked: bool, scores: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(tiles, "at_once", lambda: 8 * scores)
    torch.manual_seed(0)
    tokens, keys = SIDE**2, SIDE**2 // fold**2
    windows = grid.pictures * grid.rows * grid.columns
    made = {"dtype": torch.float64, "requires_grad": True}
    qkv = torch.randn(WIDTH + 2 * WIDTH // fold**2, windows * tokens, **made)
    bias = torch.randn(HEADS, keys, tokens, **made) if biased else None
    masks = torch.randn(2, keys, tokens, dtype=torch.float64) if masked else None
    found = attend_in_tiles(qkv, bias, masks, grid, HEADS, fold)
    expected = _by_hand(qkv, bias, masks, grid, fold)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    inputs = [qkv] if bias is None else [qkv, bias]
    weights = torch.randn_like(expected)
    for a, b in zip(
        torch.autograd.grad(found, inputs, weights), torch.autograd.grad(expected, inputs, weights)
    ):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-12)


def test_gradients_are_those_of_finite_differences():
    torch.manual_seed(0)
    grid = Grid(1, 2, 1)
    qkv = torch.randn(3 * WIDTH, 2 * SIDE**2, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(HEADS, SIDE**2, SIDE**2, dtype=torch.float64, requires_grad=True)
    masks = torch.zeros(2, SIDE**2, SIDE**2, dtype=torch.float64)
    assert torch.autograd.gradcheck(
        lambda qkv, bias: attend_in_tiles(qkv, bias, masks, grid, HEADS, 1), (qkv, bias)
    )


def test_one_head_of_one_window_is_torchs_attention():
    torch.manual_seed(0)
    qkv = torch.randn(3 * 4, 16)
    q, k, v = (x.t() for x in qkv.split(4))
    expected = F.scaled_dot_product_attention(q, k, v).t()
    torch.testing.assert_close(attend_in_tiles(qkv, None, None, Grid(1, 1, 1), 1, 1), expected)
