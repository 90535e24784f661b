import copy

import pytest
import torch
from torch import Tensor, nn

from hitsr.models.fused.cuda.kernels.ngram import context, context_of, unigrams, why_not_context
from hitsr.models.ngram import NgramContext
from hitsr.models.position import table_bias

DTYPES = (torch.float32, torch.float16, torch.bfloat16)


def _parts(
    c: int, heads: int, window: int, shared: bool, device: torch.device
) -> tuple[nn.LayerNorm, NgramContext]:
    """A norm and a context whose every part shows in the result."""
    torch.manual_seed(0)
    norm = nn.LayerNorm(c)
    module = NgramContext(c, heads, window, 2, shared, "paper")
    norm.weight.data += 0.3 * torch.randn(c)
    norm.bias.data += 0.3 * torch.randn(c)
    layers = {module.embed: window, module.qkv: 2 * c**-0.5, module.proj: 1.0, module.merge: 1.0}
    for layer, size in layers.items():
        spread = 1 / window if layer is module.embed else size
        layer.weight.data = spread * torch.randn(layer.weight.shape)
        layer.bias.data = torch.randn(layer.bias.shape)
    module.bias_table.data = torch.randn(module.bias_table.shape)
    return norm.to(device).requires_grad_(False), module.to(device).requires_grad_(False)


def _bias(module: NgramContext) -> Tensor:
    return table_bias(module.bias_table.detach(), module.grams, 1)


def _exact(
    module: NgramContext, x: Tensor, norm: nn.LayerNorm | None, dtype: torch.dtype = torch.float64
) -> tuple[Tensor, Tensor]:
    """Unigrams and context, by the paper formulation."""
    x, module = x.to(dtype), copy.deepcopy(module).to(dtype)
    embedded = module._unigrams(x if norm is None else copy.deepcopy(norm).to(dtype)(x))
    return embedded.detach(), module.context_of(embedded).detach()


@pytest.mark.parametrize(
    ("c", "heads", "window", "rows", "columns", "shared", "has_norm"),
    [
        (60, 6, 8, 2, 3, False, True),
        (60, 6, 4, 1, 5, True, False),
        (60, 6, 16, 2, 1, True, False),
        (60, 6, 24, 1, 2, True, False),
        (60, 5, 48, 1, 1, True, False),
        (36, 3, 7, 3, 2, False, False),
        (64, 1, 5, 2, 2, True, True),
        (30, 15, 4, 2, 2, False, False),
    ],
)
def test_context_is_the_papers_to_rounding(
    c: int,
    heads: int,
    window: int,
    rows: int,
    columns: int,
    shared: bool,
    has_norm: bool,
    device: torch.device,
):
    norm, module = _parts(c, heads, window, shared, device)
    norm = norm if has_norm else None
    x = torch.randn(2, rows * window, columns * window, c, device=device)
    exact = _exact(module, x, norm)
    own = [(a - b).abs().max() for a, b in zip(_exact(module, x, norm, x.dtype), exact)]
    embedded = unigrams(x, module.embed, window=window, norm=norm)
    assert embedded.shape == exact[0].shape
    assert (embedded - exact[0]).abs().max() < 3 * own[0] + 1e-6
    whole = context_of(module, x, _bias(module), norm)
    layers = (module.qkv, module.proj, _bias(module), module.merge)
    of_unigrams = context(embedded, *layers, heads=heads, grams=2)
    for found in (whole, of_unigrams):
        assert found.shape == exact[1].shape
        assert (found - exact[1]).abs().max() < 3 * own[1] + 3e-6


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (5, 4)])
def test_programs_end_within_pictures(rows: int, columns: int, device: torch.device):
    _, module = _parts(12, 2, 4, False, device)
    x = torch.randn(3, 4 * rows, 4 * columns, 12, device=device)
    found = context_of(module, x, _bias(module))
    torch.testing.assert_close(found.double(), _exact(module, x, None)[1], rtol=1e-5, atol=1e-5)


def test_weights_may_be_in_channels_last(device: torch.device):
    norm, module = _parts(12, 2, 4, False, device)
    x = torch.randn(1, 8, 12, 12, device=device)
    expected = context_of(module, x, _bias(module), norm)
    module = module.to(memory_format=torch.channels_last)
    assert not module.embed.weight.is_contiguous()
    assert torch.equal(context_of(module, x, _bias(module), norm), expected)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("x_dtype", DTYPES)
def test_each_tensor_may_have_its_own_dtype(
    x_dtype: torch.dtype, dtype: torch.dtype, device: torch.device
):
    norm, module = _parts(60, 6, 4, False, device)
    norm, module = norm.to(x_dtype), module.to(dtype)
    x = torch.randn(1, 4, 8, 60, device=device).to(x_dtype)
    exact = _exact(module, x, norm)
    embedded = unigrams(x, module.embed, window=4, norm=norm, dtype=dtype)
    found = context_of(module, x, _bias(module), norm, dtype)
    for one, other in zip((embedded, found), exact, strict=True):
        assert one.dtype == dtype
        worst = 4 * torch.finfo(dtype).eps if dtype != torch.float32 else 4e-6
        assert (one - other).abs().max() < worst * other.abs().max()


def test_a_half_precision_network_may_have_values_beyond_float16(device: torch.device):
    _, module = _parts(60, 6, 8, True, device)
    module = module.half()
    x = 3e5 * torch.randn(1, 16, 16, 60, device=device)
    exact = _exact(module, x, None)[1]
    found = context_of(module, x, _bias(module))
    assert exact.abs().max() > 2 * torch.finfo(torch.float16).max
    assert (found - exact).abs().max() < 2e-2 * exact.abs().max()


@pytest.mark.parametrize("x_dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    ("c", "window", "shared"), [(60, 8, False), (60, 24, True), (36, 7, False), (12, 4, True)]
)
def test_gradients_of_embeddings_are_those_of_float64(
    c: int, window: int, shared: bool, x_dtype: torch.dtype, device: torch.device
):
    _, module = _parts(c, 2, window, shared, device)
    wide = copy.deepcopy(module.requires_grad_()).double()
    x = torch.randn(2, window, 2 * window, c, device=device).to(x_dtype).requires_grad_()
    wide_x = x.detach().double().requires_grad_()
    grad = torch.randn(2, 1, 2, c // 2, device=device)
    wide._unigrams(wide_x).backward(grad.double())
    unigrams(x, module.embed, window=window, dtype=torch.float32).backward(grad)
    assert x.grad.dtype == x_dtype
    eps = torch.finfo(x_dtype).eps
    torch.testing.assert_close(x.grad.double(), wide_x.grad, rtol=eps, atol=1e-6)
    for found, exact in zip(module.embed.parameters(), wide.embed.parameters(), strict=True):
        torch.testing.assert_close(found.grad.double(), exact.grad, rtol=1e-5, atol=2e-5)


def test_what_is_too_large_is_said(device: torch.device):
    x = torch.empty(1, device=device).expand(1, 128, 128, 60)
    assert why_not_context(x, 8, 2) is None
    assert "3x3" in (why_not_context(x, 8, 3) or "")
    assert "128" in (why_not_context(x, 128, 2) or "")
    assert "59 channels" in (why_not_context(x[..., :59], 8, 2) or "")
    huge = x[:, :1, :1].expand(40000, 1000, 1, 60)
    assert "features" in (why_not_context(huge, 8, 2) or "")
