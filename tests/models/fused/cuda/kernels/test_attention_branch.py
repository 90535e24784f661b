import copy

import pytest
import torch
from torch import Tensor, nn

from hitsr.models.attention import Attention
from hitsr.models.fused.cuda.kernels.attention_branch import attention_branch, why_not_branch
from hitsr.models.position import table_bias

DTYPES = (torch.float32, torch.float16, torch.bfloat16)


def _branch(
    c: int, heads: int, window: int, shift: int, device: torch.device, positions: bool = True
) -> tuple[nn.LayerNorm, Attention]:
    """A norm and a mixer whose every part shows in the result."""
    torch.manual_seed(0)
    norm = nn.LayerNorm(c)
    mixer = Attention(c, heads, window, shift, 1, None, "paper", positions)
    norm.weight.data += 0.3 * torch.randn(c)
    norm.bias.data += 0.3 * torch.randn(c)
    for layer in (mixer.qkv, mixer.proj):
        layer.weight.data = torch.randn(layer.weight.shape) * 1.5 * c**-0.5
        layer.bias.data = 0.5 * torch.randn(layer.bias.shape)
    if mixer.bias_table is not None:
        mixer.bias_table.data = torch.randn(mixer.bias_table.shape)
    return norm.to(device), mixer.to(device)


def _expected(
    norm: nn.LayerNorm, mixer: Attention, x: Tensor, context: Tensor | None, dtype: torch.dtype
) -> Tensor:
    """By the paper formulation."""
    norm, mixer = copy.deepcopy(norm).to(dtype), copy.deepcopy(mixer).to(dtype)
    x = x.to(dtype)
    inner = norm(x)
    if context is not None:
        side = mixer.window
        repeated = context.repeat_interleave(side, 1).repeat_interleave(side, 2)
        inner = inner + repeated.to(dtype)
    return (x + mixer(inner)).detach()


def _found(
    norm: nn.LayerNorm,
    mixer: Attention,
    x: Tensor,
    context: Tensor | None = None,
    dtype: torch.dtype | None = None,
) -> Tensor:
    table = mixer.bias_table
    bias = None if table is None else table_bias(table.detach(), mixer.window, 1)
    return attention_branch(
        x, norm, mixer.qkv, mixer.proj, bias,
        heads=mixer.heads, window=mixer.window, shift=mixer.shift, context=context, dtype=dtype,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("c", "heads", "window", "shift", "shape"),
    [
        (60, 6, 8, 0, (2, 8, 16)),
        (60, 6, 8, 4, (1, 16, 24)),
        (60, 10, 8, 1, (1, 16, 8)),
        (60, 5, 8, 7, (2, 8, 8)),
        (60, 2, 8, 4, (1, 8, 16)),
        (60, 1, 8, 4, (1, 8, 8)),
        (64, 4, 7, 3, (1, 7, 14)),
        (48, 6, 6, 3, (1, 12, 12)),
        (36, 6, 5, 2, (1, 5, 10)),
        (36, 3, 4, 2, (2, 8, 4)),
        (14, 2, 4, 0, (1, 8, 4)),
    ],
)
def test_branch_is_the_papers_to_rounding(
    c: int,
    heads: int,
    window: int,
    shift: int,
    shape: tuple[int, int, int],
    device: torch.device,
):
    norm, mixer = _branch(c, heads, window, shift, device)
    x = torch.randn(*shape, c, device=device)
    b, h, w = shape
    context = torch.randn(b, h // window, w // window, c, device=device)
    exact = _expected(norm, mixer, x, context, torch.float64)
    own = (_expected(norm, mixer, x, context, torch.float32) - exact).abs().max()
    assert (_found(norm, mixer, x, context) - exact).abs().max() < 3 * own + 1e-6


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("x_dtype", DTYPES)
def test_each_tensor_may_have_its_own_dtype(
    x_dtype: torch.dtype, dtype: torch.dtype, device: torch.device
):
    of_weights = DTYPES[(DTYPES.index(x_dtype) + DTYPES.index(dtype)) % 3]
    norm, mixer = (each.to(of_weights) for each in _branch(36, 4, 6, 3, device))
    x = torch.randn(1, 6, 6, 36, device=device).to(x_dtype)
    context = torch.randn(1, 1, 1, 36, device=device).to(dtype)
    exact = _expected(norm, mixer, x, context, torch.float64)
    found = _found(norm, mixer, x, context, dtype)
    assert found.dtype == x_dtype
    worst = max(4 * torch.finfo(each).eps for each in (x_dtype, dtype))
    worst = max(worst, 2e-6)
    assert (found - exact).abs().max() < worst * exact.abs().max()


def test_positions_may_be_absent(device: torch.device):
    norm, mixer = _branch(60, 6, 8, 4, device, positions=False)
    x = torch.randn(1, 8, 16, 60, device=device)
    exact = _expected(norm, mixer, x, None, torch.float64)
    torch.testing.assert_close(_found(norm, mixer, x).double(), exact, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("size", [1e-6, 1e3])
def test_products_of_float32_are_exact_for_small_and_large_values(
    size: float, device: torch.device
):
    norm, mixer = _branch(60, 6, 8, 0, device)
    for layer in (mixer.qkv, mixer.proj):
        layer.weight.data *= size
        layer.bias.data *= size
    x = torch.zeros(1, 8, 8, 60, device=device)
    x[..., :30] = 0.01 * torch.randn(1, 8, 8, 30, device=device)
    exact = _expected(norm, mixer, x, None, torch.float64) - x
    own = (_expected(norm, mixer, x, None, torch.float32) - x - exact).abs().max()
    assert (_found(norm, mixer, x) - x - exact).abs().max() < 4 * own


def test_what_is_too_large_is_said(device: torch.device):
    x = torch.empty(1, device=device).expand(1, 24, 24, 60)
    assert why_not_branch(x, nn.Linear(60, 180), 6, 8) is None
    assert "16" in (why_not_branch(x, nn.Linear(60, 180), 6, 16) or "")
    assert "7 heads" in (why_not_branch(x, nn.Linear(60, 180), 7, 8) or "")
    assert "90 queries" in (why_not_branch(x, nn.Linear(60, 90), 6, 8) or "")
    wide = x[..., :1].expand(1, 24, 24, 80)
    assert "80 channels" in (why_not_branch(wide, nn.Linear(80, 240), 8, 8) or "")
    huge = x[:, :1, :1].expand(40000, 1000, 1, 60)
    assert "features" in (why_not_branch(huge, nn.Linear(60, 180), 6, 8) or "")
