import pytest
import torch

from hitsr.models.fused.position import bias_of_rows, pooled_bias
from hitsr.models.position import TablePosition, averaged_bias, table_bias


@pytest.mark.parametrize(
    ("side", "ratio"), [(1, 1), (4, 1), (4, 2), (8, 4), (6, 3), (8, 8), (64, 8)]
)
def test_pooling_offsets_is_averaging_over_a_cells_tokens(side: int, ratio: int):
    table = torch.randn(2, 2 * side - 1, 2 * side - 1, dtype=torch.float64)
    pooled = pooled_bias(table, ratio)
    assert pooled.shape == (2, side**2, (side // ratio) ** 2)
    torch.testing.assert_close(pooled, averaged_bias(table, ratio), rtol=0, atol=1e-12)


def test_a_learned_table_means_what_that_of_attention_means():
    position = TablePosition(4, 3)
    assert torch.equal(pooled_bias(position(4), 1), table_bias(position.bias_table, 4, 1))


@pytest.mark.parametrize(("side", "fold"), [(1, 1), (4, 1), (5, 1), (4, 2), (12, 2)])
def test_rows_of_a_bias_are_rows_of_the_whole(side: int, fold: int):
    table = torch.randn((2 * (side // fold) - 1) ** 2, 3, dtype=torch.float64)
    whole = table_bias(table, side, fold)
    assert torch.equal(bias_of_rows(table, side, fold, range(side)), whole)
    for top in range(0, side, fold):
        rows = bias_of_rows(table, side, fold, range(top, top + fold))
        assert torch.equal(rows, whole[:, top * side : (top + fold) * side])
