"""Position biases: a learned table of offsets, or a small MLP that makes one (HiT-SR, 3.3).

Shapes: m heads, t tokens of a window (side²), s keys or base cells of a window.
"""

import torch
from torch import Tensor, nn

from hitsr.models.windows import cells


class DynamicPosition(nn.Module):
    """An MLP from raw integer offsets to one bias per head."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.embed = nn.Linear(2, width)
        self.layers = nn.Sequential(
            *(
                nn.Sequential(nn.LayerNorm(width), nn.ReLU(), nn.Linear(width, out))
                for out in (width, width, heads)
            )
        )

    def forward(self, side: int) -> Tensor:
        """Biases of every offset within a window: (m, 2 side - 1, 2 side - 1)."""
        return self.by_offset(side).t().view(-1, 2 * side - 1, 2 * side - 1)

    def by_offset(self, side: int) -> Tensor:
        """Biases of every offset within a window, row by row: ((2 side - 1)², m)."""
        offsets = cells(2 * side - 1, self.embed.weight.device) - (side - 1)
        table: Tensor = self.layers(self.embed(offsets.to(self.embed.weight.dtype)))
        return table


class TablePosition(nn.Module):
    """A learned bias for every offset within windows of one side, per head."""

    def __init__(self, side: int, heads: int) -> None:
        super().__init__()
        self.bias_table = nn.Parameter(torch.empty((2 * side - 1) ** 2, heads))
        nn.init.trunc_normal_(self.bias_table, std=0.02)

    def forward(self, side: int) -> Tensor:
        """Biases of every offset within a window: (m, 2 side - 1, 2 side - 1); `side` as made."""
        return self.by_offset(side).t().view(-1, 2 * side - 1, 2 * side - 1)

    def by_offset(self, side: int) -> Tensor:  # noqa: ARG002
        """Biases of every offset within a window, row by row: ((2 side - 1)², m)."""
        return self.bias_table


def averaged_bias(table: Tensor, ratio: int) -> Tensor:
    """Bias of each token towards each base cell: (m, 2 side - 1, 2 side - 1) -> (m, t, s).

    A base cell stands for ratio x ratio tokens: its bias is the mean of the biases towards them.
    """
    heads, side = table.shape[0], (table.shape[1] + 1) // 2
    row, column = cells(side, table.device).unbind(1)
    down = row[:, None] - row[None, :] + side - 1
    right = column[:, None] - column[None, :] + side - 1
    pairs = table[:, down, right]  # (m, t, t)
    base = side // ratio
    return pairs.view(heads, side * side, base, ratio, base, ratio).mean((3, 5)).flatten(2)


def table_bias(table: Tensor, side: int, fold: int) -> Tensor:
    """Bias of each token towards each key, from a learned table: ((2 keys - 1)², m) -> (m, t, s).

    A key stands for fold x fold tokens, so a window has keys = side / fold of them a side (s =
    keys²), and offsets are between keys.
    """
    return table[table_index(side, fold, table.device)].permute(2, 0, 1)


def table_index(side: int, fold: int, device: torch.device) -> Tensor:
    """The entry of `table_bias`'s table for each token and key: (t, s) integers."""
    keys = side // fold
    queries = torch.div(cells(side, device), fold, rounding_mode="floor")
    offset = queries[:, None, :] - cells(keys, device)[None, :, :] + keys - 1
    return offset[..., 0] * (2 * keys - 1) + offset[..., 1]
