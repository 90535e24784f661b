import torch

from hitsr.models.position import (
    DynamicPosition,
    averaged_bias,
    table_bias,
)


def test_a_cells_bias_is_the_mean_over_its_tokens():
    side, ratio = 4, 2
    table = torch.randn(1, 7, 7, dtype=torch.float64)
    bias = averaged_bias(table, ratio)[0].view(side, side, 2, 2)
    for i, j, row, column in [(0, 0, 0, 0), (3, 1, 0, 1), (2, 3, 1, 0), (0, 3, 1, 1)]:
        tokens = [(2 * row + a, 2 * column + b) for a in (0, 1) for b in (0, 1)]
        mean = sum(table[0, i - y + 3, j - x + 3] for y, x in tokens) / 4
        torch.testing.assert_close(bias[i, j, row, column], mean)


def test_table_bias_by_hand():
    table = torch.arange(9.0)[:, None]  # offsets -1..1 down, then -1..1 right
    # Query 0 is at (0, 0): key (1, 1) is at offset (-1, -1), entry 0.
    assert table_bias(table, 2, 1)[0].tolist() == [
        [4, 3, 1, 0],
        [5, 4, 2, 1],
        [7, 6, 4, 3],
        [8, 7, 5, 4],
    ]


def test_folded_queries_share_their_cells_bias():
    table = torch.randn(9, 3)
    fine, coarse = table_bias(table, 4, 2), table_bias(table, 2, 1)
    assert fine.shape == (3, 16, 4)
    for y in range(4):
        for x in range(4):
            assert torch.equal(fine[:, 4 * y + x], coarse[:, 2 * (y // 2) + x // 2])


def test_dynamic_position_sees_raw_offsets():
    torch.manual_seed(0)
    position = DynamicPosition(3, 2)
    table = position(4)
    assert table.shape == (2, 7, 7)
    for down, right in [(-3, -3), (0, 0), (2, -1), (-1, 3)]:
        alone = position.layers(position.embed(torch.tensor([float(down), float(right)])))
        torch.testing.assert_close(table[:, down + 3, right + 3], alone)


def test_a_smaller_side_is_the_middle_of_a_larger_ones_table():
    position = DynamicPosition(3, 2)
    torch.testing.assert_close(position(2), position(5)[:, 3:6, 3:6])


def test_width_three_tells_positions_apart():
    torch.manual_seed(0)
    assert DynamicPosition(3, 1)(4).unique().numel() > 40
