"""Position biases by pooling and slicing of tables, where `models.position` gathers every entry.

Shapes: m heads, t tokens of a window (side²), s keys or base cells.
"""

from torch import Tensor, nn


def pooled_bias(table: Tensor, ratio: int) -> Tensor:
    """`averaged_bias` as an average pooling: (m, 2 side - 1, 2 side - 1) -> (m, t, s).

    The ratio x ratio tokens of a base cell have consecutive offsets to any token, so means over
    them are a pooling of the table with stride 1. The offsets of all tokens to one base cell are
    then a window of the pooled table.
    """
    heads, side = table.shape[0], (table.shape[1] + 1) // 2
    pooled = nn.functional.avg_pool2d(table, ratio, stride=1) if ratio > 1 else table
    # The offset falls as the cell's position rises: the first window belongs to the last cell.
    views = pooled.unfold(1, side, ratio).unfold(2, side, ratio).flip(1, 2)
    return views.permute(0, 3, 4, 1, 2).reshape(heads, side * side, -1)


def bias_of_rows(table: Tensor, side: int, fold: int, rows: range) -> Tensor:
    """`table_bias` for some rows of query tokens: ((2 side/fold - 1)², m) -> (m, rows * side, s).

    `rows` begin and end at multiples of `fold`. The biases of one query are a window of the
    reversed table, and those of the next query the window beside it. Copying windows is many times
    faster than gathering entries.
    """
    keys = side // fold
    first, last = rows.start // fold, rows.stop // fold
    offsets = table.t().unflatten(-1, (2 * keys - 1, 2 * keys - 1)).flip(1, 2)
    # Reversed, the largest offsets come first, and these are the last query's.
    offsets = offsets[:, keys - last : 2 * keys - first - 1]
    windows = offsets.unfold(1, keys, 1).unfold(2, keys, 1)  # (m, from y, from x, key y, key x)
    queries: Tensor = windows.flip(1, 2)
    if fold > 1:
        queries = queries.repeat_interleave(fold, 1).repeat_interleave(fold, 2)
    return queries.flatten(1, 2).flatten(2)
