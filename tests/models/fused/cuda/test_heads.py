from collections.abc import Callable

import pytest
import torch
from torch.nn import functional as F

from hitsr.models.attention import Attention
from hitsr.models.fused.cuda.attention import _heads, _prepare
from hitsr.models.fused.cuda.heads import padded_weights, padded_width, with_aligned_rows


@pytest.mark.parametrize(
    ("width", "dtype", "padded"),
    [
        (10, torch.float32, 12),
        (10, torch.float16, 16),
        (10, torch.bfloat16, 16),
        (10, torch.float64, 10),
        (8, torch.float16, 8),
        (5, torch.float32, 8),
        (16, torch.float32, 16),
    ],
)
def test_padded_heads_fill_pieces_of_16_bytes(width: int, dtype: torch.dtype, padded: int):
    assert padded_width(width, dtype) == padded


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("fold", [1, 2])
def test_what_attention_is_given_begins_at_multiples_of_16_bytes(dtype: torch.dtype, fold: int):
    mixer = Attention(24, 4, 4, 2, fold, None, "fused").to(dtype)  # heads of 6 channels
    weights, added = _prepare(mixer, dtype)
    heads = _heads(mixer, weights, torch.randn(3 * 16, 24).to(dtype))
    for x in heads:
        assert x.storage_offset() * x.element_size() % 16 == 0
        assert x.shape[-1] * x.element_size() % 16 == 0
        assert x.stride(-1) == 1
    assert added is not None
    assert all(stride % 8 == 0 for stride in added.stride()[:-1])


@pytest.mark.parametrize("keys", [4, 9, 16, 36, 64])
def test_rows_of_masks_are_aligned_and_their_values_stay(keys: int):
    added = torch.randn(4, 2, 9, keys)
    aligned = with_aligned_rows(added)
    assert torch.equal(aligned, added)
    assert aligned.stride(-1) == 1
    assert all(stride % 8 == 0 for stride in aligned.stride()[:-1])


@pytest.mark.parametrize("fold", [1, 2])
def test_zeros_change_no_product(fold: int, attention: Callable):
    """Of heads of 8 channels padded to 12, as a stand-in for a dtype of other pieces."""
    mixer = attention("fused", 4, 0, fold, dtype=torch.float32)
    plain = padded_weights(mixer, torch.float32)
    assert plain.width == 8
    x = torch.randn(32, 16)
    mixer.heads = 8  # of 2 channels, padded to 4
    padded = padded_weights(mixer, torch.float32)
    found = F.linear(x, *padded.products[0]).view(32, -1, 4)
    expected = F.linear(x, *plain.products[0]).view(32, -1, 2)
    torch.testing.assert_close(found[..., :2], expected)
    assert not found[..., 2:].any()
    mixed = torch.randn(32, 8, 4)
    torch.testing.assert_close(
        F.linear(mixed.flatten(1), *padded.proj), mixer.proj(mixed[..., :2].flatten(1))
    )
