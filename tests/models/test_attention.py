from collections.abc import Callable
from typing import get_args

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from hitsr.specs.network import Formulation

WIDTH, HEADS = 16, 2  # of the fixture `attention`


def test_without_positions_there_is_no_table(attention: Callable):
    assert not any(
        "table" in key for key in attention("paper", 4, 0, 1, positions=False).state_dict()
    )


@pytest.mark.parametrize("formulation", get_args(Formulation))
def test_context_is_added_before_anything_else(formulation: Formulation, attention: Callable):
    mixer = attention(formulation, 4, 2, 1, context=True)
    x = torch.randn(2, 8, 12, WIDTH, dtype=torch.float64)
    found, around = mixer(x), mixer.context(x)
    mixer.context = None
    torch.testing.assert_close(found, mixer(around))


@pytest.mark.parametrize("formulation", get_args(Formulation))
def test_one_window_is_torchs_multi_head_attention(formulation: Formulation, attention: Callable):
    window = 4
    mixer = attention(formulation, window, 0, 1)
    x = torch.randn(3, window, window, WIDTH, dtype=torch.float64)
    bias = torch.empty(HEADS, 16, 16, dtype=torch.float64)
    for query in range(16):
        for key in range(16):
            down, right = query // 4 - key // 4, query % 4 - key % 4
            bias[:, query, key] = mixer.bias_table[(down + 3) * 7 + right + 3].detach()
    tokens = x.flatten(1, 2).transpose(0, 1)  # (t, n, c)
    expected, _ = F.multi_head_attention_forward(
        *(tokens, tokens, tokens, WIDTH, HEADS, mixer.qkv.weight, mixer.qkv.bias),
        *(None, None, False, 0.0, mixer.proj.weight, mixer.proj.bias),
        attn_mask=bias.repeat(3, 1, 1),
        need_weights=False,
    )
    torch.testing.assert_close(mixer(x).flatten(1, 2).transpose(0, 1), expected)


@pytest.mark.parametrize("formulation", get_args(Formulation))
def test_permuted_keys_are_two_by_two_tokens_in_channels(
    formulation: Formulation, attention: Callable
):
    """Token by token from SRFormer's definition: a cell's four narrow keys are one wide key."""
    window, cells, width = 4, 2, WIDTH // HEADS
    mixer = attention(formulation, window, 0, 2)
    x = torch.randn(window, window, WIDTH, dtype=torch.float64)
    q, k, v = (x @ mixer.qkv.weight.t() + mixer.qkv.bias).split([16, 4, 4], -1)

    def folded(narrow: Tensor) -> Tensor:
        """(4, 4, 4) -> (2, 2, 16)"""
        rows = [narrow[dy::2, dx::2] for dy in (0, 1) for dx in (0, 1)]
        return torch.cat(rows, -1)

    keys, values = folded(k), folded(v)
    expected = torch.empty(window, window, WIDTH, dtype=torch.float64)
    for y in range(window):
        for z in range(window):
            for head in range(HEADS):
                own = slice(head * width, (head + 1) * width)
                scores = torch.empty(cells, cells, dtype=torch.float64)
                for row in range(cells):
                    for column in range(cells):
                        entry = (y // 2 - row + 1) * 3 + z // 2 - column + 1
                        scores[row, column] = (
                            q[y, z, own] @ keys[row, column, own] / width**0.5
                            + mixer.bias_table[entry, head]
                        )
                weights = scores.flatten().softmax(0).view(cells, cells, 1)
                expected[y, z, own] = (weights * values[..., own]).sum((0, 1))
    expected = expected @ mixer.proj.weight.t() + mixer.proj.bias
    torch.testing.assert_close(mixer(x[None])[0], expected)


def _bands(length: int, window: int, shift: int) -> Tensor:
    """Which run of pixels each pixel mixes with, along one side."""
    return (torch.arange(length) - shift).div(window, rounding_mode="floor")


@pytest.mark.parametrize("formulation", get_args(Formulation))
@pytest.mark.parametrize(("window", "shift", "fold"), [(4, 0, 1), (4, 2, 1), (4, 2, 2), (8, 4, 2)])
def test_a_token_reaches_its_own_shifted_window_alone(
    window, shift, fold, formulation: Formulation, attention: Callable
):
    """The picture's two ends, which a cyclic shift brings together, never see each other."""
    mixer = attention(formulation, window, shift, fold)
    height, width = 2 * window, 3 * window
    x = torch.randn(1, height, width, WIDTH, dtype=torch.float64)
    rows, columns = _bands(height, window, shift), _bands(width, window, shift)
    for y, z in [(0, 0), (height - 1, width - 1), (0, width - 1), (window, 1), (shift, shift)]:
        changed = x.clone()
        changed[0, y, z] += torch.randn(WIDTH, dtype=torch.float64)
        moved = (mixer(x) - mixer(changed))[0].abs().amax(-1)
        reached = (rows == rows[y])[:, None] & (columns == columns[z])
        assert (moved[reached] > 1e-6).all()
        assert (moved[~reached] == 0).all()
