import math
from typing import get_args

import pytest
import torch
from torch import Tensor

from hitsr.models.ngram import NgramContext
from hitsr.specs.network import Formulation


def _context(window: int, shared: bool, formulation: Formulation = "fused") -> NgramContext:
    torch.manual_seed(window)
    context = NgramContext(8, 2, window, 2, shared, formulation).double()
    for parameter in context.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return context


def _by_hand(context: NgramContext, x: Tensor, window: int, shared: bool) -> Tensor:
    """Window by window, from the definition in NGswin: (h, w, 8) -> (rows, columns, 8)."""
    rows, columns, half, heads = x.shape[0] // window, x.shape[1] // window, 4, 2
    unigrams = torch.zeros(rows, columns, half, dtype=x.dtype)
    for i in range(rows):
        for j in range(columns):
            tile = x[i * window : (i + 1) * window, j * window : (j + 1) * window]
            for pair in range(half):
                part = 0 if shared else pair
                weight = context.embed.weight[part].permute(1, 2, 0)
                value = (tile[..., 2 * pair : 2 * pair + 2] * weight).sum()
                unigrams[i, j, pair] = value + context.embed.bias[part]

    def at(index: int, length: int) -> int:
        return abs(index) if index < length else 2 * (length - 1) - index

    def attend(tokens: Tensor) -> Tensor:
        """Attention among four windows in reading order: (4, 4) -> (4, 4)."""
        q, k, v = (tokens @ context.qkv.weight.t() + context.qkv.bias).split(half, -1)
        mixed = []
        for head in range(heads):
            own = slice(2 * head, 2 * head + 2)
            scores = q[:, own] @ k[:, own].t() / math.sqrt(2)
            for a in range(4):
                for b in range(4):
                    down, right = a // 2 - b // 2, a % 2 - b % 2
                    scores[a, b] += context.bias_table[(down + 1) * 3 + right + 1, head]
            mixed.append(scores.softmax(-1) @ v[:, own])
        return torch.cat(mixed, -1) @ context.proj.weight.t() + context.proj.bias

    out = torch.zeros(rows, columns, 8, dtype=x.dtype)
    for i in range(rows):
        for j in range(columns):
            averages = []
            for first in (0, -1):  # forward, backward
                around = [
                    unigrams[at(i + dy, rows), at(j + dx, columns)]
                    for dy in (first, first + 1)
                    for dx in (first, first + 1)
                ]
                averages.append(attend(torch.stack(around)).mean(0))
            merge = context.merge.weight[:, :, 0, 0]
            out[i, j] = merge @ torch.cat(averages) + context.merge.bias
    return out


@pytest.mark.parametrize("formulation", get_args(Formulation))
@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize(("window", "rows", "columns"), [(2, 3, 4), (3, 2, 2), (1, 4, 3)])
def test_what_is_added_is_the_context_of_the_definition(
    window: int, rows: int, columns: int, shared: bool, formulation: Formulation
):
    context = _context(window, shared, formulation)
    x = torch.randn(2, rows * window, columns * window, 8, dtype=torch.float64)
    with torch.no_grad():
        found = context(x)
        for picture, expected in zip(found, x, strict=True):
            by_hand = _by_hand(context, expected, window, shared)
            spread = by_hand.repeat_interleave(window, 0).repeat_interleave(window, 1)
            torch.testing.assert_close(picture - expected, spread, rtol=0, atol=1e-12)


def test_one_window_is_its_own_neighbour():
    context = _context(2, True)
    x = torch.randn(1, 2, 2, 8, dtype=torch.float64)
    doubled = x.repeat(1, 2, 2, 1)
    torch.testing.assert_close(context(x), context(doubled)[:, :2, :2])


def test_one_filter_for_all_pairs_or_one_for_each():
    assert _context(4, True).embed.weight.shape == (1, 2, 4, 4)
    assert _context(4, False).embed.weight.shape == (4, 2, 4, 4)
